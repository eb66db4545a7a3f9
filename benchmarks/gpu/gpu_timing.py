"""Device time by events, and what a session needs for measuring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edge.backends.gpu.cuda_device import CudaDevice
from edge.backends.gpu.cuda_driver import CudaDriver
from edge.backends.gpu.cuda_session import CudaSession, open_pycuda

WARM_UP = 5


class DeviceClock:
    """Times what a stream does; the session's context must be current."""

    def __init__(self, session: CudaSession) -> None:
        self._session = session
        self._cuda: Any = open_pycuda()
        self._first, self._last = self._cuda.Event(), self._cuda.Event()

    def milliseconds(self, enqueue: Callable[[], None], repeats: int) -> float:
        """Of one `enqueue`, the median of `repeats`, after some to warm up."""
        for _ in range(WARM_UP):
            enqueue()
        times = []
        for _ in range(repeats):
            self._first.record(self._session.pycuda_stream)
            enqueue()
            self._last.record(self._session.pycuda_stream)
            self._last.synchronize()
            times.append(self._first.time_till(self._last))
        return float(np.median(times))

    def milliseconds_in_graph(self, enqueue: Callable[[], None], times: int, repeats: int) -> float:
        """Of one `enqueue` inside a CUDA graph of `times` of them: without the launch of the graph."""
        enqueue()
        self._session.synchronize()

        def all_of_them() -> None:
            for _ in range(times):
                enqueue()

        graph = self._session.capture(all_of_them)
        try:
            return self.milliseconds(graph.launch, repeats) / times
        finally:
            self._session.synchronize()
            graph.close()

    def close(self) -> None:
        """Let the events go, while the context is current."""
        self._first = self._last = None


def shared_memory_reason(device: CudaDevice) -> str | None:
    """Why the free memory of this device says nothing, and must not be taken; None: it has memory of its own."""
    if not device.integrated:
        return None
    return f"{device.name} has no memory of its own: all programs of the board share it"


def free_bytes() -> int:
    """Memory of the device that nobody has; a context must be current. See shared_memory_reason."""
    return int(open_pycuda().mem_get_info()[0])


def open_session_here() -> CudaSession:
    """Raises MissingDependency where there is no GPU to measure."""
    return CudaSession(open_pycuda(), CudaDriver())
