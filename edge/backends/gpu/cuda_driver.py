"""What pycuda lacks of the CUDA driver API, by ctypes: graphs, and two calls about the primary context.

Handles are passed as c_void_p throughout: ctypes would cut a plain int down to 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import Structure, byref, c_char_p, c_int, c_size_t, c_ubyte, c_uint, c_ulonglong, c_void_p
from typing import Any

from edge.backends.gpu.cuda_device import open_driver

# why a driver cannot run compiled code, as against what is wrong with itself: an image, PTX or toolkit that it does not
# know, no code for the GPU, no compiler for PTX, or one that is switched off
_IMAGE_REFUSALS = frozenset({200, 209, 218, 221, 222, 223})
# of this thread alone: other threads and libraries may allocate while a stream is recorded here
_CAPTURE_THREAD_LOCAL = 1
_NO_FLAGS = 0
# CU_CTX_SCHED_SPIN
_SPIN = 1
# CU_MEMHOSTREGISTER_PORTABLE: for all contexts of the process
_PORTABLE = 1
_ALREADY_REGISTERED = 712


# CU_MEMORYTYPE_HOST, _DEVICE
_HOST, _DEVICE = 1, 2


class _Copy2D(Structure):
    """CUDA_MEMCPY2D of cuda.h."""

    _fields_ = (
        ("src_x_bytes", c_size_t),
        ("src_y", c_size_t),
        ("src_memory_type", c_uint),
        ("src_host", c_void_p),
        ("src_device", c_ulonglong),
        ("src_array", c_void_p),
        ("src_pitch", c_size_t),
        ("dst_x_bytes", c_size_t),
        ("dst_y", c_size_t),
        ("dst_memory_type", c_uint),
        ("dst_host", c_void_p),
        ("dst_device", c_ulonglong),
        ("dst_array", c_void_p),
        ("dst_pitch", c_size_t),
        ("width_bytes", c_size_t),
        ("height", c_size_t),
    )


class DriverError(Exception):
    """A call of the driver that failed; says which, and with what."""


class CudaDriver:
    """The calls, checked. library: the driver, opened here when None."""

    def __init__(self, library: Any | None = None) -> None:
        self._cuda: Any = open_driver() if library is None else library

    def capture(self, stream: int, enqueue: Callable[[], None]) -> CudaGraph:
        """Record what `enqueue` puts on the stream, instead of running it; raises what it raises, or DriverError.

        What it needs must be allocated and loaded before: a recording thread can do neither.
        """
        self.call("cuStreamBeginCapture_v2", c_void_p(stream), c_int(_CAPTURE_THREAD_LOCAL))
        recorded = c_void_p()
        try:
            enqueue()
        except BaseException:
            # ended nevertheless, or the stream would stay in recording; that this fails too adds nothing
            self._cuda.cuStreamEndCapture(c_void_p(stream), byref(recorded))
            self._forget(recorded)
            raise
        self.call("cuStreamEndCapture", c_void_p(stream), byref(recorded))
        try:
            return self._executable(recorded, c_void_p(stream))
        finally:
            # the executable graph keeps nothing of the recording
            self._forget(recorded)

    def _executable(self, recorded: c_void_p, stream: c_void_p) -> CudaGraph:
        nodes = c_size_t()
        self.call("cuGraphGetNodes", recorded, None, byref(nodes))
        executable = c_void_p()
        self.call("cuGraphInstantiateWithFlags", byref(executable), recorded, c_ulonglong(_NO_FLAGS))
        return CudaGraph(self, executable, stream, nodes.value)

    def _forget(self, recorded: c_void_p) -> None:
        if recorded:
            self._cuda.cuGraphDestroy(recorded)

    def register(self, address: int, size_bytes: int) -> None:
        """Pin memory that others took, so that copies can run from it by themselves; harmless the second time."""
        status = self._cuda.cuMemHostRegister_v2(c_void_p(address), c_size_t(size_bytes), c_uint(_PORTABLE))
        if status not in (0, _ALREADY_REGISTERED):
            raise DriverError(f"cuMemHostRegister_v2 failed: {self._error_name(status)}")

    def unregister(self, address: int) -> None:
        self.call("cuMemHostUnregister", c_void_p(address))

    def upload(self, target: int, rows: int, width_bytes: int, stream: int) -> RegionUpload:
        """Copies of rows to the device, where they lie without gaps."""
        return RegionUpload(self, target, rows, width_bytes, c_void_p(stream))

    def entry(self, context: int) -> ContextEntry:
        """Make a context current for calls of this class alone; pycuda's own need its own way."""
        return ContextEntry(self, c_void_p(context))

    def waiting(self, stream: int) -> Callable[[], None]:
        """Waits until all that was enqueued on a stream is done, and raises what went wrong in it."""
        return self.bound("cuStreamSynchronize", c_void_p(stream))

    def copy_on_device(self, target: int, source: int, size_bytes: int, stream: int) -> None:
        """Enqueue a copy within the device."""
        self.call("cuMemcpyDtoDAsync_v2", c_void_p(target), c_void_p(source), c_size_t(size_bytes), c_void_p(stream))

    def fill_zero(self, target: int, size_bytes: int, stream: int) -> None:
        """Enqueue zeros into memory of the device."""
        self.call("cuMemsetD8Async", c_void_p(target), c_ubyte(0), c_size_t(size_bytes), c_void_p(stream))

    def image_refusal(self, image: bytes) -> str | None:
        """Why compiled code cannot be loaded into the current context; None where it can. Raises DriverError."""
        module = c_void_p()
        status = self._cuda.cuModuleLoadData(byref(module), image)
        if status in _IMAGE_REFUSALS:
            return self._error_name(status)
        if status != 0:
            raise DriverError(f"cuModuleLoadData failed: {self._error_name(status)}")
        self.call("cuModuleUnload", module)
        return None

    def pop_current(self) -> None:
        """Take the context on top of this thread's stack off it."""
        popped = c_void_p()
        self.call("cuCtxPopCurrent_v2", byref(popped))

    def wait_by_spinning(self, ordinal: int) -> None:
        """Let this process wait for a GPU without giving up the core; before its primary context is made.

        Left to itself the driver may put the thread to sleep, on boards above all, and waking costs what a frame takes.
        """
        device = c_int()
        self.call("cuDeviceGet", byref(device), c_int(ordinal))
        self.call("cuDevicePrimaryCtxSetFlags_v2", device, c_uint(_SPIN))

    def reset_primary_context(self, ordinal: int) -> None:
        """Destroy a primary context, also while a session holds it: the one way out of a broken one."""
        device = c_int()
        self.call("cuDeviceGet", byref(device), c_int(ordinal))
        self.call("cuDevicePrimaryCtxReset_v2", device)

    def bound(self, name: str, *arguments: Any) -> Callable[[], None]:
        """`call` with the same arguments each time, made ready: these calls stand in every frame's way."""
        function = getattr(self._cuda, name)

        def call() -> None:
            status = function(*arguments)
            if status != 0:
                raise DriverError(f"{name} failed: {self._error_name(status)}")

        return call

    def call(self, name: str, *arguments: Any) -> None:
        """Raises DriverError unless the driver answers with 0."""
        status = getattr(self._cuda, name)(*arguments)
        if status != 0:
            raise DriverError(f"{name} failed: {self._error_name(status)}")

    def _error_name(self, status: int) -> str:
        name = c_char_p()
        known = self._cuda.cuGetErrorName(c_int(status), byref(name)) == 0 and name.value
        return f"{name.value.decode()} ({status})" if known and name.value else f"error {status}"


