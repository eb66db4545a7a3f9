"""The bundle's own network as an engine on the fake GPU: ONNX Runtime, at addresses, when the stream gets there."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edge.backends.gpu.device_network import PICTURE, DeviceTensor
from edge.core.errors import ModelError
from edge.core.manifest import Manifest
from tests.edge.backends.gpu.fakes.fake_cuda import FakeGpu


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
        self.engine_sha256, self.largest_batch = engine_sha256, largest_batch
        shapes = {output.name: output.shape for output in self._session.get_outputs()}
        self.tensors = {PICTURE: DeviceTensor((3, manifest.input.height, manifest.input.width), fp16=False)}
        self.tensors |= {name: DeviceTensor(tuple(shapes[name][1:]), fp16=False) for name in self._names}
        self.recordable, self.refuses, self.first_runs, self.closed = True, False, 0, 0
        self._ran, self._last_count = False, 0

    def enqueue(self, stream: int, addresses: Mapping[str, int], count: int) -> None:
        if self.refuses:
            raise ModelError("the engine refuses to run", fix="none")
        assert 1 <= count <= self.largest_batch
        assert set(addresses) == set(self.tensors)
        recording = self._gpu.streams[stream].recording is not None
        if recording:
            assert self._ran, "an engine that never ran takes memory, which no recording can hold"
            assert count == self._last_count, "a shape that is new to the engine takes memory, too"
        self._ran, self._last_count = True, count
        assert all(address % 256 == 0 for address in addresses.values()), "an engine's tensors are aligned"
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
