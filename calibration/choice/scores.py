"""Image scores of hundreds of score paths: what several share is computed once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from calibration.choice.measured import Measured
from edge.core.datatypes import F32
from edge.core.manifest import ImageScoreSpec, ScoreSpec
from edge.kernels.cpu import CpuScorePath, smoothed
from edge.kernels.reference import HISTOGRAM_BINS
from edge.kernels.statistics import cross_fitted_paths

F64 = NDArray[np.float64]

_CENTRES = (np.arange(HISTOGRAM_BINS) + 0.5) / HISTOGRAM_BINS


def score_all(
    candidates: Mapping[str, ScoreSpec],
    measured: Measured,
    progress: Callable[[int, int, str], None] = lambda done, total, shown: None,
) -> dict[str, F64]:
    """Scores of every exhibit by each score path, by statistics that did not see its part; NaN for one not finite.

    The same numbers as CpuScorePath.score gives.
    """
    scores = {name: np.full(len(measured.exhibits), np.nan) for name in candidates}
    # the errors of one residual are kept at a time
    ordered = sorted(candidates, key=lambda name: (_residual(candidates[name]), _blend(candidates[name])))
    done = 0
    for _, names in groupby(ordered, key=lambda name: _residual(candidates[name])):
        for _, alike in groupby(names, key=lambda name: _blend(candidates[name])):
            members = list(alike)
            _score_blend({name: candidates[name] for name in members}, measured, scores)
            progress(done := done + len(members), len(candidates), "")
    return scores


def fitted_paths(spec: ScoreSpec, measured: Measured) -> list[CpuScorePath]:
    """For each exhibit the score path whose statistics saw neither the part nor the one that was made of it."""
    exhibits = measured.exhibits
    errors, seen = measured.errors(spec.residual, spec.map_scale)
    good = exhibits.good
    paths = cross_fitted_paths(spec, errors[:good], measured.outputs[:good], exhibits.weight, seen)
    return [paths[origin] for origin in exhibits.origins.tolist()]


def _residual(spec: ScoreSpec) -> str:
    return f"{spec.map_scale} {spec.residual.model_dump_json()}"


def _blend(spec: ScoreSpec) -> str:
    return f"{spec.norm.model_dump_json()} {spec.blend.model_dump_json()}"


def _score_blend(candidates: Mapping[str, ScoreSpec], measured: Measured, scores: dict[str, F64]) -> None:
    """Score paths that differ in smoothing and image score alone."""
    spec = next(iter(candidates.values()))
    errors, _ = measured.errors(spec.residual, spec.map_scale)
    by_smoothing: dict[str, list[str]] = {}
    for name, candidate in candidates.items():
        by_smoothing.setdefault(candidate.smooth.model_dump_json(), []).append(name)
    for index, path in enumerate(fitted_paths(spec, measured)):
        blended = path.blended(errors[index] if spec.residual.used else None, measured.outputs[index])
        if not np.isfinite(blended).all():
            continue
        for names in by_smoothing.values():
            values = smoothed(blended, candidates[names[0]].smooth)
            found = image_scores(values, [candidates[name].image_score for name in names])
            for name, score in zip(names, found, strict=True):
                scores[name][index] = score


def image_scores(values: F32, specs: Iterable[ImageScoreSpec]) -> list[float]:
    """Scores of one finished map, 0..1, from a histogram that all of them share (edge/kernels/reference.py)."""
    bins = np.minimum((values * np.float32(HISTOGRAM_BINS)).astype(np.int64), HISTOGRAM_BINS - 1)
    counts = np.bincount(bins.ravel(), minlength=HISTOGRAM_BINS)
    from_top = counts[::-1]
    taken, sums = np.cumsum(from_top), np.cumsum(from_top * _CENTRES[::-1])
    median = _CENTRES[int(np.searchsorted(np.cumsum(counts), (values.size - 1) // 2, side="right"))]
    result = []
    for spec in specs:
        k = min(spec.k, values.size)
        # the bin from the top in which the k-th largest value lies; of it, as many as are left
        last = int(np.searchsorted(taken, k))
        before, total = (int(taken[last - 1]), float(sums[last - 1])) if last else (0, 0.0)
        mean = (total + (k - before) * _CENTRES[HISTOGRAM_BINS - 1 - last]) / k
        result.append(float(mean - median) if spec.minus_median else float(mean))
    return result