class RegionUpload:
    """Enqueues copies of a region from pinned memory; all but the source is given once, for every frame."""

    def __init__(self, driver: CudaDriver, target: int, rows: int, width_bytes: int, stream: c_void_p) -> None:
        self._copy = _Copy2D(
            src_memory_type=_HOST, dst_memory_type=_DEVICE, dst_device=target, dst_pitch=width_bytes,
            width_bytes=width_bytes, height=rows,
        )  # fmt: skip
        self._enqueue = driver.bound("cuMemcpy2DAsync_v2", byref(self._copy), stream)

    def enqueue(self, source: int, pitch_bytes: int) -> None:
        """source: address of the first pixel, untouched until the copy is done. pitch_bytes: from row to row."""
        self._copy.src_host, self._copy.src_pitch = source, pitch_bytes
        self._enqueue()


class ContextEntry:
    """A context manager that stands in every frame's way, and therefore makes nothing anew."""

    def __init__(self, driver: CudaDriver, context: c_void_p) -> None:
        self._push = driver.bound("cuCtxPushCurrent_v2", context)
        self._pop = driver.bound("cuCtxPopCurrent_v2", byref(c_void_p()))

    def __enter__(self) -> None:
        self._push()

    def __exit__(self, *error: object) -> None:
        self._pop()


class CudaGraph:
    """A recording that can be replayed with one launch, on the stream it is of. nodes: copies and kernels in it."""

    def __init__(self, driver: CudaDriver, executable: c_void_p, stream: c_void_p, nodes: int) -> None:
        self._driver = driver
        self._executable = executable
        self._stream = stream
        self.nodes = nodes

    def launch(self) -> None:
        self._driver.call("cuGraphLaunch", self._executable, self._stream)

    def close(self) -> None:
        """Free it; not while it runs. Its context must be current. Harmless the second time."""
        executable, self._executable = self._executable, c_void_p()
        if executable:
            self._driver.call("cuGraphExecDestroy", executable)
