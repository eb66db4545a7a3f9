"""Which features a memory of good parts compares, and with how many centres."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Layout = Literal["aligned", "free"]


@dataclass(frozen=True)
class MemoryDesign:
    """name: of the memory in the graph. taps: outputs of the exported network, the finest first.

    axes: principal axes that places keep. block: side of the square blocks of places that the grid is cut into, each
    with so many centres of its own, chosen among its places and those near it; 0: all places share the centres.
    by_place: distances count in deviations of good parts at each place, else over all places.
    """

    name: str
    taps: tuple[str, ...]
    axes: int
    centres: int
    block: int
    by_place: bool = True


# places of 8 x 8 px; blocks are as wide as what all sides of a field are multiples of
_DEFAULT = MemoryDesign("fine", ("tap2", "tap4"), axes=64, centres=100, block=4)


def designs_for(taps: Collection[str]) -> tuple[MemoryDesign, ...]:
    """The memories that are fitted to the taps that a network hands on."""
    assert set(_DEFAULT.taps) <= set(taps), f"the network hands on {sorted(taps)}, not {_DEFAULT.taps}"
    return (_DEFAULT,)
