"""Races in shared memory: two threads at one byte, one of them writing, with no barrier of the block in between.

A GPU may then give the one order or the other, and the interpreter would show only one. Threads of one warp are no
exception: they run on their own since compute capability 7.0.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from benchmarks.gpu.ptx.memory import Array
from benchmarks.gpu.ptx.parser import PtxFault

Access = Literal["ld", "st", "atom"]
_NOBODY, _SEVERAL, _ATOMICALLY = -1, -2, -3


class RaceWatch:
    """Who touched each byte since the last barrier of its block; size_bytes: of all blocks that run together."""

    def __init__(self, size_bytes: int, block_of: Array) -> None:
        self._block_of = block_of
        self._barriers = np.zeros(int(block_of.max()) + 1, np.int32)
        self._writer, self._reader = np.full((2, size_bytes), _NOBODY, np.int32)
        self._written, self._read = np.full((2, size_bytes), -1, np.int32)

    def passed_barrier(self, blocks: Array) -> None:
        self._barriers[blocks] += 1

    def note(self, access: Access, places: Array, size: int, threads: Any) -> None:
        """places: each thread's first byte. Raises PtxFault for a race."""
        who = np.repeat(threads, size).astype(np.int32)
        at = (places[:, None] + np.arange(size)).ravel()
        now = self._barriers[self._block_of[who]]
        writer = np.where(self._written[at] == now, self._writer[at], _NOBODY)
        reader = np.where(self._read[at] == now, self._reader[at], _NOBODY)
        if access == "ld":
            self._refuse(writer, who, writer != who, "reads what another thread writes")
            self._reader[at] = np.where((reader == _NOBODY) | (reader == who), who, _SEVERAL)
            # of those that read it in this very instruction, the last is left standing
            self._reader[at[self._reader[at] != who]] = _SEVERAL
            self._read[at] = now
            return
        self._refuse(reader, who, reader != who, "writes what another thread reads")
        others = writer != (_ATOMICALLY if access == "atom" else who)
        self._refuse(writer, who, others, "writes what another thread writes")
        self._writer[at] = _ATOMICALLY if access == "atom" else who
        self._written[at] = now
        if access == "st":
            self._refuse(self._writer[at], who, self._writer[at] != who, "writes what another thread writes")

    @staticmethod
    def _refuse(found: Array, who: Array, differs: Array, what: str) -> None:
        offends = np.flatnonzero((found != _NOBODY) & differs)
        if len(offends):
            raise PtxFault(f"shared: thread {who[offends[0]]} {what}, and no barrier lies in between")
