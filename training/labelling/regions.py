"""Candidate regions of one picture: connected places of its z-map above several levels, nested ones kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.core.datatypes import F32
from training.rules.rulebook import DEFAULT_INSIDE_ROI, Mask

# more candidates than this are noise; the strongest are kept, by highest z, then by mean z
MOST_REGIONS = 64
# a strong defect stands far above every level of good parts, and its halo would weld it to its neighbours there
LEVEL_STEP = 1.5


@dataclass(frozen=True)
class Candidate:
    """One connected place. mask: bool (height, width), True on its pixels, of the bounding box at (x, y).

    level: index of the threshold it lies above. parent: index, among the candidates, of the smallest one around it.
    """

    x: int
    y: int
    mask: Mask
    level: int
    mean_z: float
    max_z: float
    parent: int | None = None

    @property
    def area_px(self) -> int:
        return int(np.count_nonzero(self.mask))

    @property
    def height(self) -> int:
        return int(self.mask.shape[0])

    @property
    def width(self) -> int:
        return int(self.mask.shape[1])

    @property
    def window(self) -> tuple[slice, slice]:
        """Where its mask lies in the picture."""
        return slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)


def minimum_area(height: int, width: int) -> int:
    """Pixels below which a place is noise: 8 in a field of 128 x 128, 16 in one of 256 x 256."""
    return max(2, round(float(np.sqrt(height * width)) / 16))


def candidate_regions(
    zmap: F32, levels: Sequence[float], roi: Mask | None = None, inside_roi: float = DEFAULT_INSIDE_ROI
) -> tuple[Candidate, ...]:
    """The strongest candidates of a z-map (h, w), at most MOST_REGIONS, highest z first.

    levels: ascending thresholds, of good parts; a place lies strictly above. Further ones follow, each LEVEL_STEP times
    the one before, up to the highest z. A component that fills the one around it completely is
    the same place: the higher level stands for both. roi: True where the part is inspected; a component with less
    than `inside_roi` of its pixels there is dropped, the others are cut to it.
    """
    least = minimum_area(*zmap.shape)
    found: list[Candidate] = []
    for level, threshold in enumerate(_all_levels(zmap, levels)):
        found.extend(_components(zmap, threshold, level, least, roi, inside_roi))
    distinct = _without_repeats(found)
    # place and level as last keys: equal candidates must come in the same order everywhere
    distinct.sort(key=lambda c: (-c.max_z, -c.mean_z, c.y, c.x, c.level))
    return _with_parents(distinct[:MOST_REGIONS])


def _all_levels(zmap: F32, levels: Sequence[float]) -> list[float]:
    found, highest = list(levels), float(zmap.max())
    # a level at or below zero, where good parts have no residual at all, could not grow
    following = max(found[-1], 0.5) * LEVEL_STEP
    while following < highest:
        found.append(following)
        following *= LEVEL_STEP
    return found


def _components(
    zmap: F32, threshold: float, level: int, least: int, roi: Mask | None, inside_roi: float
) -> list[Candidate]:
    above = (zmap > threshold).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    found = []
    for label in range(1, count):
        x, y, width, height, area = (int(value) for value in stats[label])
        if area < least:
            continue
        window = slice(y, y + height), slice(x, x + width)
        mask = labels[window] == label
        if roi is not None:
            mask &= roi[window]
            inside = int(np.count_nonzero(mask))
            if inside < least or inside < inside_roi * area:
                continue
        values = zmap[window][mask]
        found.append(Candidate(x, y, mask, level, float(values.mean(dtype=np.float64)), float(values.max())))
    return found


def _without_repeats(found: list[Candidate]) -> list[Candidate]:
    # levels ascend, so a later one with the same pixels is the higher one
    places = {(c.y, c.x, c.height, c.width, c.area_px, c.mean_z): c for c in found}
    return list(places.values())


def _with_parents(candidates: list[Candidate]) -> tuple[Candidate, ...]:
    return tuple(
        Candidate(c.x, c.y, c.mask, c.level, c.mean_z, c.max_z, _parent(index, candidates))
        for index, c in enumerate(candidates)
    )


def _parent(index: int, candidates: list[Candidate]) -> int | None:
    """The candidate of the next lower level there is that holds this one."""
    child = candidates[index]
    row, column = np.argwhere(child.mask)[0] + (child.y, child.x)
    around = [
        other
        for other, c in enumerate(candidates)
        if c.level < child.level
        and 0 <= row - c.y < c.height
        and 0 <= column - c.x < c.width
        and c.mask[row - c.y, column - c.x]
    ]
    return max(around, key=lambda other: candidates[other].level, default=None)
