"""Which features memories of good parts compare, and with how many centres."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Literal

Layout = Literal["aligned", "free"]


@dataclass(frozen=True)
class MemoryDesign:
    """name: of the memory in the graph. taps: outputs of the exported network, the finest first.

    axes: principal axes that places keep. block: side of the square blocks of places that the grid is cut into, each
    with so many centres of its own, chosen among its places and those near it; 0: all places share the centres.
    """

    name: str
    taps: tuple[str, ...]
    axes: int
    centres: int
    block: int


# One for each depth of the encoder, from a scratch to what is missing or out of place; no depth is chosen. Places stand
# for 8, 16 and 32 px, and blocks are as wide as what all sides of a field are multiples of.
_DEPTHS = (
    MemoryDesign("fine", ("tap2", "tap4"), axes=64, centres=100, block=4),
    MemoryDesign("middle", ("tap3", "tap4"), axes=64, centres=100, block=2),
    MemoryDesign("coarse", ("tap5", "tap6"), axes=64, centres=100, block=1),
)
# Where parts have no fixed layout, what a deep tap sees may be anywhere: all places share the centres. Of the finest
# there are too many places to compare each with so many.
_SHARED = frozenset({"middle", "coarse"})
_CENTRES_OF_A_PART, _FEWEST_SHARED, _MOST_SHARED = 8, 200, 3000
# tiles of one part have more in common than parts have, and what is compared is compared for every tile of a frame
_CENTRES_OF_A_TILE, _MOST_SHARED_BY_TILES = 2, 1000


def designs_for(taps: Collection[str], layout: Layout, parts: int, tiles: int = 0) -> tuple[MemoryDesign, ...]:
    """The memories that are fitted to so many good parts, the finest first: of the depths that a network hands on.

    tiles: number of tiles that show these parts, 0: they are shown whole.
    """
    there = [design for design in _DEPTHS if set(design.taps) <= set(taps)]
    assert there, f"the network hands on {sorted(taps)}, and no memory is made of these"
    if layout == "aligned":
        return tuple(there)
    shared = min(max(_FEWEST_SHARED, _CENTRES_OF_A_PART * parts), _MOST_SHARED)
    if tiles:
        shared = min(max(_FEWEST_SHARED, _CENTRES_OF_A_TILE * tiles), _MOST_SHARED_BY_TILES)
    return tuple(replace(design, block=0, centres=shared) if design.name in _SHARED else design for design in there)
