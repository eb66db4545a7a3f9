"""The kernels of one bundle on a device: what is enqueued for a batch of frames. pycuda is imported here only.

Addresses are plain numbers, whoever allocated them. A stream is what the module takes: a pycuda Stream for CudaModule,
which other libraries join by its handle. Nothing here waits, and only the constructor takes memory.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

from edge.core.datatypes import F32
from edge.kernels.cpu import NormalStatistics, at_map_side
from edge.kernels.cuda.parameters import Result
from edge.kernels.cuda.plan import FrameResult, FrameSource, Launch, ScorePlan, Statistics, read_result


class Module(Protocol):
    """Loaded kernels; tests/edge/kernels/emulation has one that runs them on the CPU."""

    def launch(self, launch: Launch, stream: Any) -> None: ...


class Memory(Protocol):
    """Where the kernels' own planes live; freed by whoever gives it, after the last launch."""

    def device_memory(self, size_bytes: int) -> int:
        """Address of memory on the device."""

    def upload(self, address: int, source: np.ndarray[Any, Any]) -> None:
        """Copy a contiguous array there, in order with what is launched."""


class CudaModule:
    """A fat binary (build.py) in the current context, whichever GPU that is.

    Raises pycuda's errors: LogicError for an image that has no code for this GPU. Dropped with its last reference,
    which must happen while the context is current.
    """

    def __init__(self, image: bytes) -> None:
        import pycuda.driver as cuda

        self._module: Any = cuda.module_from_buffer(image)
        self._functions: dict[str, Any] = {}

    def launch(self, launch: Launch, stream: Any) -> None:
        """stream: a pycuda Stream; None for the default one."""
        function = self._functions.get(launch.kernel)
        if function is None:
            # the one argument travels as bytes
            function = self._module.get_function(launch.kernel).prepare([f"{len(launch.parameters)}s"])
            self._functions[launch.kernel] = function
        function.prepared_async_call(launch.grid, launch.block, stream, launch.parameters)


class ScoreKernels:
    """One bundle's kernels; not for use by two threads at once.

    memory: gives the workspace and the planes of statistics, once. statistics: at the map's side, or scalars.
    map_shape, result_bytes: of one frame, for whoever takes memory for maps (float32) and results. workspace: its
    address; plan.workspace says what lies where.
    """

    map_type = np.float32

    def __init__(self, module: Module, plan: ScorePlan, memory: Memory, statistics: NormalStatistics) -> None:
        self.plan = plan
        self.map_shape = plan.map_shape
        self.result_bytes = plan.result_bytes
        self._module: Module | None = module
        self._memory = memory
        # what was uploaded stays: the copy may still be under way
        self._uploaded: dict[int, F32] = {}
        self.workspace = memory.device_memory(plan.workspace.bytes)
        plane_bytes = 4 * self.map_shape[0] * self.map_shape[1]
        mean, inv_std, self._weight = (memory.device_memory(plane_bytes) for _ in range(3))
        self._statistics = Statistics(mean, inv_std)
        for address, values in ((mean, statistics.mean), (inv_std, statistics.inv_std)):
            self._upload(address, values)
        self._weighted = self._statistics

    def set_weight(self, weight: F32 | None) -> None:
        """The polygon's mask at the field's size, for the launches that follow; None: all of the map counts.

        Not while a graph is recorded: it copies.
        """
        if weight is None:
            self._weighted = self._statistics
            return
        self._upload(self._weight, at_map_side(weight, self.map_shape))
        self._weighted = Statistics(self._statistics.mean, self._statistics.inv_std, self._weight)

    def preprocess(
        self,
        stream: Any,
        frames: int,
        pictures: int,
        count: int,
        height: int,
        width: int,
        channels: int = 3,
        borders: tuple[int, int] = (0, 0),
    ) -> None:
        """`count` frames uint8 (height, width, channels), one after the other → the network's input; one launch.

        borders: as in FrameSource.
        """
        row = width * channels
        source = FrameSource(frames, height, width, channels, row, height * row, borders)
        self.preprocess_from(stream, source, pictures, count)

    def preprocess_from(self, stream: Any, source: FrameSource, pictures: int, count: int) -> None:
        """The same for regions of larger frames, or tiles of one."""
        self._launch(self.plan.preprocess(source, pictures, self.workspace, count), stream)

    def score(self, stream: Any, outputs: Mapping[str, int], maps: int | None, results: int, count: int) -> None:
        """Outputs of the network, and the bytes kept by `preprocess` → smoothed maps, and what `read` reads.

        maps: None: not wanted. Two launches for a slice; wide smoothing takes four, and needs maps.
        """
        plan = self.plan
        for first in range(0, count, plan.slice_frames):
            frames = min(plan.slice_frames, count - first)
            self._launch(plan.residual(outputs, self._weighted, self.workspace, frames, first), stream)
            for launch in plan.reduce(maps, results, self.workspace, frames, first):
                self._launch(launch, stream)

    def results_in(self, memory: np.ndarray[Any, np.dtype[np.uint8]]) -> list[Result]:
        """Views of results, (n, result_bytes), for `read`; to be made once, since they stand in every frame's way."""
        return [Result.from_buffer(row) for row in memory]

    def read(self, result: Result) -> FrameResult:
        """What a result on the host says."""
        return read_result(result, minus_median=self.plan.spec.image_score.minus_median)

    def close(self) -> None:
        """Unload the kernels, with the context current; harmless the second time."""
        self._module = None

    def _upload(self, address: int, values: F32) -> None:
        plane = np.ascontiguousarray(np.broadcast_to(values, self.map_shape), np.float32)
        self._uploaded[address] = plane
        self._memory.upload(address, plane)

    def _launch(self, launch: Launch, stream: Any) -> None:
        assert self._module is not None, "closed"
        self._module.launch(launch, stream)
