"""One number per picture: what a data set gives away before anybody looks at a defect."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import cv2
import numpy as np

from benchmarks.quality.baselines.base import Fitting, Group, split_normals
from benchmarks.quality.predictions import Prediction
from edge.core.datatypes import F32, U8
from edge.preprocessing.preprocess import Preprocess

# both: away from good parts either way; high, low: one way. Trying both ways favours the trivial, which is the point
Side = Literal["both", "high", "low"]


def mean_brightness(field: U8) -> float:
    """0..255."""
    return float(cv2.cvtColor(field, cv2.COLOR_BGR2GRAY).mean())


def compressed_size(field: U8) -> float:
    """Bytes of a JPEG of quality 90: how much there is to see."""
    encoded = cv2.imencode(".jpg", field, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return float(encoded.size)


MEASURES: dict[str, Callable[[U8], float]] = {"brightness": mean_brightness, "compressed size": compressed_size}
_NAMES: dict[Side, str] = {"both": "unusual", "high": "high", "low": "low"}


class TrivialStatistic:
    """Baseline protocol without a map: standard deviations of one measure from its mean over good parts."""

    group: Group = "trivial"
    needs_reference = False

    def __init__(self, measure: str, side: Side, preprocess: Preprocess) -> None:
        self.name = f"{_NAMES[side]} {measure}"
        self.held_out: F32 | None = None
        self._measure, self._side, self._preprocess = MEASURES[measure], side, preprocess
        self._mean, self._spread = 0.0, 1.0

    def fit(self, normals: Sequence[U8], fitting: Fitting) -> None:
        learned, held_out = split_normals(normals, fitting.seed)
        values = [self._measure(self._preprocess.field(picture)) for picture in learned]
        self._mean, self._spread = float(np.mean(values)), max(float(np.std(values)), 1e-9)
        self.held_out = np.array([self.score(picture).score for picture in held_out], np.float32)

    def score(self, picture: U8, reference: U8 | None = None) -> Prediction:
        deviation = (self._measure(self._preprocess.field(picture)) - self._mean) / self._spread
        signed = {"both": abs(deviation), "high": deviation, "low": -deviation}[self._side]
        # a logistic: 0..1 as the threshold's tail fit needs it, and the order of any two scores stays
        return Prediction(float(1 / (1 + np.exp(-np.clip(signed, -30, 30)))), None)
