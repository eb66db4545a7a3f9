"""Places of a picture that stand out by themselves: dark, bright or thin beside what surrounds them.

A rule such as "dark, thin and long is a crack" must not depend on a network that rebuilds cracks well. So where there
are rules, candidates come from the picture too, measured against good parts in the same way.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.core.datatypes import F32, U8
from training.rules.rulebook import Mask

# half widths of what stands out, as shares of the field's side: lines, spots, patches
_REACHES = (1 / 64, 1 / 24, 1 / 10)
# levels of good parts' contrast at which candidates are cut out
QUANTILES = (0.99, 0.999)
# a spread below one grey level is noise of eight bits
_LEAST_SPREAD = 1.0


@dataclass(frozen=True)
class NormalContrast:
    """Of good parts: mean and spread of the contrast, in grey levels, and its levels in spreads at QUANTILES."""

    mean: float
    spread: float
    levels: tuple[float, ...]

    def in_spreads(self, picture: U8) -> F32:
        """How far the contrast of each place, float32 (h, w), lies above that of good parts."""
        return np.asarray((contrast_map(picture) - self.mean) / self.spread, np.float32)


def contrast_map(picture: U8) -> F32:
    """By how many grey levels each place is darker or brighter than what surrounds it, float32 (h, w) of 0..255.

    The larger of black-hat and top-hat at three widths: what is narrower than the window disappears under it.
    """
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    side = float(np.sqrt(grey.size))
    result = np.zeros(grey.shape, np.uint8)
    for reach in _REACHES:
        half = max(1, round(reach * side))
        window = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * half + 1, 2 * half + 1))
        for kind in (cv2.MORPH_BLACKHAT, cv2.MORPH_TOPHAT):
            result = np.maximum(result, cv2.morphologyEx(grey, kind, window))
    return result.astype(np.float32)


def normal_contrast(pictures: Sequence[U8], roi: Mask | None = None) -> NormalContrast:
    """Measured on good parts, uint8 (h, w, 3) BGR; roi: where the part is inspected."""
    maps = [contrast_map(picture) for picture in pictures]
    values = np.concatenate([np.ravel(values if roi is None else values[roi]) for values in maps])
    mean, spread = float(values.mean(dtype=np.float64)), max(_LEAST_SPREAD, float(values.std(dtype=np.float64)))
    levels = tuple(float((level - mean) / spread) for level in np.quantile(values, QUANTILES))
    return NormalContrast(mean, spread, levels)
