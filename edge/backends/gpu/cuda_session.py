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
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from numpy.typing import DTypeLike, NDArray

from edge.backends.gpu.cuda_driver import CudaDriver, CudaGraph, DriverError
from edge.core.errors import MissingDependency
from edge.core.hardware import JETSON_PAGE

# CU_STREAM_NON_BLOCKING: work of other libraries on the default stream does not hold ours up
_NON_BLOCKING = 1
_INSTALL = (
    "pip install 'edge-inspect[gpu]', which builds it with this machine's CUDA: nvcc must be on PATH "
    f"(docs/models/gpu.md; on a Jetson {JETSON_PAGE})"
)
_LOOK = "check nvidia-smi and CUDA_VISIBLE_DEVICES; `edge-inspect doctor`"

log = logging.getLogger("edge.backends")

# open sessions of each GPU, and which GPUs have a context that must be reset before anything is opened again
_sharing = threading.Lock()
_sessions: Counter[int] = Counter()
_broken: set[int] = set()


def open_pycuda() -> Any:
    """pycuda.driver, initialised; raises MissingDependency where it, the driver or a GPU is missing."""
    try:
        import pycuda.driver as cuda
    except ImportError as error:
        raise MissingDependency(f"pycuda cannot be imported ({error})", fix=_INSTALL) from error
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
                self._context = cuda.Device(ordinal).retain_primary_context()
                _sessions[ordinal] += 1
            with self.current():
                self._stream = cuda.Stream(_NON_BLOCKING)
        except self.failures as error:
            self.close()
            raise MissingDependency(f"GPU {ordinal} cannot be used: {error}", fix=_LOOK) from error

    @contextmanager
    def current(self) -> Iterator[None]:
        """This thread's calls go to this GPU."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

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
        try:
            context.push()
        except self.failures as error:
            # nothing can be freed in it, so all of it goes
            log.warning("the GPU's context cannot be used any more: %s", error)
            self._pinned, self._device, self._stream = [], [], None
            self._let_go(broken=True)
            return
        broken = self._is_broken()
        try:
            self._free_all()
        except self.failures as error:
            broken = True
            log.warning("the GPU's memory could not be freed one by one: %s", error)
        # pycuda's streams end with their last reference
        self._stream = None
        # pycuda releases a primary context from any thread if it is current there, and takes it off its own stack only
        context.detach()
        self._driver.pop_current()
        self._let_go(broken)

    def _free_all(self) -> None:
        pinned, self._pinned = self._pinned, []
        device, self._device = self._device, []
        for array in pinned:
            base: Any = array.base
            base.free()
        for allocation in device:
            allocation.free()

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
