"""Where the tiles of a large field lie, and what of each is kept: pure arithmetic over pixels.

Tiles lie evenly and overlap: none reaches beyond the field, so nothing is padded where there is picture. Between two
tiles the field is shared out in the middle of their overlap, at least a halo away from the end of either.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from edge.core.manifest import TILE_STEP, Manifest


@dataclass(frozen=True)
class Span:
    """Along one side of a field: a tile from `start` on; of the field it gives `first` up to `end`, exclusive."""

    start: int
    first: int
    end: int


@dataclass(frozen=True)
class Tile:
    """One tile: (row, column) of its place among the tiles, and its spans down and across."""

    place: tuple[int, int]
    down: Span
    across: Span


@dataclass(frozen=True)
class Tiling:
    """field, tile: (height, width), multiples of TILE_STEP. halo: least distance of a seam from a tile's end."""

    field: tuple[int, int]
    tile: tuple[int, int]
    halo: int

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of tiles."""
        down, across = (len(spans) for spans in self._spans())
        return down, across

    def __len__(self) -> int:
        rows, columns = self.grid
        return rows * columns

    def __iter__(self) -> Iterator[Tile]:
        """Row by row."""
        down, across = self._spans()
        for row, rows in enumerate(down):
            for column, columns in enumerate(across):
                yield Tile((row, column), rows, columns)

    def _spans(self) -> tuple[list[Span], list[Span]]:
        down, across = (spans(*sides, self.halo) for sides in zip(self.field, self.tile, strict=True))
        return down, across


def tiling_of(manifest: Manifest) -> Tiling | None:
    """How a bundle cuts its field; None where the network sees it whole."""
    tiles = manifest.preprocess.tiles
    if tiles is None:
        return None
    return Tiling((tiles.height, tiles.width), (manifest.input.height, manifest.input.width), tiles.halo)


def spans(length: int, tile: int, halo: int) -> list[Span]:
    """The fewest tiles along a side of `length`, evenly, from multiples of TILE_STEP on."""
    count = tiles_along(length, tile, halo)
    steps = np.linspace(0, (length - tile) // TILE_STEP, count).round().astype(int)
    starts = [int(step) * TILE_STEP for step in steps]
    # in the middle of each overlap, down to whole steps: the halo is one, so both tiles keep theirs
    seams = [(before + tile + after) // 2 // TILE_STEP * TILE_STEP for before, after in pairwise(starts)]
    return [Span(*each) for each in zip(starts, [0, *seams], [*seams, length], strict=True)]


def tiles_along(length: int, tile: int, halo: int) -> int:
    """How many tiles cover a side of `length`; each begins and ends at a multiple of TILE_STEP."""
    if length <= tile:
        return 1
    count = math.ceil((length - 2 * halo) / (tile - 2 * halo))
    # rounding to whole steps must not take from the halo
    while _narrowest_overlap(length, tile, count) < 2 * halo:
        count += 1
    return count


def _narrowest_overlap(length: int, tile: int, count: int) -> int:
    steps = np.linspace(0, (length - tile) // TILE_STEP, count).round().astype(int)
    return tile - int(np.diff(steps).max()) * TILE_STEP


class Stitched:
    """A plane of the whole field, put together from what the network returns for each tile.

    What is returned may be coarser than the tile, by a whole factor that divides TILE_STEP.
    """

    def __init__(self, tiling: Tiling, channels: int, shape: tuple[int, int]) -> None:
        """shape: of what is returned for one tile, (rows, columns). Raises ValueError where it fits no whole factor."""
        factors = {side // max(1, own) for side, own in zip(tiling.tile, shape, strict=True)}
        factor = factors.pop()
        if factors or tuple(side * factor for side in shape) != tiling.tile or TILE_STEP % factor:
            raise ValueError(f"{shape[1]}x{shape[0]} places for a tile of {tiling.tile[1]}x{tiling.tile[0]} px")
        self._factor = factor
        height, width = tiling.field
        self.values: NDArray[np.float32] = np.empty((channels, height // factor, width // factor), np.float32)

    def put(self, tile: Tile, values: NDArray[np.float32]) -> None:
        """Take over what the tile gives; values: (channels, rows, columns)."""
        (from_y, to_y), (from_x, to_x) = (self._kept(span) for span in (tile.down, tile.across))
        self.values[:, to_y, to_x] = values[:, from_y, from_x]

    def _kept(self, span: Span) -> tuple[slice, slice]:
        first, end, start = (at // self._factor for at in (span.first, span.end, span.start))
        return slice(first - start, end - start), slice(first, end)
