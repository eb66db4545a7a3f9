"""Normal samples, plain and with artificial defects: choices about a graph are made on these, not on test pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.backends.cpu import Network
from edge.backends.cpu_onnxruntime import OnnxRuntimeNetwork
from edge.core.datatypes import F32, AnomalyMap
from edge.core.manifest import Manifest
from edge.kernels.cpu import NetworkOutputs
from edge.kernels.statistics import cross_fitted_paths, residual_errors
from edge.metrics import average_precision, pixel_average_precision

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class EvaluationSet:
    """normal_samples: held out of training; altered: the same with artificial defects; float32 (3, s, s) in -1..1.

    masks: where each altered one was altered, (s, s). weight: 1 where the map is scored, (s, s); None: everywhere.
    source: what drew the defects, for the record.
    """

    normal_samples: Sequence[F32]
    altered: Sequence[F32]
    masks: Sequence[Mask]
    weight: F32 | None
    source: str

    def first(self, count: int) -> EvaluationSet:
        """At most `count` of either kind."""
        return EvaluationSet(
            self.normal_samples[:count], self.altered[:count], self.masks[:count], self.weight, self.source
        )


@dataclass(frozen=True)
class EvaluationMaps:
    """Maps of one network: first of the normal samples, then of the altered ones."""

    maps: list[AnomalyMap]
    normal_count: int

    @property
    def values(self) -> F32:
        return np.stack([anomaly_map.values for anomaly_map in self.maps])

    def difference(self, exact: EvaluationMaps) -> float:
        """Mean difference of the maps from exact ones, as a share of the mean exact map."""
        return float(np.abs(self.values - exact.values).mean() / max(float(exact.values.mean()), 1e-9))

    def precision(self, evaluation_set: EvaluationSet) -> float:
        """Average precision of telling altered parts from normal ones, and altered pixels from others; their mean."""
        labels = np.arange(len(self.maps)) >= self.normal_count
        scores = np.array([anomaly_map.score for anomaly_map in self.maps])
        like = self.maps[0].values
        masks = [np.zeros(like.shape, np.bool_)] * self.normal_count + [
            of_map(mask, like) for mask in evaluation_set.masks
        ]
        maps = [anomaly_map.values for anomaly_map in self.maps]
        return (average_precision(labels, scores) + pixel_average_precision(masks, maps)) / 2


def evaluate(
    model: bytes, manifest: Manifest, evaluation_set: EvaluationSet, threads: int | None = None
) -> EvaluationMaps:
    """The maps that one graph gives, with statistics of its own, fitted as calibration fits them."""
    network = OnnxRuntimeNetwork(model, manifest, threads)
    images = [*evaluation_set.normal_samples, *evaluation_set.altered]
    outputs = [_outputs(network, image) for image in images]
    network.close()
    spec, count = manifest.score, len(evaluation_set.normal_samples)
    errors = residual_errors(spec, images, outputs)
    paths = cross_fitted_paths(spec, errors[:count], outputs[:count], evaluation_set.weight)
    used = spec.residual.used
    maps = [
        paths[index % count].score_error(error if used else None, output)
        for index, (error, output) in enumerate(zip(errors, outputs, strict=True))
    ]
    return EvaluationMaps(maps, count)


def of_map(mask: Mask, values: F32) -> Mask:
    """A mask of the shape of a map: a place counts when half of it does."""
    small: Any = cv2.resize(mask.astype(np.float32), values.shape[::-1], interpolation=cv2.INTER_AREA)
    return np.asarray(small >= 0.5)


def _outputs(network: Network, image: F32) -> NetworkOutputs:
    network.image[:] = image
    return network.run().copied(reconstruction=True)
