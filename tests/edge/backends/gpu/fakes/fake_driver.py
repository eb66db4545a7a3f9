"""libcuda of the fake GPU, as ctypes calls it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from tests.edge.backends.gpu.fakes.fake_cuda import FakeGpu

UNSUPPORTED, INVALIDATED, INVALID, LAUNCH_FAILED, NO_BINARY, ACTIVE, REGISTERED = (900, 901, 1, 719, 209, 708, 712)
_NAMES = {
    UNSUPPORTED: b"CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED",
    INVALIDATED: b"CUDA_ERROR_STREAM_CAPTURE_INVALIDATED",
    INVALID: b"CUDA_ERROR_INVALID_VALUE",
    LAUNCH_FAILED: b"CUDA_ERROR_LAUNCH_FAILED",
    NO_BINARY: b"CUDA_ERROR_NO_BINARY_FOR_GPU",
}
Work = Callable[[], None]


class Error(Exception):
    """pycuda.driver.Error."""


class OutOfMemory(Error):
    """pycuda.driver.MemoryError."""


class LaunchError(Error):
    """pycuda.driver.LaunchError."""


class LogicError(Error):
    """pycuda.driver.LogicError."""


def copy_bytes(target: np.ndarray[Any, Any], source: np.ndarray[Any, Any]) -> None:
    target[:] = source


class FakeLibrary:
    """libcuda, called through ctypes: handles come as c_void_p, results go where byref points."""

    def __init__(self, gpu: FakeGpu) -> None:
        self._gpu = gpu

    def _answer(self, name: str, work: Callable[[], int]) -> int:
        try:
            self._gpu.require(name, recordable=True)
            return work()
        except LaunchError:
            return LAUNCH_FAILED
        except (LogicError, KeyError):
            return INVALID

    def cuStreamBeginCapture_v2(self, stream: Any, mode: Any) -> int:
        def begin() -> int:
            found = self._gpu.streams[stream.value]
            if found.recording is not None or mode.value != 1:
                return INVALID
            found.recording, found.recorder, found.spoiled = [], threading.get_ident(), False
            return 0

        return self._answer("cuStreamBeginCapture_v2", begin)

    def cuStreamEndCapture(self, stream: Any, graph: Any) -> int:
        def end() -> int:
            found = self._gpu.streams[stream.value]
            recorded, found.recording = found.recording, None
            if recorded is None or found.recorder != threading.get_ident():
                return INVALID
            if found.spoiled:
                graph._obj.value = None
                return INVALIDATED
            graph._obj.value = self._gpu.handle()
            self._gpu.graphs[graph._obj.value] = recorded
            return 0

        return self._answer("cuStreamEndCapture", end)

    def cuGraphGetNodes(self, graph: Any, nodes: Any, count: Any) -> int:
        assert nodes is None
        count._obj.value = len(self._gpu.graphs[graph.value])
        return 0

    def cuGraphInstantiateWithFlags(self, executable: Any, graph: Any, flags: Any) -> int:
        def instantiate() -> int:
            executable._obj.value = self._gpu.handle()
            self._gpu.executables[executable._obj.value] = list(self._gpu.graphs[graph.value])
            return 0

        return self._answer("cuGraphInstantiateWithFlags", instantiate)

    def cuGraphLaunch(self, executable: Any, stream: Any) -> int:
        def launch() -> int:
            found = self._gpu.streams[stream.value]
            works = self._gpu.executables[executable.value]
            (found.pending if found.recording is None else found.recording).extend(works)
            return 0

        return self._answer("cuGraphLaunch", launch)

    def cuGraphExecDestroy(self, executable: Any) -> int:
        return self._destroy("cuGraphExecDestroy", self._gpu.executables, executable)

    def cuGraphDestroy(self, graph: Any) -> int:
        return self._destroy("cuGraphDestroy", self._gpu.graphs, graph)

    def _destroy(self, name: str, where: dict[int, list[Work]], handle: Any) -> int:
        def destroy() -> int:
            del where[handle.value]
            return 0

        return self._answer(name, destroy)

    def cuGetErrorName(self, status: Any, name: Any) -> int:
        name._obj.value = _NAMES.get(status.value)
        return 0 if name._obj.value else INVALID

    def cuMemcpyDtoDAsync_v2(self, target: Any, source: Any, size: Any, stream: Any) -> int:
        given, taken, size_bytes = target.value, source.value, size.value
        view = self._gpu.view
        self._gpu.enqueue(stream.value, lambda: copy_bytes(view(given, size_bytes), view(taken, size_bytes)))
        return 0

    def cuMemsetD8Async(self, target: Any, value: Any, size: Any, stream: Any) -> int:
        given, size_bytes = target.value, size.value
        self._gpu.enqueue(stream.value, lambda: self._gpu.view(given, size_bytes).fill(value.value))
        return 0

    def cuModuleLoadData(self, module: Any, image: bytes) -> int:
        def load() -> int:
            if image in self._gpu.refused_images:
                return self._gpu.refused_images[image]
            module._obj.value = self._gpu.handle()
            self._gpu.modules.add(module._obj.value)
            return 0

        return self._answer("cuModuleLoadData", load)

    def cuModuleUnload(self, module: Any) -> int:
        self._gpu.modules.remove(module.value)
        return 0

    def cuMemHostRegister_v2(self, address: Any, size: Any, flags: Any) -> int:
        def register() -> int:
            if address.value in self._gpu.registered:
                return REGISTERED
            self._gpu.registered[address.value] = size.value
            return 0

        return self._answer("cuMemHostRegister_v2", register)

    def cuMemHostUnregister(self, address: Any) -> int:
        def unregister() -> int:
            del self._gpu.registered[address.value]
            return 0

        return self._answer("cuMemHostUnregister", unregister)

    def cuMemcpy2DAsync_v2(self, given: Any, stream: Any) -> int:
        def enqueue() -> int:
            copy = given._obj
            assert (copy.src_memory_type, copy.dst_memory_type) == (1, 2)
            source, pitch, width, rows = copy.src_host, copy.src_pitch, copy.width_bytes, copy.height
            target, target_pitch = copy.dst_device, copy.dst_pitch

            def run() -> None:
                for row in range(rows):
                    taken = self._gpu.host_view(source + row * pitch, width)
                    copy_bytes(self._gpu.view(target + row * target_pitch, width), taken)

            found = self._gpu.streams[stream.value]
            (found.pending if found.recording is None else found.recording).append(run)
            return 0

        return self._answer("cuMemcpy2DAsync_v2", enqueue)

    def cuCtxPushCurrent_v2(self, context: Any) -> int:
        self._gpu.contexts[context.value].push()
        return 0

    def cuStreamSynchronize(self, stream: Any) -> int:
        def wait() -> int:
            self._gpu.run(self._gpu.streams[stream.value])
            return 0

        return self._answer("cuStreamSynchronize", wait)

    def cuDeviceGet(self, device: Any, ordinal: Any) -> int:
        device._obj.value = ordinal.value
        return 0

    def cuCtxPopCurrent_v2(self, popped: Any) -> int:
        if not self._gpu.stack:
            return INVALID
        self._gpu.stack.pop()
        return 0

    def cuDevicePrimaryCtxSetFlags_v2(self, device: Any, flags: Any) -> int:
        if self._gpu.retained:
            return ACTIVE
        self._gpu.next_flags = flags.value
        return 0

    def cuDevicePrimaryCtxReset_v2(self, device: Any) -> int:
        self._gpu.reset()
        return 0
