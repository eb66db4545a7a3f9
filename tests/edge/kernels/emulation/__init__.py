"""The kernels' own sources, compiled by g++ and run on the CPU with the semantics of blocks and barriers.

A launch takes the very bytes that a GPU would be given; addresses are those of this process.
"""

from __future__ import annotations

import ctypes
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edge.kernels.cuda.build import SOURCES
from edge.kernels.cuda.plan import Launch

_HERE = Path(__file__).parent
# single roundings, as nvcc is told to; pairs of elements are read through types of their own
FLAGS = ("-std=c++17", "-O2", "-shared", "-fPIC", "-ffp-contract=off", "-fno-strict-aliasing", "-fvisibility=hidden")
SANITIZERS = (
    "-DFEW",
    "-g",
    "-O1",
    "-fsanitize=address,undefined",
    "-fno-sanitize-recover=all",
    "-fno-omit-frame-pointer",
)
_FAILURES = {1: "there is no kernel {}", 2: "a barrier in {} is not reached by all threads of a block"}


def emulated_library(*extra_flags: str) -> Path:
    """The compiled emulation, made once for each state of the sources; skips where g++ is missing."""
    compiler = shutil.which("g++")
    if compiler is None:
        pytest.skip("g++ is not installed: the kernels cannot be emulated")
    command = [compiler, *FLAGS, *extra_flags, "-w", f"-I{SOURCES}", f"-I{_HERE}", str(_HERE / "emulation.cpp")]
    return compiled([*command, "-ldl"], ".so")


def compiled(command: list[str], suffix: str) -> Path:
    """What a compiler makes of the kernels with `command`; kept under the hash of it and of all sources."""
    sources = sorted([*SOURCES.glob("*.cu"), *SOURCES.glob("*.h"), *_HERE.glob("*.h"), *_HERE.glob("*.c*")])
    digest = hashlib.sha256(repr(command).encode())
    for source in sources:
        digest.update(source.read_bytes())
    folder = Path(tempfile.gettempdir()) / f"edge-inspect-kernels-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    target = folder / f"{digest.hexdigest()[:16]}{suffix}"
    if not target.exists():
        part = target.with_suffix(f".{os.getpid()}.part{suffix}")
        result = subprocess.run([*command, "-o", str(part)], capture_output=True, text=True, timeout=600)
        assert result.returncode == 0, result.stderr
        part.replace(target)
    return target


class EmulatedModule:
    """Module protocol of edge.kernels.cuda.launch; a stream is not looked at: a launch has ended when it returns.

    backwards: in which order the threads of a block run between barriers. launched: names, in order.
    """

    def __init__(self, backwards: bool = False, library: Path | None = None) -> None:
        self.backwards = backwards
        self.launched: list[str] = []
        self._emulate = ctypes.CDLL(str(library or emulated_library())).emulate

    def launch(self, launch: Launch, stream: Any = None) -> None:
        self.launched.append(launch.kernel)
        three = ctypes.c_uint32 * 3
        status = self._emulate(
            launch.kernel.encode(), three(*launch.grid), three(*launch.block), launch.parameters, int(self.backwards)
        )
        if status:
            raise RuntimeError(_FAILURES[status].format(launch.kernel))


class HostMemory:
    """Memory protocol of edge.kernels.cuda.launch, full of NaN, between guards that `fetch` looks at.

    exact: no guards, but blocks of their own, so that a sanitizer sees what is read beyond them as well; missing_bytes:
    by so much they are too small.
    """

    _GUARD_BYTES = 256

    def __init__(self, exact: bool = False, missing_bytes: int = 0) -> None:
        self._exact, self._missing_bytes = exact, missing_bytes
        self._blocks: dict[int, np.ndarray] = {}

    def device_memory(self, size_bytes: int) -> int:
        block = (
            self._own_block(max(1, size_bytes - self._missing_bytes))
            if self._exact
            else self._guarded_block(size_bytes)
        )
        address = block.ctypes.data + (0 if self._exact else self._GUARD_BYTES)
        self._blocks[address] = block
        return address

    def _own_block(self, size_bytes: int) -> np.ndarray:
        address = ctypes.c_void_p()
        assert (
            ctypes.CDLL(None).posix_memalign(ctypes.byref(address), self._GUARD_BYTES, ctypes.c_size_t(size_bytes)) == 0
        )
        block = np.ctypeslib.as_array(ctypes.cast(address, ctypes.POINTER(ctypes.c_uint8)), (size_bytes,))
        block[:] = 0xFF
        return block

    def _guarded_block(self, size_bytes: int) -> np.ndarray:
        # aligned as a device aligns
        whole = np.full(size_bytes + 3 * self._GUARD_BYTES, 0xFF, np.uint8)
        start = self._GUARD_BYTES + -whole.ctypes.data % self._GUARD_BYTES
        block = whole[start - self._GUARD_BYTES : start + size_bytes + self._GUARD_BYTES]
        block[: self._GUARD_BYTES] = block[-self._GUARD_BYTES :] = 0xA5
        return block

    def upload(self, address: int, source: np.ndarray) -> None:
        content = np.ascontiguousarray(source).view(np.uint8).ravel()
        place = self._content(address)[: content.size]
        place[:] = content[: place.size]

    def put(self, source: np.ndarray) -> int:
        """A copy of an array, and its address."""
        address = self.device_memory(source.nbytes)
        self.upload(address, source)
        return address

    def fetch(self, address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """What lies there; fails where anybody wrote beside what was asked for."""
        self._check()
        size = int(np.prod(shape)) * np.dtype(dtype).itemsize
        return self._content(address)[:size].copy().view(dtype).reshape(shape)

    def _check(self) -> None:
        for block in self._blocks.values() if not self._exact else ():
            assert (block[: self._GUARD_BYTES] == 0xA5).all(), "written before the beginning"
            assert (block[-self._GUARD_BYTES :] == 0xA5).all(), "written beyond the end"

    def _content(self, address: int) -> np.ndarray:
        block = self._blocks[address]
        return block if self._exact else block[self._GUARD_BYTES : -self._GUARD_BYTES]
