"""Find the new samples that the network finds unlike the others, so that a few defects among them do no harm.

The samples themselves say what is usual: the median and the median deviation of the residual at every place. A defect
lies at another place on every part, so that it moves neither, even where many parts have one. Light, focus or a shift
that all samples share moves both, and raises no suspicion.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from calibration.outliers import TO_SIGMA, outlier_limit
from edge.backends.cpu import Network
from edge.bundles.calibration import Calibration
from edge.core.datatypes import F32, U8
from edge.core.manifest import Manifest, NormSpec
from edge.kernels.cpu import CpuScorePath, NetworkOutputs, NormalStatistics, ResidualTerms, planes_from_field
from edge.kernels.statistics import MOST_IN_STATISTICS, PRIOR_NORMALS, inverse_root, shrunk, smoothed

# how much further out evidence goes on growing than that of the line
_WIDE = 10.0


@dataclass(frozen=True)
class SuspicionScores:
    """What the network makes of each sample, in their order.

    live: scores under the live version's statistics. among: scores under what is usual among the samples. limit: of
    `among`; a score above it is suspicious.
    """

    live: F32
    among: F32
    limit: float

    @property
    def suspicious(self) -> NDArray[np.int64]:
        """Numbers of the suspicious samples, the worst first."""
        above = np.flatnonzero(self.among > self.limit)
        return above[np.argsort(-self.among[above], kind="stable")]


def suspicion_scores(
    network: Network, manifest: Manifest, fields: Iterable[U8], live: Calibration, weight: F32 | None = None
) -> SuspicionScores:
    """Run every network field, uint8 (h, w, 3) BGR, once. What is usual comes from the first MOST_IN_STATISTICS."""
    spec, shape = manifest.score, manifest.field
    terms = ResidualTerms(spec.residual, shape, spec.map_scale) if spec.residual.used else None

    def measured(field: U8) -> tuple[F32 | None, NetworkOutputs]:
        planes_from_field(field, network.image)
        result = network.run()
        error = None
        if terms is not None:
            assert result.recon is not None, "the manifest guarantees `recon` when the residual has weight"
            error = np.array(terms.error(network.image, result.recon), np.float32)
        return error, result

    coming = iter(fields)
    beginning = map(measured, islice(coming, MOST_IN_STATISTICS))
    # the reconstruction is in the error already
    first = [(error, output.copied(reconstruction=False)) for error, output in beginning]
    errors = np.stack([np.zeros(manifest.map_shape, np.float32) if error is None else error for error, _ in first])
    usual = robust_statistics(errors, [output for _, output in first])
    paths = [
        CpuScorePath(spec, shape, live.statistics, weight=weight),
        CpuScorePath(spec.model_copy(update={"norm": _unbounded(spec.norm)}), shape, usual, weight=weight),
    ]
    scores = [[path.score_error(error, output).score for path in paths] for error, output in first]
    for error, output in map(measured, coming):
        scores.append([path.score_error(error, output).score for path in paths])
    live_scores, among = np.array(scores, np.float32).T
    return SuspicionScores(live_scores, among, outlier_limit(among))


def _unbounded(norm: NormSpec) -> NormSpec:
    """Evidence that tells a defect from a worse one: the line's is the same for all that are far out."""
    return norm.model_copy(update={"tau": _WIDE * norm.tau, "z_max": _WIDE**2 * norm.z_max})


def robust_statistics(errors: F32, outputs: list[NetworkOutputs]) -> NormalStatistics:
    """Median and spread of errors (n, rows, columns) at every place, smoothed and shrunk as those of good parts are."""
    count = len(errors)
    centre = np.median(errors, 0)
    spread = np.median(np.abs(errors - centre), 0) * TO_SIGMA
    mean, local = smoothed(centre), smoothed(spread**2)
    everywhere = (float(np.median(np.abs(errors - np.median(errors)))) * TO_SIGMA) ** 2
    inv_std = inverse_root(shrunk(local, everywhere, count, PRIOR_NORMALS))
    distance = _robust_scale([output.emb_dist for output in outputs if output.emb_dist is not None])
    logit = _robust_scale([output.seg_logit for output in outputs if output.seg_logit is not None])
    return NormalStatistics(mean, inv_std, *distance, *logit)


def _robust_scale(planes: list[F32]) -> tuple[float, float]:
    """Median, and the inverse of the spread."""
    if not planes:
        return 0.0, 1.0
    stacked = np.stack(planes)
    usual = float(np.median(stacked))
    return usual, 1 / max(TO_SIGMA * float(np.median(np.abs(stacked - usual))), 1e-6)
