"""What pycuda lacks of the CUDA driver API, by ctypes: graphs, and two calls about the primary context.

Handles are passed as c_void_p throughout: ctypes would cut a plain int down to 32 bits.
"""

from __future__ import annotations

from collections.abc import Callable
from ctypes import byref, c_char_p, c_int, c_size_t, c_ubyte, c_uint, c_ulonglong, c_void_p
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
            return self._executable(recorded)
        finally:
            # the executable graph keeps nothing of the recording
            self._forget(recorded)

    def _executable(self, recorded: c_void_p) -> CudaGraph:
        nodes = c_size_t()
        self.call("cuGraphGetNodes", recorded, None, byref(nodes))
        executable = c_void_p()
        self.call("cuGraphInstantiateWithFlags", byref(executable), recorded, c_ulonglong(_NO_FLAGS))
        return CudaGraph(self, executable, nodes.value)

    def _forget(self, recorded: c_void_p) -> None:
        if recorded:
            self._cuda.cuGraphDestroy(recorded)

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

    def call(self, name: str, *arguments: Any) -> None:
        """Raises DriverError unless the driver answers with 0."""
        status = getattr(self._cuda, name)(*arguments)
        if status != 0:
            raise DriverError(f"{name} failed: {self._error_name(status)}")

    def _error_name(self, status: int) -> str:
        name = c_char_p()
        known = self._cuda.cuGetErrorName(c_int(status), byref(name)) == 0 and name.value
        return f"{name.value.decode()} ({status})" if known and name.value else f"error {status}"


class CudaGraph:
    """A recording that can be replayed with one launch. nodes: copies and kernels in it."""

    def __init__(self, driver: CudaDriver, executable: c_void_p, nodes: int) -> None:
        self._driver = driver
        self._executable = executable
        self.nodes = nodes

    def launch(self, stream: int) -> None:
        self._driver.call("cuGraphLaunch", self._executable, c_void_p(stream))

    def close(self) -> None:
        """Free it; not while it runs. Its context must be current. Harmless the second time."""
        executable, self._executable = self._executable, c_void_p()
        if executable:
            self._driver.call("cuGraphExecDestroy", executable)
