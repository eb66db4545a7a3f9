"""The teacher of a round: it measures a network on good and on weak parts, and labels the pixels of the weak parts."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from edge.core.datatypes import F32, U8
from edge.core.manifest import NormSpec, ScoreSpec
from edge.kernels.cpu import NormalStatistics
from edge.kernels.statistics import cross_fitted_statistics, normal_statistics
from edge.metrics import image_auroc
from training.labelling import (
    RuleBook,
    fit_reference,
    inspected_mask,
    label_sheet,
    pseudo_labels,
    with_weak_parts,
)
from training.labelling.pseudo_labels import ANOMALOUS, NORMAL
from training.methods.base import TrainingData

# most parts that are measured: enough for statistics, and they fit into memory beside the network
_MOST_PICTURES = 128
# what an image score is here: the mean of the highest 100 of 256 x 256 places, smoothed over 21
_SMOOTHING, _TOP = 21 / 256, 100 / 65536


@dataclass(frozen=True)
class WeakLabels:
    """Of weak parts, (n, 1, h, w): pi, how anomalous each pixel is, and state: 1 anomalous, 0 normal, -1 ignored."""

    pi: Tensor
    state: Tensor

    @property
    def anomalous(self) -> Tensor:
        return self.state == ANOMALOUS

    @property
    def normal(self) -> Tensor:
        return self.state == NORMAL

    def overlap(self, other: WeakLabels) -> float:
        """Mean intersection over union of what both call anomalous; 1 where neither calls anything so."""
        both = (self.anomalous & other.anomalous).sum((1, 2, 3))
        either = (self.anomalous | other.anomalous).sum((1, 2, 3))
        return float(torch.where(either > 0, both / either.clamp(min=1), 1.0).mean())


@dataclass(frozen=True)
class ResidualMaps:
    """Residual maps of one network, (n, h, w) in standard deviations of good parts, and two figures of the network.

    level: mean residual error of held-out good parts, not normalised. separation: image AUROC of weak parts against
    held-out good ones.
    """

    held_out: F32
    weak: F32
    level: float
    separation: float


# error maps float32 (n, h, w) of pictures (n, 3, h, w) in 0..1
ErrorMaps = Callable[[Tensor], F32]


class Teacher:
    """Judges the weak parts of a run by a network's error maps and an expert's rules."""

    def __init__(self, data: TrainingData, book: RuleBook, errors: ErrorMaps) -> None:
        self._data, self._book, self._errors = data, book, errors
        # by place even where the layout is free: else every part would be labelled at the edges of its picture first
        self._spec = ScoreSpec(norm=NormSpec(kind="pixel"))
        roi = None if data.roi is None else (data.roi[0, 0] > 0).cpu().numpy()
        self._inspected = inspected_mask(book, roi, *data.weak.shape[-2:])
        self._held_out = _some(data.held_out)
        self._trained = _some(data.normals)

    def residual_maps(self) -> ResidualMaps:
        """Residual maps of held-out and of weak parts; the statistics of a held-out part never saw that part."""
        spec = self._spec
        errors = self._errors(self._held_out)
        trained, weak = self._errors(self._trained), self._errors(self._data.weak)
        crossed = cross_fitted_statistics(spec, errors, [], trained)
        held_out = np.stack([_z(error, found) for error, found in zip(errors, crossed, strict=True)])
        zmaps = _z(weak, normal_statistics(spec, errors, [], trained))
        scores = np.array([self._image_score(z) for z in (*held_out, *zmaps)])
        separation = image_auroc(np.repeat([0, 1], [len(held_out), len(zmaps)]), scores)
        return ResidualMaps(held_out, zmaps, float(errors.mean()), separation)

    def label(self, maps: ResidualMaps, sheet: Path) -> WeakLabels:
        """Labels of the weak parts, drawn on a sheet for the expert."""
        good, bad = _fields(self._held_out), _fields(self._data.weak)
        reference = fit_reference(good, list(maps.held_out), self._inspected)
        reference = with_weak_parts(reference, bad, maps.weak, self._inspected)
        labels = [
            pseudo_labels(picture, zmap, self._book, reference, roi=self._inspected)
            for picture, zmap in zip(bad, maps.weak, strict=True)
        ]
        label_sheet(bad, list(maps.weak), labels, sheet)
        device = self._data.weak.device
        return WeakLabels(
            torch.from_numpy(np.stack([label.pi for label in labels]))[:, None].to(device),
            torch.from_numpy(np.stack([label.state for label in labels]))[:, None].to(device),
        )

    def _image_score(self, zmap: F32) -> float:
        seen = zmap if self._inspected is None else np.where(self._inspected, zmap, np.float32(0))
        places = zmap.size
        smoothing = max(1, round(_SMOOTHING * places**0.5))
        smooth = cv2.blur(seen, (smoothing, smoothing), borderType=cv2.BORDER_REFLECT).ravel()
        top = max(1, round(_TOP * places))
        return float(np.partition(smooth, smooth.size - top)[smooth.size - top :].mean())


def _z(errors: F32, statistics: NormalStatistics) -> F32:
    """Not bounded above as the score's is: regions are parted by how high they stand."""
    return np.asarray(np.maximum((errors - statistics.mean) * statistics.inv_std, 0), np.float32)


def _some(pictures: Tensor) -> Tensor:
    count = pictures.shape[0]
    chosen = torch.linspace(0, count - 1, min(_MOST_PICTURES, count)).round().long()
    return pictures[chosen.to(pictures.device)]


def _fields(pictures: Tensor) -> list[U8]:
    """(n, 3, h, w) in 0..1 → uint8 (h, w, 3) BGR each."""
    planes = (pictures * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
    return [np.ascontiguousarray(picture[..., ::-1]) for picture in planes]
