"""A GPU made of host memory: as much of pycuda and of the driver as our code uses, and as strict as the real ones.

Addresses are real host addresses, so emulated kernels can be given them. Streams run nothing before somebody waits for
them. Recording keeps what is enqueued and runs it at each launch. Refused, as the real ones do or worse: calls with no
current context, memory that is not there any more, waiting, taking or freeing memory while recording, copies from
unpinned memory, and everything after the device was lost, until its context is reset.
"""

from __future__ import annotations

import ctypes
import itertools
import sys
import threading
import time
import weakref
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np

from tests.edge.backends.gpu.fakes.fake_driver import (
    Error,
    FakeLibrary,
    LaunchError,
    LogicError,
    OutOfMemory,
    Work,
    copy_bytes,
)
from tests.edge.backends.gpu.fakes.fake_module import FakeModule

DEVICEMAP = 2


class FakeGpu:
    """counts: calls by name. memory_bytes: how much there is. live(): what is taken and not given back."""

    def __init__(self, memory_bytes: int = 1 << 28) -> None:
        self.memory_bytes = memory_bytes
        self.counts: Counter[str] = Counter()
        self.absent = False
        self.device: dict[int, Any] = {}
        self.pinned: dict[int, Any] = {}
        # pinned memory that kernels may touch; memory of others that the driver was told of, with its bytes
        self.mapped: set[int] = set()
        self.registered: dict[int, int] = {}
        self.streams: weakref.WeakValueDictionary[int, FakeStream] = weakref.WeakValueDictionary()
        self.graphs: dict[int, list[Work]] = {}
        self.executables: dict[int, list[Work]] = {}
        self.modules: set[int] = set()
        self.kernels: set[str] = set()
        # by their bytes, with the driver's error
        self.refused_images: dict[bytes, int] = {}
        self.retained = 0
        self.contexts: dict[int, FakeContext] = {}
        # as set; and what they were when the context was made
        self.next_flags = self.context_flags = 0
        self.left_behind: list[str] = []
        self.gone: set[int] = set()
        self._graveyard: list[Any] = []
        self._lost = False
        self._lose_at: int | None = None
        self._handles = itertools.count(0x7F00_0000_1000, 0x10)
        self._threads = threading.local()
        # streams of several threads take turns: the emulated kernels run one at a time
        self._running = threading.Lock()
        self.pycuda = self._pycuda()
        self.library = FakeLibrary(self)

    # what tests do to it

    def lose(self, after_launches: int = 0) -> None:
        """Break the device at once, or while it runs the n-th launch from now."""
        self._lose_at = self.counts["cuGraphLaunch"] + after_launches
        self._lost = after_launches == 0

    def live(self) -> dict[str, int]:
        taken = {
            "device": len(self.device), "pinned": len(self.pinned), "streams": len(self.streams),
            "graphs": len(self.graphs), "executables": len(self.executables), "modules": len(self.modules),
            "contexts": self.retained, "current": len(self.stack), "registered": len(self.registered),
        }  # fmt: skip
        return {name: count for name, count in taken.items() if count}

    # what it is made of

    @property
    def stack(self) -> list[FakeContext]:
        if not hasattr(self._threads, "stack"):
            self._threads.stack = []
        stack: list[FakeContext] = self._threads.stack
        return stack

    def handle(self) -> int:
        return next(self._handles)

    def require(self, name: str, *, recordable: bool = False) -> None:
        """Count a call; raise when it may not be made now."""
        self.counts[name] += 1
        if not self.stack:
            raise LogicError(f"{name} failed: no currently active context?")
        if self._lost:
            raise LaunchError(f"{name} failed: unspecified launch failure")
        if not recordable:
            for stream in [reference() for reference in self.streams.valuerefs()]:
                if stream is not None and stream.recording is not None and stream.recorder == threading.get_ident():
                    stream.spoiled = True
                    raise LogicError(f"{name} failed: operation not permitted when stream is capturing")

    def view(self, address: int, size_bytes: int, *, pinned: bool = False) -> np.ndarray[Any, Any]:
        """Bytes at an address, which must lie inside one allocation; raises LaunchError as a device would."""
        for start, buffer in list((self.pinned if pinned else self.device).items()):
            if start <= address and address + size_bytes <= start + ctypes.sizeof(buffer):
                return np.ctypeslib.as_array((ctypes.c_ubyte * size_bytes).from_address(address))
        raise LaunchError(f"an illegal memory access: {size_bytes} bytes at {address:#x}")

    def host_view(self, address: int, size_bytes: int) -> np.ndarray[Any, Any]:
        """Bytes that a copy can run from by itself."""
        for start, length in list(self.registered.items()):
            if start <= address and address + size_bytes <= start + length:
                return np.ctypeslib.as_array((ctypes.c_ubyte * size_bytes).from_address(address))
        return self.view(address, size_bytes, pinned=True)

    def is_pinned(self, address: int) -> bool:
        return any(start <= address < start + ctypes.sizeof(buffer) for start, buffer in list(self.pinned.items()))

    def array(self, address: int, shape: tuple[int, ...], dtype: Any) -> np.ndarray[Any, Any]:
        """The same as an array."""
        return self.view(address, int(np.prod(shape)) * np.dtype(dtype).itemsize).view(dtype).reshape(shape)

    def enqueue(self, handle: int, work: Work) -> None:
        """For stand-ins of kernels and networks: what runs when the stream gets there."""
        self.require("launch", recordable=True)
        stream = self.streams[handle]
        (stream.pending if stream.recording is None else stream.recording).append(work)

    def run(self, stream: FakeStream) -> None:
        while stream.pending:
            work = stream.pending.pop(0)
            if self._lose_at is not None and self.counts["cuGraphLaunch"] >= self._lose_at:
                self._lost = True
            if self._lost:
                stream.pending.clear()
                raise LaunchError("cuStreamSynchronize failed: unspecified launch failure")
            try:
                with self._running:
                    work()
            except LaunchError:
                # an illegal access breaks the context for good
                self._lost = True
                stream.pending.clear()
                raise

    def destroy_context(self) -> None:
        """The last reference is gone, or it was reset: all that was in it is gone too."""
        taken_still = {name: count for name, count in self.live().items() if name not in ("contexts", "current")}
        self.left_behind += [f"{name}: {count}" for name, count in taken_still.items()]
        self.gone.update(self.streams)
        for taken in (
            self.device,
            self.pinned,
            self.registered,
            self.streams,
            self.graphs,
            self.executables,
            self.modules,
        ):
            taken.clear()

    def reset(self) -> None:
        self.counts["reset"] += 1
        self.destroy_context()
        self.left_behind.clear()
        self._lost, self._lose_at = False, None

    def _pycuda(self) -> Any:
        gpu = self

        def init() -> None:
            if gpu.absent:
                raise Error("cuInit failed: no CUDA-capable device is detected")

        def mem_alloc(size_bytes: int) -> FakeAllocation:
            gpu.require("mem_alloc")
            if size_bytes <= 0:
                raise LogicError("cuMemAlloc failed: invalid argument")
            if sum(map(ctypes.sizeof, list(gpu.device.values()))) + size_bytes > gpu.memory_bytes:
                raise OutOfMemory("cuMemAlloc failed: out of memory")
            return FakeAllocation(gpu, gpu.device, size_bytes)

        def pagelocked_empty(shape: Any, dtype: Any, order: str = "C", mem_flags: int = 0) -> np.ndarray[Any, Any]:
            gpu.require("pagelocked_empty")
            size_bytes = int(np.prod(shape)) * np.dtype(dtype).itemsize
            if size_bytes <= 0:
                raise LogicError("cuMemHostAlloc failed: invalid argument")
            return np.asarray(FakeHostAllocation(gpu, size_bytes, tuple(shape), np.dtype(dtype), mem_flags))

        def memcpy_htod_async(dest: int, src: np.ndarray[Any, Any], stream: FakeStream) -> None:
            address, size = src.ctypes.data, src.nbytes
            assert src.flags.c_contiguous
            if gpu.is_pinned(address):
                gpu.enqueue(
                    stream.handle, lambda: copy_bytes(gpu.view(int(dest), size), gpu.view(address, size, pinned=True))
                )
                return
            # the driver takes pageable memory aside before it returns
            assert stream.recording is None, "a recording copies from where it was told to, again and again: pin it"
            taken = np.frombuffer(src.tobytes(), np.uint8)
            gpu.enqueue(stream.handle, lambda: copy_bytes(gpu.view(int(dest), size), taken))

        def memcpy_dtoh_async(dest: np.ndarray[Any, Any], src: int, stream: FakeStream) -> None:
            address, size = dest.ctypes.data, dest.nbytes
            assert dest.flags.c_contiguous
            gpu.enqueue(
                stream.handle, lambda: copy_bytes(gpu.view(address, size, pinned=True), gpu.view(int(src), size))
            )

        def module_from_buffer(image: bytes) -> FakeModule:
            gpu.require("module_from_buffer")
            return FakeModule(gpu, image)

        def mem_get_info() -> tuple[int, int]:
            gpu.require("mem_get_info")
            return gpu.memory_bytes - sum(map(ctypes.sizeof, gpu.device.values())), gpu.memory_bytes

        return SimpleNamespace(
            Error=Error, MemoryError=OutOfMemory, LaunchError=LaunchError, LogicError=LogicError, init=init,
            Device=lambda ordinal: SimpleNamespace(retain_primary_context=lambda: FakeContext(gpu)),
            Stream=lambda flags=0: FakeStream(gpu), mem_alloc=mem_alloc, pagelocked_empty=pagelocked_empty,
            host_alloc_flags=SimpleNamespace(DEVICEMAP=DEVICEMAP),
            memcpy_htod_async=memcpy_htod_async, memcpy_dtoh_async=memcpy_dtoh_async,
            module_from_buffer=module_from_buffer, mem_get_info=mem_get_info, Event=lambda: FakeEvent(gpu),
        )  # fmt: skip


