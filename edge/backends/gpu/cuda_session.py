"""A GPU in use: its primary context, one stream, and all memory that was taken; who opens it, closes it.

pycuda keeps a stack of contexts for each thread. A session is opened and closed by one thread and used by another, so
each enters with `current()`. What pycuda frees, it frees only where its context is current.

A line may have several sessions: of the version that judges, of one that is tried, of a candidate. They share the
context: once an error has broken it, it is reset by the last of them that closes, since a reset takes away the memory
that the others still read and write.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import DTypeLike, NDArray

from edge.backends.gpu.cuda_driver import ContextEntry, CudaDriver, CudaGraph, DriverError, RegionUpload
from edge.core.errors import MissingDependency, install_extra
from edge.core.frame_memory import FrameBuffer
from edge.core.hardware import JETSON_PAGE

# CU_STREAM_NON_BLOCKING: work of other libraries on the default stream does not hold ours up
_NON_BLOCKING = 1
_LOOK = "check nvidia-smi and CUDA_VISIBLE_DEVICES; `edge-inspect doctor`"

log = logging.getLogger("edge.backends")

# open sessions of each GPU, and which GPUs have a context that must be reset before anything is opened again
_sharing = threading.Lock()
_sessions: Counter[int] = Counter()
_broken: set[int] = set()
# buffers of frames, by address, that the GPU's driver knows; kept, so that they stay where they are
_registered: defaultdict[int, dict[int, FrameBuffer]] = defaultdict(dict)


def open_pycuda() -> Any:
    """pycuda.driver, initialised; raises MissingDependency where it, the driver or a GPU is missing."""
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        raise MissingDependency(
            f"pycuda cannot be imported ({error})",
            fix=f"{install_extra('gpu')}, which builds it with this machine's CUDA: nvcc must be on PATH "
            f"(docs/models/gpu.md; on a Jetson {JETSON_PAGE})",
        ) from error
    try:
        cuda.init()
    except cuda.Error as error:
        raise MissingDependency(f"no GPU can be used: {error}", fix=_LOOK) from error
    return cuda


class CudaSession:
    """The primary context, so that TensorRT and all others in this process share it, and one stream in it.

    cuda: pycuda.driver as open_pycuda gives it. failures: what its calls, and those of graphs, raise. Opening raises
    MissingDependency.
    """

    def __init__(self, cuda: Any, driver: CudaDriver, ordinal: int = 0) -> None:
        self.failures: tuple[type[Exception], ...] = (cuda.Error, DriverError)
        self._cuda, self._driver, self._ordinal = cuda, driver, ordinal
        self._device: list[Any] = []
        self._pinned: list[NDArray[Any]] = []
        self._context: Any = None
        self._stream: Any = None
        try:
            with _sharing:
                if ordinal in _broken:
                    raise DriverError("its context is broken, and others have not let go of it yet")
                self._choose_how_to_wait()
                self._context = cuda.Device(ordinal).retain_primary_context()
                _sessions[ordinal] += 1
            with self.current():
                self._stream = cuda.Stream(_NON_BLOCKING)
                # `synchronize` for what was enqueued within `entry`
                self.wait = driver.waiting(self.stream)
        except self.failures as error:
            self.close()
            raise MissingDependency(f"GPU {ordinal} cannot be used: {error}", fix=_LOOK) from error

    def _choose_how_to_wait(self) -> None:
        if _sessions[self._ordinal]:
            return
        try:
            self._driver.wait_by_spinning(self._ordinal)
        except DriverError as error:
            # another library made the context, and chose: slower perhaps, and right
            log.info("the driver chooses how to wait for the GPU: %s", error)

    @contextmanager
    def current(self) -> Iterator[None]:
        """This thread's calls go to this GPU."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def entry(self) -> ContextEntry:
        """The same for calls through ctypes alone, and faster: graphs, uploads of regions, and `wait` for them."""
        return self._driver.entry(int(self._context.handle))

    @property
    def is_open(self) -> bool:
        return self._context is not None

    @property
    def stream(self) -> int:
        """The stream's handle, as the driver, TensorRT and others take it."""
        return int(self._stream.handle)

    @property
    def pycuda_stream(self) -> Any:
        """The stream as pycuda's own calls take it."""
        return self._stream

    # the calls below need the context to be current

    def image_refusal(self, image: bytes) -> str | None:
        """Why this GPU's driver cannot load compiled code; None where it can."""
        return self._driver.image_refusal(image)

    def device_memory(self, size_bytes: int) -> int:
        """Address of memory on the device, until close()."""
        self._device.append(self._cuda.mem_alloc(max(1, size_bytes)))
        return int(self._device[-1])

    def free(self, address: int) -> None:
        """Give one allocation back before close()."""
        (allocation,) = [each for each in self._device if int(each) == address]
        self._device.remove(allocation)
        allocation.free()

    def pinned(self, shape: tuple[int, ...], dtype: DTypeLike) -> NDArray[Any]:
        """An array that copies can run from and to by themselves, until close(); no view of it may be kept."""
        array: NDArray[Any] = self._cuda.pagelocked_empty(shape, dtype)
        self._pinned.append(array)
        return array

    def mapped(self, shape: tuple[int, ...], dtype: DTypeLike) -> tuple[NDArray[Any], int]:
        """A pinned array that kernels write to by themselves, and its address for them; valid after `synchronize`."""
        flags = self._cuda.host_alloc_flags.DEVICEMAP
        array: NDArray[Any] = self._cuda.pagelocked_empty(shape, dtype, mem_flags=flags)
        self._pinned.append(array)
        base: Any = array.base
        return array, int(base.get_device_pointer())

    def pin(self, buffer: FrameBuffer) -> bool:
        """Let copies run from a buffer of frames by themselves; once for all sessions. Whether they can."""
        if buffer.address in _registered[self._ordinal]:
            return True
        with _sharing:
            try:
                self._driver.register(buffer.address, buffer.bytes)
            except DriverError as error:
                log.info("frames are copied before they are uploaded: %s", error)
                return False
            _registered[self._ordinal][buffer.address] = buffer
        return True

    def free_pinned(self, array: NDArray[Any]) -> None:
        self._pinned = [each for each in self._pinned if each is not array]
        base: Any = array.base
        base.free()

    def upload(self, address: int, source: NDArray[Any]) -> None:
        """Enqueue a copy to the device; source: contiguous, and untouched until it is done."""
        self._cuda.memcpy_htod_async(address, source, self._stream)

    def fetch(self, target: NDArray[Any], address: int) -> None:
        """Enqueue a copy from the device; valid after `synchronize`."""
        self._cuda.memcpy_dtoh_async(target, address, self._stream)

    def region_upload(self, address: int, rows: int, width_bytes: int) -> RegionUpload:
        """Copies to this place on the device, from regions of pinned frames."""
        return self._driver.upload(address, rows, width_bytes, self.stream)

    def copy(self, target: int, source: int, size_bytes: int) -> None:
        """Enqueue a copy within the device."""
        self._driver.copy_on_device(target, source, size_bytes, self.stream)

    def synchronize(self) -> None:
        """Wait for all that was enqueued; raises what went wrong in it."""
        self._stream.synchronize()

    def capture(self, enqueue: Callable[[], None]) -> CudaGraph:
        return self._driver.capture(self.stream, enqueue)

    def close(self) -> None:
        """Free everything, from whichever thread; harmless the second time.

        After an error on the device the context is of no use to anyone: it is reset when the last session closes, so
        that it can be made anew.
        """
        context, self._context = self._context, None
        if context is None:
            return
        broken = True
        try:
            context.push()
            broken = self._is_broken()
            # what cannot be freed, pycuda prints; it raises nothing
            self._free_all()
            if not broken:
                self._unregister_if_last()
            # pycuda releases a primary context from any thread if it is current there
            context.detach()
            self._leave_released()
        except self.failures as error:
            log.warning("the GPU's context cannot be used any more: %s", error)
        finally:
            # what is left of a broken one goes with it
            self._pinned, self._device, self._stream = [], [], None
            self._let_go(broken)

    def _free_all(self) -> None:
        for array in self._pinned:
            base: Any = array.base
            base.free()
        for allocation in self._device:
            allocation.free()
        # pycuda's streams end with their last reference, where the context is current
        self._stream = None

    def _unregister_if_last(self) -> None:
        with _sharing:
            if _sessions[self._ordinal] > 1:
                return
            for address in _registered.pop(self._ordinal, {}):
                try:
                    self._driver.unregister(address)
                except DriverError as error:
                    log.info("a buffer of frames stays pinned: %s", error)

    def _leave_released(self) -> None:
        """pycuda takes a released context off its own stack, and not off the driver's."""
        try:
            self._driver.pop_current()
        except DriverError as error:
            # with the last reference the context may be gone; that is no reason to keep the others from a reset
            log.info("the GPU's context was gone before it was left: %s", error)

    def _let_go(self, broken: bool) -> None:
        """Reset the context if this or another session found it broken, and no session holds it any more."""
        ordinal = self._ordinal
        with _sharing:
            _sessions[ordinal] -= 1
            if broken:
                _broken.add(ordinal)
            if ordinal not in _broken or _sessions[ordinal]:
                return
            _broken.remove(ordinal)
            _registered.pop(ordinal, None)
            log.warning("the GPU's context was broken by an error and is reset")
            self._driver.reset_primary_context(ordinal)

    def _is_broken(self) -> bool:
        """Whether the device refuses all further work; after some errors it does, until its context is gone."""
        if self._stream is None:
            return False
        try:
            self._stream.synchronize()
        except self.failures:
            return True
        return False
