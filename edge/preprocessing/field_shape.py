"""The shape of a network's field for parts of an aspect: sides of whole steps, area about that of a square."""

from __future__ import annotations

import math

# what networks of every method divide a side by, and maps of half the side too
FIELD_STEP = 32
# less is too little for the coarsest features of an encoder
SHORTEST_PX = 64
# of a field that shows a whole view, and of one that shows a part stood upright
LONGEST_PX, LONGEST_UPRIGHT_PX = 512, 640
# an upright part's field may have so many times the area: nothing around the part is shown
UPRIGHT_AREA = 640 * 192 / 256**2
# an aspect that is off by a hundredth costs as much as an area that is off by so many
_AREA_COUNTS = 0.25


def field_shape(aspect: float, area: float, longest: int = LONGEST_PX) -> tuple[int, int]:
    """(height, width) of the field whose aspect (width over height) and area come nearest; sides at most `longest`."""
    sides = range(SHORTEST_PX, longest + 1, FIELD_STEP)

    def distance(shape: tuple[int, int]) -> float:
        height, width = shape
        return abs(math.log(width / height / aspect)) + _AREA_COUNTS * abs(math.log(width * height / area))

    return min(((height, width) for height in sides for width in sides), key=distance)


def upright_shape(length_px: float, breadth_px: float, margin: float, side: int, enlarged: float) -> tuple[int, int]:
    """(height, width) of the canvas for parts of this length and breadth with a margin, for a network of this side.

    enlarged: at most so many canvas pixels a frame pixel; what a camera does not show is not gained by enlarging.
    """
    inner = 1 - 2 * margin
    most = enlarged**2 * length_px * breadth_px / inner**2
    return field_shape(length_px / breadth_px, min(UPRIGHT_AREA * side**2, most), LONGEST_UPRIGHT_PX)
