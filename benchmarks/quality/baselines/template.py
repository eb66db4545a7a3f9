"""Golden template: each picture has a defect-free reference of its own, as printed circuits have."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from benchmarks.quality.baselines.base import Fitting, Group, ScoredErrors, tolerances
from benchmarks.quality.baselines.models import ABSOLUTE_TOLERANCE
from benchmarks.quality.predictions import Prediction
from edge.core.datatypes import F32, U8
from edge.core.errors import UsageError
from edge.preprocessing.preprocess import Preprocess

# ragged edges and half pixels of misplacement are no defects
_SHIFT_PX = 2


class GoldenTemplate:
    """Baseline protocol: the smallest difference over small shifts, both ways, in tolerances.

    Both ways, because where a thin line is missing the reference has background nearby; the line itself finds no line.
    Good parts of train/good have no reference, so there is no threshold.
    """

    name = "golden template"
    group: Group = "network-free"
    needs_reference = True
    held_out: F32 | None = None

    def __init__(self, preprocess: Preprocess) -> None:
        self._preprocess = preprocess
        self._scored = ScoredErrors(preprocess, tolerances(preprocess.shape))

    def fit(self, normals: Sequence[U8], fitting: Fitting) -> None:
        """Nothing is learned: the reference says it all."""

    def score(self, picture: U8, reference: U8 | None = None) -> Prediction:
        if reference is None:
            raise UsageError("a picture has no golden sample", fix="put one at the same place under reference/")
        field, golden = self._preprocess.field(picture), self._preprocess.field(reference)
        error = np.maximum(tolerant_difference(field, golden), tolerant_difference(golden, field))
        return self._scored.prediction(error / np.float32(ABSOLUTE_TOLERANCE), *picture.shape[:2])


def tolerant_difference(field: U8, golden: U8, shift_px: int = _SHIFT_PX) -> F32:
    """For each place of the field, the smallest difference to the golden one within the shift; of the worst channel."""
    rows, columns = field.shape[:2]
    padded = cv2.copyMakeBorder(golden, *(shift_px,) * 4, cv2.BORDER_REPLICATE)
    smallest = np.full(field.shape[:2], 255, np.uint8)
    for dy in range(2 * shift_px + 1):
        for dx in range(2 * shift_px + 1):
            difference = cv2.absdiff(field, padded[dy : dy + rows, dx : dx + columns])
            np.minimum(smallest, difference.max(2), out=smallest)
    return smallest.astype(np.float32)
