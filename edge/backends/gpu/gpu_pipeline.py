"""Everything between a frame and its score on the GPU: buffers taken once, one CUDA graph, one launch per frame.

upload, then preprocess → network → residual and reduction, recorded when the size of the frames changes. Score and area
are written into the host's memory by the last kernel; a map is fetched when its score asks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edge.backends.gpu.cuda_driver import CudaGraph, DriverError
from edge.backends.gpu.cuda_session import CudaSession
from edge.backends.gpu.device_network import PICTURE, DeviceNetwork, FailuresReported, with_context_closed
from edge.core.datatypes import F32, U8, AnomalyMap
from edge.core.errors import ModelError
from edge.core.frame_memory import FrameBuffer, buffer_of
from edge.kernels.cuda.launch import ScoreKernels
from edge.kernels.cuda.plan import FrameResult
from edge.preprocessing.preprocess import Preprocess

# bytes; what TensorRT asks of the address of every tensor
_ENGINE_ALIGNMENT = 256
_NO_RESULT = 0xFF
# bytes from column to column, from channel to channel
_PIXELS = (3, 1)
_NO_MAP: F32 = np.empty((0, 0), np.float32)

log = logging.getLogger("edge.backends")


class GpuPipeline:
    """One bundle on one GPU, for up to `most` frames of one size at once. It owns session, network and kernels.

    maps_above: scores above it bring their map along; below, its values stay on the device.
    """

    def __init__(
        self,
        session: CudaSession,
        network: DeviceNetwork,
        kernels: ScoreKernels,
        preprocess: Preprocess,
        maps_above: float,
        most: int = 1,
        *,
        graph: bool = True,
    ) -> None:
        """Takes all memory and runs once; graph: False launches each frame step by step.

        Raises ModelError or EngineError, and then everything is freed.
        """
        self.engine_sha256 = network.engine_sha256
        self.most = most
        self.graph_nodes: int | None = None
        self._session, self._network, self._kernels = session, network, kernels
        self._preprocess, self._maps_above = preprocess, maps_above
        self._wants_graph = graph
        self._graph: CudaGraph | None = None
        # (frames, their height and width) that is recorded
        self._recorded: tuple[int, ...] | None = None
        self._ran_before = False
        self._frames: NDArray[np.uint8] | None = None
        self._frame_address = 0
        self._pinned: set[int] = set()
        self._held: Sequence[U8] = ()
        try:
            self._take_memory()
            self._prepare((1, *self._smallest_frame()))
            self.run()
        except BaseException as error:
            self.close(error)
            raise

    def _smallest_frame(self) -> tuple[int, int]:
        """Height and width of a frame that the region fits, and not much larger than the field without one."""
        x, y, width, height = self._preprocess.rectangle or (0, 0, self._preprocess.width, self._preprocess.height)
        return y + height, x + width

    def _take_memory(self) -> None:
        session, most, kernels = self._session, self.most, self._kernels
        # every run of the engine takes as many pictures: a recording must not change its shapes on the way
        each = min(self._network.largest_batch, most)
        room = -(-most // each) * each
        with FailuresReported(session), session.current():
            self._addresses = {
                name: session.device_memory(room * tensor.bytes) for name, tensor in self._network.tensors.items()
            }
            self._aligned = {
                name: session.device_memory(each * tensor.bytes)
                for name, tensor in self._network.tensors.items()
                if most > each and each * tensor.bytes % _ENGINE_ALIGNMENT
            }
            self._outputs = {name: address for name, address in self._addresses.items() if name != PICTURE}
            self._maps = session.pinned((most, *kernels.map_shape), kernels.map_type)
            self._map_address = session.device_memory(self._maps.nbytes)
            self._results, self._result_address = session.mapped((most, kernels.result_bytes), np.uint8)
            self._found = kernels.results_in(self._results)
            self._entry = session.entry()

    # per frame: stage, run, maps

    def stage(self, images: Sequence[U8]) -> None:
        """See to it that the inspected part of 1 to `most` frames (H, W, 3) of one size can be uploaded.

        A frame that lies in memory which its source uses again is uploaded from there; of others a copy is made.
        """
        shape = (len(images), *images[0].shape[:2])
        if shape != self._recorded:
            self._prepare(shape)
        sources = []
        for place, image in enumerate(images):
            buffer = buffer_of(image)
            # other layouts than a camera's are rare
            direct = buffer is not None and image.strides[1:] == _PIXELS
            if direct and buffer is not None and (buffer.address in self._pinned or self._pin(buffer)):
                sources.append((image.__array_interface__["data"][0] + self._offset(image), image.strides[0]))
            else:
                np.copyto(self._staged[place], image[self._rows, self._columns])
                sources.append(self._staged_sources[place])
        # the frames stay until they are uploaded
        self._sources, self._held = sources, images

    def run(self) -> list[FrameResult]:
        """Score what is staged: an upload for each frame, one launch, one wait."""
        try:
            return self._ran(self._sources)
        finally:
            self._held = ()

    def run_again(self) -> None:
        """Score what was uploaded last, for nobody."""
        self._ran(())

    def _ran(self, sources: Sequence[tuple[int, int]]) -> list[FrameResult]:
        session, graph = self._session, self._graph
        # what no kernel writes over reads as not finite, and not as the result of the frame before
        self._results.fill(_NO_RESULT)
        with FailuresReported(session):
            if graph is None:
                with session.current():
                    self._upload(sources)
                    self._enqueue()
                    session.synchronize()
            else:
                with self._entry:
                    self._upload(sources)
                    graph.launch()
                    session.wait()
            return [self._kernels.read(found) for found in self._found[: self._count]]

    def _upload(self, sources: Sequence[tuple[int, int]]) -> None:
        for upload, (address, pitch_bytes) in zip(self._uploads, sources, strict=False):
            upload.enqueue(address, pitch_bytes)

    def _pin(self, buffer: FrameBuffer) -> bool:
        """Whether copies can run from a buffer by themselves; asked once for each."""
        session = self._session
        with FailuresReported(session), session.current():
            if session.pin(buffer):
                self._pinned.add(buffer.address)
                return True
        return False

    def _offset(self, image: U8) -> int:
        """Bytes from a frame's first pixel to the region's."""
        return self._top * image.strides[0] + self._left * _PIXELS[0]

    def maps(self, scores: Sequence[FrameResult]) -> list[AnomalyMap]:
        """The results of the last run as anomaly maps; those above `maps_above`, or not a number, with their values."""
        session, limit = self._session, self._maps_above
        wanted = [place for place, each in enumerate(scores) if not each.score <= limit]
        if wanted:
            with FailuresReported(session), session.current():
                for place in wanted:
                    session.fetch(self._maps[place], self._map_address + place * self._maps[0].nbytes)
                session.synchronize()
        return [
            AnomalyMap(self._maps[place].astype(np.float32) if place in wanted else _NO_MAP, each.score, each.area_px)
            for place, each in enumerate(scores)
        ]

    # when the size changes

    def _prepare(self, shape: tuple[int, ...]) -> None:
        """shape: number of frames, their height and width."""
        count, frame_height, frame_width = shape
        view = self._preprocess.field_of_view(frame_height, frame_width)
        assert view is not None, "the inspector refuses frames that the region does not fit"
        height, width, self._top, self._left = view.height, view.width, view.y, view.x
        self._rows, self._columns = slice(view.y, view.y + height), slice(view.x, view.x + width)
        session = self._session
        with FailuresReported(session), session.current():
            self._forget_graph()
            self._make_room(count * height * width * 3)
            self._count, self._height, self._width = count, height, width
            self._borders = self._preprocess.borders(height, width)
            assert self._frames is not None
            self._staged = self._frames[: count * height * width * 3].reshape(count, height, width, 3)
            row_bytes = width * _PIXELS[0]
            self._staged_sources = [(int(each.ctypes.data), row_bytes) for each in self._staged]
            self._uploads = [
                session.region_upload(self._frame_address + place * height * row_bytes, height, row_bytes)
                for place in range(count)
            ]
            self._sources = self._staged_sources
            self._kernels.set_weight(self._preprocess.weight(frame_height, frame_width))
            # what runs for the first time takes memory and loads code, which no recording can hold
            self._upload(self._sources)
            self._enqueue()
            session.synchronize()
            if not self._ran_before:
                self._network.first_run_done()
                self._ran_before = True
            if self._wants_graph:
                self._record()
            self._recorded = shape

    def _make_room(self, size_bytes: int) -> None:
        if self._frames is not None and self._frames.nbytes >= size_bytes:
            return
        session, old, old_address = self._session, self._frames, self._frame_address
        self._frames, self._frame_address = session.pinned((size_bytes,), np.uint8), session.device_memory(size_bytes)
        self._frames.fill(0)
        if old is not None:
            session.free_pinned(old)
            session.free(old_address)

    def _record(self) -> None:
        session = self._session
        if not self._network.can_be_captured(session.stream):
            log.warning("this engine cannot be recorded into a CUDA graph: each frame is launched step by step")
            return
        try:
            self._graph = session.capture(self._enqueue)
        except (DriverError, ModelError) as error:
            # slower, but right; a device that is lost says so again in the next call
            log.warning("no CUDA graph, each frame is launched step by step: %s", error)
            return
        self.graph_nodes = self._graph.nodes

    def _enqueue(self) -> None:
        """What a frame goes through on the device, on the stream."""
        session, kernels, count = self._session, self._kernels, self._count
        stream = session.pycuda_stream
        pictures = self._addresses[PICTURE]
        size = self._height, self._width
        kernels.preprocess(stream, self._frame_address, pictures, count, *size, borders=self._borders)
        each = min(self._network.largest_batch, count)
        for start in range(0, count, each):
            self._enqueue_network(start, each)
        kernels.score(stream, self._outputs, self._map_address, self._result_address, count)

    def _enqueue_network(self, start: int, count: int) -> None:
        """One run of the engine, on pictures from `start` on; those beyond the last frame are of no meaning."""
        session, tensors = self._session, self._network.tensors
        places = {name: address + start * tensors[name].bytes for name, address in self._addresses.items()}
        # an engine wants its tensors aligned, and the kernels want theirs without gaps
        moved = {name: each for name, each in self._aligned.items() if places[name] % _ENGINE_ALIGNMENT}
        for name in moved.keys() & {PICTURE}:
            session.copy(moved[name], places[name], count * tensors[name].bytes)
        self._network.enqueue(session.stream, places | moved, count)
        for name in sorted(moved.keys() - {PICTURE}):
            session.copy(places[name], moved[name], count * tensors[name].bytes)

    def _forget_graph(self) -> None:
        self._recorded, self.graph_nodes = None, None
        graph, self._graph = self._graph, None
        if graph is not None:
            graph.close()

    def close(self, error: BaseException | None = None) -> None:
        """Free everything, from whichever thread, whatever state the GPU is in; harmless the second time.

        error: what it is closed for, see with_context_closed.
        """
        session = self._session
        try:
            if session.is_open:
                with session.current():
                    self._forget_graph()
                    self._kernels.close()
        except session.failures as failure:
            log.warning("the GPU's graph could not be freed: %s", failure)
        finally:
            with_context_closed(session, self._network, error)