class FakeContext:
    """A reference to the primary context. Released from any thread where it is current; elsewhere pycuda leaks it."""

    def __init__(self, gpu: FakeGpu) -> None:
        if gpu.absent:
            raise Error("cuDevicePrimaryCtxRetain failed: no device")
        self._gpu, self._valid = gpu, True
        self.handle = gpu.handle()
        gpu.contexts[self.handle] = self
        if gpu.retained == 0:
            gpu.context_flags = gpu.next_flags
        gpu.retained += 1

    def push(self) -> None:
        assert self._valid
        self._gpu.stack.append(self)

    def pop(self) -> None:
        if not self._gpu.stack:
            raise LogicError("context::pop failed: cannot pop non-current context")
        self._gpu.stack.pop()

    def detach(self) -> None:
        assert self._valid
        assert self._gpu.stack and self._gpu.stack[-1] is self, "pycuda would leak a context that is not current"
        self._valid = False
        self._gpu.retained -= 1
        if self._gpu.retained == 0 and not self._gpu._lost:
            self._gpu.destroy_context()


class FakeAllocation:
    """Memory that is full of rubbish when it comes and when it goes."""

    def __init__(self, gpu: FakeGpu, where: dict[int, Any], size_bytes: int) -> None:
        self._gpu, self._where = gpu, where
        # aligned as a device aligns
        whole = (ctypes.c_ubyte * (size_bytes + 255))()
        buffer = (ctypes.c_ubyte * size_bytes).from_buffer(whole, -ctypes.addressof(whole) % 256)
        ctypes.memset(buffer, 0xCD, size_bytes)
        self.address = ctypes.addressof(buffer)
        where[self.address] = buffer

    def __int__(self) -> int:
        return self.address

    def free(self) -> None:
        if self._gpu.stack and self._gpu._lost:
            # as pycuda does: it prints, and what is there goes with the context
            print("PyCUDA WARNING: a clean-up operation failed (dead context maybe?)", file=sys.stderr)
            return
        self._gpu.require("free")
        if self.address not in self._where:
            raise LogicError("device_allocation::free failed: invalid resource handle")
        buffer = self._where.pop(self.address)
        ctypes.memset(buffer, 0xDD, ctypes.sizeof(buffer))
        # kept, so that no other allocation gets the address and hides a use after this
        self._gpu._graveyard.append(buffer)


