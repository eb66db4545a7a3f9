"""Which features a memory of good parts compares, and with how many centres: the defaults for each layout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Layout = Literal["aligned", "free"]


@dataclass(frozen=True)
class MemoryDesign:
    """name: of the memory in the graph. taps: outputs of the exported network, the finest first.

    axes: principal axes that places keep. local: each cell has `centres` of its own, chosen among it and its
    neighbours; else all places share `centres`.
    """

    name: str
    taps: tuple[str, ...]
    axes: int
    centres: int
    local: bool
