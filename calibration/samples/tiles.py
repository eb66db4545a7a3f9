"""Large fields in tiles, for those who fit, quantise and compare: which tiles are looked at, and defects drawn in them.

A field may be too large to keep many of: what is altered of it is kept as a tile, and laid into the field when asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import U8
from edge.preprocessing.tiling import Tile, Tiling

# multiples of it, modulo 1, lie evenly however many are taken
_GOLDEN = 0.6180339887498949

Mask = NDArray[np.bool_]


class Fields(Protocol):
    """Network fields, uint8 (h, w, 3) BGR each, of one shape; shape: (n, h, w, 3). An array is this as well."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, number: int) -> U8: ...

    def __iter__(self) -> Iterator[U8]: ...


class Masks(Protocol):
    """Where each field was altered, (h, w) each. An array is this as well."""

    def __getitem__(self, number: int) -> Mask: ...


@dataclass(frozen=True)
class Cut:
    """Tiles of some fields, uint8 (n, h, w, 3) BGR. part_of: (n,), of which field each is; tiles: where in it."""

    fields: U8
    part_of: NDArray[np.int64]
    tiles: tuple[Tile, ...]


def cut_tiles(fields: Fields, tiling: Tiling, most: int) -> Cut:
    """About `most` tiles, as many of each field, which lie evenly in it and elsewhere in the next; repeatable."""
    tiles, count = list(tiling), len(fields)
    each = max(1, min(len(tiles), most // max(1, count)))
    pictures, part_of, places = [], [], []
    for number, field in enumerate(fields):
        shift = (number * _GOLDEN) % 1
        for place in ((np.arange(each) + shift) * len(tiles) / each).astype(int):
            pictures.append(field_of_tile(field, tiles[place], tiling))
            part_of.append(number)
            places.append(tiles[place])
    stacked = np.stack(pictures) if pictures else np.zeros((0, *tiling.tile, 3), np.uint8)
    return Cut(stacked, np.array(part_of, np.int64), tuple(places))


def field_of_tile(field: U8, tile: Tile, tiling: Tiling) -> U8:
    """What the network sees of a field (h, w, 3) in this tile; a copy."""
    rows, columns = _where(tile, tiling)
    tile_field: U8 = field[rows, columns].copy()
    return tile_field


def _where(tile: Tile, tiling: Tiling) -> tuple[slice, slice]:
    height, width = tiling.tile
    top, left = tile.down.start, tile.across.start
    return slice(top, top + height), slice(left, left + width)


@dataclass(frozen=True, eq=False)
class Patches:
    """Tiles with a defect, uint8 (m, h, w, 3) BGR, and masks (m, h, w); origins: of which field; tiles: where in it."""

    fields: U8
    masks: Mask
    origins: NDArray[np.int64]
    tiles: Sequence[Tile]


class PatchedFields:
    """Fields over good ones: those, then one for each patch, with it in its place."""

    def __init__(self, good: Fields, patches: Patches, tiling: Tiling) -> None:
        self._good, self._patches, self._tiling = good, patches, tiling

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self), *self._tiling.field, 3

    def __len__(self) -> int:
        return len(self._good) + len(self._patches.fields)

    def __getitem__(self, number: int) -> U8:
        patch = number - len(self._good)
        if patch < 0:
            return self._good[number]
        # the end of the fields, for those who go through all of them
        if patch >= len(self._patches.fields):
            raise IndexError(number)
        field: U8 = np.array(self._good[int(self._patches.origins[patch])])
        field[_where(self._patches.tiles[patch], self._tiling)] = self._patches.fields[patch]
        return field

    def __iter__(self) -> Iterator[U8]:
        return (self[number] for number in range(len(self)))


class PatchedMasks:
    """Masks of `PatchedFields`: nowhere for the `good` first ones."""

    def __init__(self, good: int, patches: Patches, tiling: Tiling) -> None:
        self._good, self._patches, self._tiling = good, patches, tiling

    def __getitem__(self, number: int) -> Mask:
        mask = np.zeros(self._tiling.field, np.bool_)
        patch = number - self._good
        if patch >= 0:
            mask[_where(self._patches.tiles[patch], self._tiling)] = self._patches.masks[patch]
        return mask
