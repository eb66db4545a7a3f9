"""Memory of the interpreted device: every access is aligned and lies inside what was asked for, or is a fault.

Addresses are the device's own, with wide gaps between areas, so that they mean nothing on the host.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Any

import numpy as np

from benchmarks.gpu.ptx.parser import PtxFault

Array = np.ndarray[Any, Any]
_FIRST_ADDRESS = 1 << 33
_ALIGNMENT = 256
_GAP_BYTES = 1 << 16
# of what nobody has written: NaN in every floating-point type
_FRESH = 0xFF
# the longest vector of one access
_LONGEST = 16


class DeviceMemory:
    """Areas of global memory; the Memory protocol of edge/kernels/cuda/launch.py."""

    def __init__(self) -> None:
        self._begins: list[int] = []
        self._areas: list[tuple[int, Array]] = []
        self._next = _FIRST_ADDRESS

    def device_memory(self, size_bytes: int) -> int:
        begin = self._next
        whole = np.full(-(-size_bytes // _LONGEST) * _LONGEST, _FRESH, np.uint8)
        self._begins.append(begin)
        self._areas.append((size_bytes, whole))
        self._next = begin + -(-size_bytes // _ALIGNMENT) * _ALIGNMENT + _GAP_BYTES
        return begin

    def upload(self, address: int, source: Array) -> None:
        content = np.ascontiguousarray(source).reshape(-1).view(np.uint8)
        self._inside(address, content.size)[:] = content

    def put(self, source: Array) -> int:
        """A copy of an array, and its address."""
        address = self.device_memory(source.nbytes)
        self.upload(address, source)
        return address

    def fetch(self, address: int, shape: tuple[int, ...], dtype: Any) -> Array:
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        content: Array = self._inside(address, size).copy().view(dtype).reshape(shape)
        return content

    def _inside(self, address: int, size: int) -> Array:
        area = self._area(address)
        begin, (size_bytes, whole) = self._begins[area], self._areas[area]
        if address + size > begin + size_bytes:
            raise PtxFault(f"{size} bytes at {address:#x} reach beyond an area of {size_bytes}")
        return whole[address - begin : address - begin + size]

    def _area(self, address: int) -> int:
        found = bisect_right(self._begins, address) - 1
        if found < 0 or address >= self._begins[found] + self._areas[found][0]:
            raise PtxFault(f"{address:#x} lies in no memory")
        return found

    def elements(self, addresses: Array, kind: np.dtype[Any], count: int) -> tuple[Array, Array]:
        """An area as elements of a type, and the place of each thread's first in it.

        All threads that meet in an instruction use one area, as they do in our kernels.
        """
        size = kind.itemsize * count
        _aligned("global", addresses, size)
        first, last = int(addresses.min()), int(addresses.max())
        area = self._area(first)
        begin, (size_bytes, whole) = self._begins[area], self._areas[area]
        if last + size > begin + size_bytes:
            raise PtxFault(f"global: {last:#x} and {size - 1} bytes more lie beyond {size_bytes} bytes at {begin:#x}")
        return whole.view(kind), (addresses - begin) // kind.itemsize


class SharedMemory:
    """One area for each block of threads that runs; addresses begin at zero in each.

    size_bytes: of all blocks together.
    """

    def __init__(self, each_bytes: int, blocks: Array) -> None:
        """blocks: the number of each thread's block, from zero."""
        self._each_bytes = each_bytes
        pitch = -(-max(each_bytes, 1) // _LONGEST) * _LONGEST
        self.size_bytes = pitch * (int(blocks.max()) + 1)
        self._whole = np.full(self.size_bytes, _FRESH, np.uint8)
        self._first = blocks.astype(np.int64) * pitch

    def elements(self, addresses: Array, threads: Any, kind: np.dtype[Any], count: int) -> tuple[Array, Array]:
        """The same as of DeviceMemory; threads: those that the addresses are of."""
        size = kind.itemsize * count
        _aligned("shared", addresses, size)
        if int(addresses.min()) < 0 or int(addresses.max()) + size > self._each_bytes:
            raise PtxFault(f"shared: {int(addresses.max())} and {size - 1} bytes more, of {self._each_bytes}")
        return self._whole.view(kind), (self._first[threads] + addresses) // kind.itemsize


def _aligned(space: str, addresses: Array, size: int) -> None:
    if (addresses & (size - 1)).any():
        raise PtxFault(f"{space}: an address is not a multiple of {size} bytes")
