"""What a GPU would compute, computed on the host at the addresses it would be at, when the fake stream gets there.

The CPU's score path, and the bundle's own network in ONNX Runtime.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from edge.backends.device_network import PICTURE, DeviceTensor
from edge.bundle import Calibration
from edge.datatypes import F32
from edge.errors import ModelError
from edge.kernels.cpu import CpuScorePath, NetworkOutputs, planes_from_field
from edge.kernels.plan import FrameResult
from edge.manifest import Manifest
from edge.preprocess import Preprocess
from tests.gpu.fake_cuda import FakeGpu


class HostNetwork:
    """DeviceNetwork: ONNX Runtime on the processor, reading and writing the fake GPU's memory."""

    def __init__(
        self, gpu: FakeGpu, model: bytes, engine_sha256: str, manifest: Manifest, largest_batch: int = 1
    ) -> None:
        import onnxruntime

        self._gpu = gpu
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        self._names = list(manifest.outputs)
        side = manifest.input.size
        self.engine_sha256, self.largest_batch = engine_sha256, largest_batch
        shapes = {output.name: output.shape for output in self._session.get_outputs()}
        self.tensors = {PICTURE: DeviceTensor((3, side, side), half=False)}
        self.tensors |= {name: DeviceTensor(tuple(shapes[name][1:]), half=False) for name in self._names}
        self.recordable, self.refuses, self.first_runs, self.closed = True, False, 0, 0
        self._ran = False

    def enqueue(self, stream: int, addresses: Mapping[str, int], count: int) -> None:
        if self.refuses:
            raise ModelError("the engine refuses to run", fix="none")
        assert 1 <= count <= self.largest_batch
        assert set(addresses) == set(self.tensors)
        recording = self._gpu.streams[stream].recording is not None
        assert self._ran or not recording, "an engine that never ran takes memory, which no recording can hold"
        self._ran = True
        kept = dict(addresses)

        def run() -> None:
            for place in range(count):
                arrays = {
                    name: self._gpu.array(kept[name] + place * tensor.bytes, (1, *tensor.shape), np.float32)
                    for name, tensor in self.tensors.items()
                }
                results = self._session.run(self._names, {PICTURE: arrays[PICTURE]})
                for name, values in zip(self._names, results, strict=True):
                    np.copyto(arrays[name], values)

        self._gpu.enqueue(stream, run)

    def can_be_captured(self, stream: int) -> bool:
        return self.recordable

    def first_run_done(self) -> None:
        self.first_runs += 1

    def close(self) -> None:
        assert self._gpu.stack, "an engine must be freed where its context is current"
        self.closed += 1


class HostKernels:
    """ScoreKernels in OpenCV and NumPy."""

    map_type = np.float32
    result_bytes = 8

    def __init__(self, gpu: FakeGpu, manifest: Manifest, preprocess: Preprocess, calibration: Calibration) -> None:
        self._gpu, self._manifest, self._calibration = gpu, manifest, calibration
        self._field = Preprocess(preprocess.size)
        self.map_shape = (manifest.map_side, manifest.map_side)
        self.closed = 0
        self.set_weight(None)

    def set_weight(self, weight: F32 | None) -> None:
        calibration = self._calibration
        size = self._field.size
        self._path = CpuScorePath(
            self._manifest.score, size, calibration.statistics, calibration.pixel_threshold, weight
        )

    def preprocess(self, stream: Any, frames: int, pictures: int, count: int, height: int, width: int) -> None:
        side = self._field.size

        def run() -> None:
            given = self._gpu.array(frames, (count, height, width, 3), np.uint8)
            taken = self._gpu.array(pictures, (count, 3, side, side), np.float32)
            for frame, picture in zip(given, taken, strict=True):
                planes_from_field(self._field.field(frame), picture)

        self._gpu.enqueue(stream.handle, run)

    def score(
        self, stream: Any, pictures: int, outputs: Mapping[str, int], maps: int, results: int, count: int
    ) -> None:
        gpu, side, shape, kept = self._gpu, self._field.size, self.map_shape, dict(outputs)
        sides = {"recon": (3, side, side), "seg_logit": (side, side)}

        def run() -> None:
            picture = gpu.array(pictures, (count, 3, side, side), np.float32)
            stored_maps = gpu.array(maps, (count, *shape), np.float32)
            stored = gpu.array(results, (count, 2), np.float32)
            planes = {name: gpu.array(kept[name], (count, *sides[name]), np.float32) for name in kept}
            for place in range(count):
                network = NetworkOutputs(**{name: plane[place] for name, plane in planes.items()})
                anomaly_map = self._path.score(picture[place], network)
                stored_maps[place] = anomaly_map.values
                stored[place] = anomaly_map.score, anomaly_map.area_px

        gpu.enqueue(stream.handle, run)

    def read(self, result: np.ndarray[Any, Any]) -> FrameResult:
        score, area = result.view(np.float32)
        return FrameResult(float(score), int(area), float(score))

    def close(self) -> None:
        assert self._gpu.stack, "kernels must be unloaded where their context is current"
        self.closed += 1
