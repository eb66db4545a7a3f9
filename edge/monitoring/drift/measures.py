"""Low-order statistics of one picture, for a tenth of a millisecond: brightness, contrast, focus, colour, noise, place.

Each is made so that one cause moves mainly one of them: contrast, colour and focus are ratios, which a change of light
leaves alone. Those of light are natural logarithms, so that a difference is a relative change.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8
from edge.preprocessing.regions import FieldOfView

F64 = NDArray[np.float64]

# the order of every vector of measures; across and down are shares of the view's width and height
MEASURES = ("brightness", "contrast", "focus", "red", "blue", "noise", "across", "down")

# places a side of the reduced picture; profiles have as many
REDUCED_PX = 64
# rows looked at in full resolution: noise and focus are lost in a reduced picture
FINE_ROWS = 12
_LONGEST_ROW_PX = 512
# half the range in which the place is searched, of the view's side
_SEARCHED = 0.15
_NOISE_QUANTILE, _EDGE_QUANTILE = 0.5, 0.98
_FAR = 4
# median of |x - 2y + z| of normal noise, in its standard deviations
_MEDIAN_OF_SECOND_DIFFERENCES = 0.6745 * math.sqrt(6)
_SECOND_DIFFERENCE = np.array([[1, -2, 1]], np.float32)
# noise and edges of a picture drawn by a computer may be zero; the logarithm must not care
_FLOOR = 0.25


@dataclass(frozen=True)
class Profiles:
    """Mean grey of columns (across) and rows (down) of the view, float32 (REDUCED_PX,): where the part lies."""

    across: F32
    down: F32


@dataclass(frozen=True)
class PictureMeasures:
    """brightness: log of mean grey. contrast: log of grey's spread per mean. focus: log of steps from pixel to pixel
    per steps over four pixels, at edges. red, blue: log of their mean per green. noise: log of grey levels.
    profiles: for the place, which is relative to another picture."""

    brightness: float
    contrast: float
    focus: float
    red: float
    blue: float
    noise: float
    profiles: Profiles

    def values(self, placement: Placement) -> F64:
        """In the order of MEASURES; where the picture lies, compared with a reference."""
        across, down = placement.offset(self.profiles)
        return np.array(
            (self.brightness, self.contrast, self.focus, self.red, self.blue, self.noise, across, down), np.float64
        )


def measure(image: U8, view: FieldOfView) -> PictureMeasures:
    """Statistics of the inspected part of a frame, uint8 (H, W, 3) BGR."""
    seen = image[view.y : view.y + view.height, view.x : view.x + view.width]
    # not an area mean: that would read every pixel of a large frame
    small = np.asarray(cv2.resize(seen, (REDUCED_PX, REDUCED_PX), interpolation=cv2.INTER_NEAREST), np.uint8)
    blue, green, red, _ = cv2.mean(small)
    grey = np.asarray(cv2.cvtColor(small, cv2.COLOR_BGR2GRAY), np.uint8)
    mean, spread = (float(value[0, 0]) for value in cv2.meanStdDev(grey))
    across = cv2.reduce(grey, 0, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[0]
    down = cv2.reduce(grey, 1, cv2.REDUCE_AVG, dtype=cv2.CV_32F)[:, 0]
    fine = _fine_rows(seen)
    near = _quantile(cv2.absdiff(fine[:, _FAR:], fine[:, _FAR - 1 : -1]), _EDGE_QUANTILE)
    far = _quantile(cv2.absdiff(fine[:, _FAR:], fine[:, :-_FAR]), _EDGE_QUANTILE)
    return PictureMeasures(
        brightness=math.log(mean + 1),
        contrast=math.log((spread + 1) / (mean + 1)),
        focus=math.log((near + _FLOOR) / (far + _FLOOR)),
        red=math.log((red + 1) / (green + 1)),
        blue=math.log((blue + 1) / (green + 1)),
        noise=math.log(_noise(fine) + _FLOOR),
        profiles=Profiles(np.asarray(across, np.float32), np.asarray(down, np.float32)),
    )


def is_grey(measures: PictureMeasures) -> bool:
    """Whether a picture has no colour at all: of a grey camera, not of a grey part."""
    return measures.red == 0 and measures.blue == 0


class Placement:
    """Where the profiles of other pictures lie, compared with these."""

    def __init__(self, profiles: Profiles) -> None:
        self.profiles = profiles
        self._across, self._down = _Axis(profiles.across), _Axis(profiles.down)

    def offset(self, profiles: Profiles) -> tuple[float, float]:
        """(to the right, down), in shares of the view's width and height."""
        return self._across.offset(profiles.across), self._down.offset(profiles.down)


class _Axis:
    """The shift of whole places with the smallest difference, then one step of Newton's method within a place."""

    def __init__(self, reference: F32) -> None:
        most = self._most = int(_SEARCHED * REDUCED_PX)
        standardised = _standardised(reference)
        self._middle = np.ascontiguousarray(standardised[:, most:-most])
        slope = (standardised[0, most + 1 : REDUCED_PX - most + 1] - standardised[0, most - 1 : -most - 1]) / 2
        self._step = slope / max(float(slope @ slope), 1e-6)

    def offset(self, profile: F32) -> float:
        ours = _standardised(profile)
        _, _, (best, _), _ = cv2.minMaxLoc(cv2.matchTemplate(ours, self._middle, cv2.TM_SQDIFF))
        moved = ours[0, best : best + self._middle.shape[1]] - self._middle[0]
        within = -float(moved @ self._step)
        return (float(best - self._most) + min(max(within, -1.0), 1.0)) / REDUCED_PX


def _standardised(profile: F32) -> F32:
    """(1, REDUCED_PX)"""
    mean, spread = cv2.meanStdDev(profile)
    return np.asarray((profile[None] - mean[0, 0]) / (spread[0, 0] + 1), np.float32)


def _fine_rows(seen: U8) -> U8:
    """Some rows of the green channel as they are; of wide pictures the middle."""
    height, width = seen.shape[:2]
    first = max(0, (width - _LONGEST_ROW_PX) // 2)
    step = max(1, height // FINE_ROWS)
    rows = seen[step // 2 :: step, first : first + _LONGEST_ROW_PX]
    return np.asarray(cv2.extractChannel(np.ascontiguousarray(rows), 1), np.uint8)


def _noise(fine: U8) -> float:
    """Standard deviation of the noise in grey levels, from second differences where the picture is smooth."""
    second = cv2.convertScaleAbs(cv2.filter2D(fine, cv2.CV_16S, _SECOND_DIFFERENCE))
    return _quantile(np.asarray(second, np.uint8), _NOISE_QUANTILE) / _MEDIAN_OF_SECOND_DIFFERENCES


def _quantile(values: U8, share: float) -> float:
    """A quantile of bytes, interpolated within the byte: many pictures have only a few levels of noise."""
    counts = cv2.calcHist([values], [0], None, [256], [0, 256]).ravel()
    cumulated = np.cumsum(counts, dtype=np.float64)
    wanted = share * float(cumulated[-1])
    level = int(np.searchsorted(cumulated, wanted))
    below = float(cumulated[level - 1]) if level else 0.0
    return max(0.0, level - 0.5 + (wanted - below) / float(counts[level]))
