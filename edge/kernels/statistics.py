"""What the residual of good parts looks like at every place, from few of them; and how good parts then score.

Used to choose a score path in training and to calibrate on the device: both must do the same.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from edge.core.datatypes import F32
from edge.core.manifest import ScoreSpec
from edge.kernels.cpu import CpuScorePath, NetworkOutputs, NormalStatistics, ResidualTerms

# the spread over all places counts as much as this many normals: a per-pixel spread from eight pictures
# is so uncertain that one ordinary ninth part would score as a defect
PRIOR_NORMALS = 16
FOLDS = 5
# more would tell little new of where good parts differ, and each takes memory while the others are judged
MOST_IN_STATISTICS = 256


def residual_errors(spec: ScoreSpec, images: Sequence[F32], outputs: Sequence[NetworkOutputs]) -> F32:
    """(n, map rows, columns) residual errors of n pictures; zeros when the score weighs no residual."""
    height, width = images[0].shape[1:]
    errors = np.zeros((len(images), height // spec.map_scale, width // spec.map_scale), np.float32)
    terms = ResidualTerms(spec.residual, (height, width), spec.map_scale)
    for error, image, output in zip(errors, images, outputs, strict=True):
        if output.recon is not None:
            error[:] = terms.error(image, output.recon)
    return errors


def normal_statistics(
    spec: ScoreSpec,
    errors: F32,
    outputs: Sequence[NetworkOutputs],
    trained: F32 | None = None,
    prior_normals: float = PRIOR_NORMALS,
) -> NormalStatistics:
    """Mean and inverse spread of n normals' errors (n, rows, columns), smoothed over a sixteenth of either side.

    trained: errors (t, rows, columns) of parts the network was trained on. They say where good parts differ,
    held-out parts how much: scaled to the held-out mean, they join in. `global`: one mean and spread for all places,
    for textures without a fixed position. Distances have one for all places, too, but where the score says by_place.
    """
    if trained is not None and len(trained):
        level = errors.mean() / max(float(trained.mean()), 1e-12)
        errors = np.concatenate([trained * np.float32(level), errors])
    count, *shape = errors.shape
    variance_everywhere = float(errors.var())
    if spec.norm.kind == "global":
        mean = np.full(shape, errors.mean(), np.float32)
        variance = np.full(shape, variance_everywhere, np.float32)
    else:
        mean, local = smoothed(errors.mean(0)), smoothed(errors.var(0))
        variance = shrunk(local, variance_everywhere, count, prior_normals)
    inv_std = inverse_root(variance)
    planes = [output.emb_dist for output in outputs if output.emb_dist is not None]
    distance: tuple[F32 | float, F32 | float] = _mean_and_inverse_std(planes)
    if planes and spec.norm.distances == "by_place":
        distance = _by_place(planes, prior_normals)
    logit = _mean_and_inverse_std([output.seg_logit for output in outputs if output.seg_logit is not None])
    return NormalStatistics(mean, inv_std, distance[0], distance[1], *logit)


def smoothed(plane: F32) -> F32:
    """Mean of (rows, columns) over a sixteenth of either side."""
    rows, columns = plane.shape
    window = (columns // 16 | 1, rows // 16 | 1)
    return np.asarray(cv2.boxFilter(plane, -1, window, borderType=cv2.BORDER_REFLECT), np.float32)


def shrunk(local: F32, everywhere: float, count: int, prior_normals: float) -> F32:
    """Variance at each place of `count` normals, drawn to that of all places as if so many more had it."""
    return np.asarray((count * local + prior_normals * everywhere) / np.float32(count + prior_normals), np.float32)


def inverse_root(variance: F32) -> F32:
    """Inverse of the standard deviation; none is endless."""
    return (1 / np.sqrt(np.maximum(variance, 1e-12))).astype(np.float32)


def _mean_and_inverse_std(planes: list[F32]) -> tuple[float, float]:
    if not planes:
        return 0.0, 1.0
    stacked = np.stack(planes)
    return float(stacked.mean()), float(1 / max(stacked.std(), 1e-6))


def _by_place(planes: list[F32], prior_normals: float) -> tuple[F32, F32]:
    """Mean and inverse deviation of distances at each place, over 3 x 3 of them: a fixture holds parts that well.

    Variances are drawn to the usual one within a place. Means are not: a place that is always far from what is known
    would hide defects, and a mean of few parts is sure enough beside the deviation.
    """
    stacked = np.stack(planes)
    mean, local = (cv2.blur(each, (3, 3), borderType=cv2.BORDER_REFLECT) for each in (stacked.mean(0), stacked.var(0)))
    variance = shrunk(np.asarray(local, np.float32), float(stacked.var(0).mean()), len(stacked), prior_normals)
    return np.asarray(mean, np.float32), inverse_root(variance)


def cross_fitted_paths(
    spec: ScoreSpec,
    errors: F32,
    outputs: Sequence[NetworkOutputs],
    weight: F32 | None = None,
    trained: F32 | None = None,
) -> list[CpuScorePath]:
    """For each normal, a score path whose statistics did not see it."""
    shape = (errors.shape[1] * spec.map_scale, errors.shape[2] * spec.map_scale)
    statistics = cross_fitted_statistics(spec, errors, outputs, trained)
    paths = {id(found): CpuScorePath(spec, shape, found, weight=weight) for found in statistics}
    return [paths[id(found)] for found in statistics]


def cross_fitted_statistics(
    spec: ScoreSpec, errors: F32, outputs: Sequence[NetworkOutputs], trained: F32 | None = None
) -> list[NormalStatistics]:
    """For each normal, statistics that did not see it: of five folds, or of all others for fewer; shared in a fold.

    outputs: one each, or none where distances do not count.
    """
    count, known = len(errors), 0 if trained is None else len(trained)
    folds = np.arange(count) % min(FOLDS, count)
    fitted = []
    for fold in range(min(FOLDS, count)):
        others = np.flatnonzero(folds != fold)
        theirs = [outputs[int(index)] for index in others] if outputs else []
        # as much of the prior as the statistics of all have: more of it would make the scores, and a threshold, lower
        prior = PRIOR_NORMALS * (len(others) + known) / (count + known)
        fitted.append(normal_statistics(spec, errors[others], theirs, trained, prior))
    return [fitted[fold] for fold in folds]
