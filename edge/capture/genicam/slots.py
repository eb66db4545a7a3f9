"""Memory that two processes share: a few places for a picture each. It has no name, so nothing is left of it."""

from __future__ import annotations

import mmap
import os

import numpy as np

from edge.core.datatypes import U8


class Slots:
    """`count` places of `slot_bytes` each in the file of a descriptor, which stays open."""

    def __init__(self, descriptor: int, count: int, slot_bytes: int) -> None:
        self._memory = mmap.mmap(descriptor, count * slot_bytes)
        self._bytes: U8 = np.frombuffer(self._memory, np.uint8)
        self.count, self.slot_bytes = count, slot_bytes

    @classmethod
    def made(cls, descriptor: int, count: int, slot_bytes: int) -> Slots:
        """Give the file its size; raises OSError where the memory is not there."""
        # now, and not by a signal at the first picture
        os.posix_fallocate(descriptor, 0, count * slot_bytes)
        return cls(descriptor, count, slot_bytes)

    def view(self, slot: int) -> U8:
        """The bytes of one place, shared."""
        return self._bytes[slot * self.slot_bytes : (slot + 1) * self.slot_bytes]
