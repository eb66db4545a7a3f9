"""Memory for live pictures that is used again and stays where it is: a device may be told of it once, for all frames.

A picture lies in a buffer until nobody looks at it any more, not even at a part of it; the next picture may then lie
there. Where all buffers are looked at, it lies in ordinary memory. All cameras of a process share one FrameMemory: what
a camera has left, the next one gets.
"""

from __future__ import annotations

import math
import mmap
import threading
from collections import Counter, deque
from dataclasses import dataclass
from typing import Any

import numpy as np

from edge.core.datatypes import U8

# being grabbed, waiting, being inspected, compared with by two checks, tried by a candidate, and two for the recorder
MOST_BUFFERS = 8
MOST_BYTES = 256 * 1024 * 1024


@dataclass(eq=False, frozen=True)
class FrameBuffer:
    """Whole pages, never given back, which a process may therefore register with a driver. address: of the first."""

    memory: mmap.mmap
    address: int

    @property
    def bytes(self) -> int:
        return len(self.memory)


class _Lease:
    """What keeps a buffer taken: the base of the array in it; the array's views keep the array."""

    def __init__(self, buffer: FrameBuffer, shape: tuple[int, ...], free: deque[FrameBuffer]) -> None:
        self.buffer, self._free = buffer, free
        self.__array_interface__ = {
            "data": (buffer.address, False), "shape": shape, "typestr": "|u1", "version": 3,
        }  # fmt: skip

    def __del__(self) -> None:
        # the pool may be gone before its last picture
        self._free.append(self.buffer)


class FrameMemory:
    """Buffers for pictures, some for each size, until there are most_bytes of them; from any thread."""

    def __init__(self, most_buffers: int = MOST_BUFFERS, most_bytes: int = MOST_BYTES) -> None:
        self._most_buffers, self._most_bytes = most_buffers, most_bytes
        self._free: dict[int, deque[FrameBuffer]] = {}
        self._made: Counter[int] = Counter()
        self._making = threading.Lock()

    def empty(self, shape: tuple[int, ...]) -> U8:
        """An array uint8 of this shape with whatever is in it, in a buffer where one is free."""
        size = -(-math.prod(shape) // mmap.PAGESIZE) * mmap.PAGESIZE
        free = self._free.setdefault(size, deque())
        try:
            buffer = free.popleft()
        except IndexError:
            made = self._new_buffer(size)
            if made is None:
                return np.empty(shape, np.uint8)
            buffer = made
        return np.asarray(_Lease(buffer, shape, free))

    def _new_buffer(self, size: int) -> FrameBuffer | None:
        with self._making:
            taken = sum(each * count for each, count in self._made.items())
            if not size or self._made[size] >= self._most_buffers or taken + size > self._most_bytes:
                return None
            self._made[size] += 1
        memory = mmap.mmap(-1, size)
        return FrameBuffer(memory, np.frombuffer(memory, np.uint8).ctypes.data)


# buffers are never given back, so there must not be another for every time that a camera is opened
FRAME_MEMORY = FrameMemory()


def buffer_of(image: U8) -> FrameBuffer | None:
    """The buffer that a picture, or a part of one, lies in; None: in ordinary memory."""
    base: Any = image.base
    while isinstance(base, np.ndarray):
        base = base.base
    return base.buffer if isinstance(base, _Lease) else None