class FakeHostAllocation(FakeAllocation):
    """Pinned memory; the `base` of the array that shows it."""

    def __init__(self, gpu: FakeGpu, size_bytes: int, shape: tuple[int, ...], dtype: np.dtype[Any], flags: int) -> None:
        super().__init__(gpu, gpu.pinned, size_bytes)
        self._mapped = flags == DEVICEMAP
        self.__array_interface__ = {"data": (self.address, False), "shape": shape, "typestr": dtype.str, "version": 3}

    def get_device_pointer(self) -> int:
        if not self._mapped:
            raise LogicError("cuMemHostGetDevicePointer failed: invalid argument")
        self._gpu.mapped.add(self.address)
        return self.address


class FakeStream:
    """Runs when it is waited for; gone with its last reference, where the context must be current."""

    def __init__(self, gpu: FakeGpu) -> None:
        gpu.require("Stream")
        self._gpu = gpu
        self.handle = gpu.handle()
        self.pending: list[Work] = []
        self.recording: list[Work] | None = None
        self.recorder = 0
        self.spoiled = False
        gpu.streams[self.handle] = self

    def __del__(self) -> None:
        if not self._gpu.stack and self.handle not in self._gpu.gone:
            self._gpu.left_behind.append("a stream that ended where no context was current")

    def synchronize(self) -> None:
        self._gpu.require("synchronize")
        self._gpu.run(self)


class FakeEvent:
    """Marks a moment of a stream."""

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu, self._stream, self.moment_s = gpu, None, 0.0

    def record(self, stream: FakeStream) -> None:
        def mark() -> None:
            self.moment_s = time.perf_counter()

        self._stream = stream
        self._gpu.enqueue(stream.handle, mark)

    def synchronize(self) -> None:
        self._stream.synchronize()

    def time_till(self, other: FakeEvent) -> float:
        return 1000 * (other.moment_s - self.moment_s)
