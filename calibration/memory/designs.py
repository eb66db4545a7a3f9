"""Which features a memory of good parts compares, and with how many centres: the defaults for each layout."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

Layout = Literal["aligned", "free"]


@dataclass(frozen=True)
class MemoryDesign:
    """name: of the memory in the graph. taps: outputs of the exported network, the finest first.

    axes: principal axes that places keep. centres: of each cell, chosen among its places and its neighbours' where the
    memory is local; else of all places together.
    """

    name: str
    taps: tuple[str, ...]
    axes: int
    centres: int
    local: bool


_DEFAULTS: dict[Layout, MemoryDesign] = {
    "aligned": MemoryDesign("fine", ("tap2", "tap4"), axes=64, centres=16, local=True),
    "free": MemoryDesign("fine", ("tap2", "tap4"), axes=96, centres=800, local=False),
}


def designs_for(layout: Layout, taps: Collection[str]) -> tuple[MemoryDesign, ...]:
    """The memories of parts of this layout, of the taps that a network hands on."""
    design = _DEFAULTS[layout]
    assert set(design.taps) <= set(taps), f"the network hands on {sorted(taps)}, not {design.taps}"
    return (design,)
