"""How large frames are cut in tiles: the scale by the smallest defect that matters, the tiles by what they cost."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from edge.core.errors import UsageError
from edge.core.manifest import MOST_FIELD_PX, TileSpec
from edge.preprocessing.field_shape import FIELD_STEP, SHORTEST_PX
from edge.preprocessing.tiling import Tiling

# a defect must be so many pixels long in what the network sees: it compares places of 8 px
SMALLEST_DEFECT_PX = 6.0
# Of a tile's inner edges. Nothing that is smoothed or compared in windows needs it, as that happens after the
# stitching: what the network sees of a tile's end must not show (docs/models/tiles.md has what it still shows).
HALO_PX = 16
# sides and areas of tiles that are tried, in those of the variant's own square: a larger tile loses less to halos, and
# a much larger one leaves the processor's cache
_SIDES = 0.75, 1.625
_AREAS = 0.6, 1.6


@dataclass(frozen=True)
class TileChoice:
    """field: (height, width) that a view is scaled to; tile: of the network; spec: for the manifest; said: in words."""

    tile: tuple[int, int]
    spec: TileSpec
    said: str


def chosen_tiles(view: tuple[int, int], smallest_px: float, side: int) -> TileChoice | None:
    """Scale and tiles for a view (height, width) of a frame, with defects of `smallest_px` pixels of the frame.

    side: of the square that the network is made for. None: one field of that square shows such a defect already.
    Raises UsageError for defects that the camera shows too small, or a field that is too large.
    """
    scale = SMALLEST_DEFECT_PX / smallest_px
    # a length in millimetres is no round number of pixels
    if scale > 1 + 1e-6:
        raise UsageError(
            f"a defect of {smallest_px:g} px is too small: the network needs {SMALLEST_DEFECT_PX:g} px of it, and "
            "enlarging the picture shows no more",
            fix=f"give --tiles {SMALLEST_DEFECT_PX:g}px or more; or a lens or a camera with more pixels on the part",
        )
    # up to whole steps, so that the defect is no smaller than that
    height, width = (math.ceil(round(length * scale / FIELD_STEP, 6)) * FIELD_STEP for length in view)
    if max(height, width) <= side:
        return None
    try:
        spec = TileSpec(height=height, width=width, halo=HALO_PX)
    except ValueError as error:
        raise UsageError(
            f"a defect of {smallest_px:g} px in {view[1]}x{view[0]} px asks for a field of {width}x{height} px; "
            f"16384 px a side and {MOST_FIELD_PX:,} pixels are the most",
            fix="give a larger smallest defect, or a region of interest",
        ) from error
    tile = min(_tiles((height, width), side), key=lambda tile: _cost((height, width), tile, side))
    tiling = Tiling((height, width), tile, HALO_PX)
    rows, columns = tiling.grid
    said = (
        f"tiles: {len(tiling)} of {tile[1]}x{tile[0]} px ({columns} across, {rows} down) over a field of "
        f"{width}x{height} px, {width / view[1]:.2f} of the frame's scale: a defect of {smallest_px:g} px is "
        f"{smallest_px * width / view[1]:.1f} px there"
    )
    return TileChoice(tile, spec, said)


def _tiles(field: tuple[int, int], side: int) -> Iterator[tuple[int, int]]:
    """Shapes of tiles to choose from; a field that is narrow has tiles as high as itself."""
    shortest, longest = (max(SHORTEST_PX, int(side * share) // FIELD_STEP * FIELD_STEP) for share in _SIDES)
    sides = range(shortest, longest + 1, FIELD_STEP)
    heights, widths = ([length] if length <= side else [each for each in sides if each <= length] for length in field)
    shapes = [(height, width) for height in heights for width in widths]
    least, most = (share * side * side for share in _AREAS)
    yield from [shape for shape in shapes if least <= shape[0] * shape[1] <= most] or shapes


def _cost(field: tuple[int, int], tile: tuple[int, int], side: int) -> tuple[int, int]:
    """Pixels that the network sees of a frame; of equals, what is nearest to its own square."""
    height, width = tile
    return len(Tiling(field, tile, HALO_PX)) * height * width, abs(height - side) + abs(width - side)
