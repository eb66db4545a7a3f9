"""Which features a memory of good parts compares, and with how many centres: the defaults for each layout."""

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
    """

    name: str
    taps: tuple[str, ...]
    axes: int
    centres: int
    block: int


_DEFAULTS: dict[Layout, MemoryDesign] = {
    "aligned": MemoryDesign("fine", ("tap2", "tap4"), axes=64, centres=100, block=4),
    "free": MemoryDesign("fine", ("tap2", "tap4"), axes=96, centres=800, block=0),
}


def designs_for(layout: Layout, taps: Collection[str]) -> tuple[MemoryDesign, ...]:
    """The memories of parts of this layout, of the taps that a network hands on."""
    design = _DEFAULTS[layout]
    assert set(design.taps) <= set(taps), f"the network hands on {sorted(taps)}, not {design.taps}"
    return (design,)
