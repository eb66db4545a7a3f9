"""Per-pixel statistics and thresholds, fitted through the network that will run, on normals it was not trained on."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np

from calibration.threshold import fitted_threshold, pixel_threshold
from edge.backends.cpu import Network
from edge.bundles.calibration import Calibration
from edge.core.datatypes import F32, U8, AnomalyMap
from edge.core.errors import UsageError
from edge.core.manifest import Manifest
from edge.kernels.cpu import CpuScorePath, NetworkOutputs, ResidualTerms, planes_from_field
from edge.kernels.statistics import MOST_IN_STATISTICS, cross_fitted_paths, normal_statistics
from edge.preprocessing.preprocess import Preprocess

MINIMUM_NORMAL_SAMPLES = 5


@dataclass(frozen=True)
class Shown:
    """A network field, uint8 (h, w, 3) BGR, and a network that has not seen the part."""

    network: Network
    field: U8


class Fitting:
    """Statistics of one network from its first parts, and the scores of these and of all parts that follow.

    A network that the gate refuses is spared the other parts; a network that passes goes on without starting again.
    scores: of all parts so far, in their order.
    """

    def __init__(
        self,
        manifest: Manifest,
        normals: Iterable[Shown],
        weight: F32 | None = None,
        trained: Iterable[Shown] = (),
    ) -> None:
        """Takes at most MOST_IN_STATISTICS of either; see `calibrate`. Networks differ in their memory, if at all."""
        spec, shape = manifest.score, manifest.field
        self._spec, self._map_shape = spec, manifest.map_shape
        self._terms = ResidualTerms(spec.residual, shape, spec.map_scale)
        first = [self._measured(shown) for shown in islice(normals, MOST_IN_STATISTICS)]
        if len(first) < MINIMUM_NORMAL_SAMPLES:
            raise UsageError(
                f"{len(first)} normals are too few to calibrate on; at least {MINIMUM_NORMAL_SAMPLES} are needed",
                fix="add pictures of good parts that the model was not trained on",
            )
        errors, outputs = np.stack([error for error, _ in first]), [output for _, output in first]
        known = islice(trained, MOST_IN_STATISTICS)
        seen = np.array([self._measured(shown)[0] for shown in known], np.float32).reshape(-1, *self._map_shape)
        paths = cross_fitted_paths(spec, errors, outputs, weight, seen)
        maps = [self._scored(path, *measured) for path, measured in zip(paths, first, strict=True)]
        self._statistics = normal_statistics(spec, errors, outputs, seen)
        self._running = CpuScorePath(spec, shape, self._statistics, weight=weight)
        self.scores = [anomaly_map.score for anomaly_map in maps]
        pixels = np.stack([anomaly_map.values for anomaly_map in maps])
        scored = paths[0].weight
        inside = pixels if scored is None else pixels[:, scored > 0]
        self._pixels: F32 = inside.reshape(len(maps), -1)

    def score_more(self, normals: Iterable[Shown]) -> None:
        """Further parts, by the statistics of the first ones, which never saw them; networks as before."""
        self.scores += [self._scored(self._running, *self._measured(shown)).score for shown in normals]

    def calibration(
        self, model_sha256: str, preprocess: Preprocess, budget: float | None, review: float | None, created_utc: str
    ) -> Calibration:
        """Statistics, and thresholds that all scores so far give; budget and review: see `fitted_threshold`."""
        scores = np.array(self.scores, np.float32)
        fitted = fitted_threshold(scores, budget, review)
        pixel = pixel_threshold(self._pixels, fitted.threshold)
        statistics, shape = self._statistics, self._map_shape
        return Calibration(
            model_sha256=model_sha256,
            preprocess_sha256=preprocess.sha256,
            mean=np.broadcast_to(statistics.mean, shape).astype(np.float32),
            inv_std=np.broadcast_to(statistics.inv_std, shape).astype(np.float32),
            pixel_threshold=pixel.value,
            scores=scores,
            created_utc=created_utc,
            emb_mean=statistics.emb_mean,
            emb_inv_std=statistics.emb_inv_std,
            seg_mean=statistics.seg_mean,
            seg_inv_std=statistics.seg_inv_std,
            pixel_share=pixel.share,
            pixel_share_largest=pixel.largest_share,
            **vars(fitted),
        )

    def _measured(self, shown: Shown) -> tuple[F32, NetworkOutputs]:
        network = shown.network
        planes_from_field(shown.field, network.image)
        result = network.run()
        error = np.zeros(self._map_shape, np.float32)
        if result.recon is not None:
            error[:] = self._terms.error(network.image, result.recon)
        # the reconstruction is in the error already
        return error, result.copied(reconstruction=False)

    def _scored(self, path: CpuScorePath, error: F32, output: NetworkOutputs) -> AnomalyMap:
        return path.score_error(error if self._spec.residual.used else None, output)


def calibrate(
    network: Network,
    model_sha256: str,
    manifest: Manifest,
    preprocess: Preprocess,
    normals: Iterable[U8],
    *,
    weight: F32 | None = None,
    trained: Iterable[U8] = (),
    budget: float | None = None,
    review: float | None = None,
    created_utc: str,
) -> Calibration:
    """Fit statistics and thresholds on network fields, uint8 (h, w, 3) BGR, of normal parts the network has not seen.

    weight: 1 where the map is scored (h, w); None: everywhere. trained: parts it was trained on; they only help to say
    where good parts differ (edge/kernels/statistics.py). budget, review: see `fitted_threshold`.
    Scores are cross-fitted: no part is judged by statistics that saw it. Only the first MOST_IN_STATISTICS parts give
    statistics and the pixel threshold, so give many in an order that spreads them; those after them are judged by these
    statistics, and join in the image threshold. So memory does not grow with their number. Raises UsageError for too
    few normals.
    """

    def shown(fields: Iterable[U8]) -> Iterator[Shown]:
        return (Shown(network, field) for field in fields)

    coming = shown(normals)
    fitting = Fitting(manifest, coming, weight, shown(trained))
    fitting.score_more(coming)
    return fitting.calibration(model_sha256, preprocess, budget, review, created_utc)
