"""A CPU backend: one network runtime between the shared preprocessing and the shared score path."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np

from edge.backends.base import MOST_FRAME_SIZES, not_finite
from edge.backends.tiled import OneAtATime, TiledNetwork, TileRunner
from edge.bundles.calibration import Calibration
from edge.core.datatypes import F32, U8, AnomalyMap
from edge.core.latency import StageClock
from edge.core.manifest import Manifest
from edge.kernels.cpu import CpuScorePath, NetworkOutputs, planes_from_field
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.tiling import tiling_of


class Network(Protocol):
    """A compiled network. `image` is its input buffer, float32 (3, height, width) of the field, filled before `run`."""

    name: str
    image: F32

    def run(self) -> NetworkOutputs:
        """Outputs for the picture in `image`; views that the next run overwrites. Raises ModelError."""

    def close(self) -> None: ...


def open_network(name: str, model: bytes, manifest: Manifest, threads: int | None) -> Network:
    """Compile the ONNX model on one CPU runtime, by backend name; of a field in tiles, what shows it all of them."""
    tiling = tiling_of(manifest)
    if tiling is None:
        return _open_whole(name, model, manifest, threads)
    runner: TileRunner
    if name == "openvino":
        from edge.backends.cpu_openvino import OpenVinoTiles

        runner = OpenVinoTiles(model, manifest, threads)
    else:
        runner = OneAtATime(_open_whole(name, model, manifest, threads))
    return TiledNetwork(runner, tiling)


def _open_whole(name: str, model: bytes, manifest: Manifest, threads: int | None) -> Network:
    if name == "openvino":
        from edge.backends.cpu_openvino import OpenVinoNetwork

        return OpenVinoNetwork(model, manifest, threads)
    assert name == "onnxruntime", "engines are opened by edge/backends/gpu/gpu_tensorrt.py"
    from edge.backends.cpu_onnxruntime import OnnxRuntimeNetwork

    return OnnxRuntimeNetwork(model, manifest, threads)


class CpuBackend:
    """Backend protocol over a CPU network and the score path in OpenCV; not for use by two threads at once."""

    def __init__(self, network: Network, manifest: Manifest, preprocess: Preprocess, calibration: Calibration) -> None:
        self.name = network.name
        self.model_sha256 = calibration.model_sha256
        self._network = network
        self._preprocess = preprocess
        self._spec = manifest.score
        self._calibration = calibration
        self._channels = tuple(np.empty(preprocess.shape, np.uint8) for _ in range(3))
        self._paths: dict[tuple[int, int] | None, CpuScorePath] = {}

    def score(self, image: U8, clock: StageClock) -> AnomalyMap:
        planes_from_field(self._preprocess.field(image), self._network.image, self._channels)
        clock.lap("preprocess")
        outputs = self._network.run()
        clock.lap("infer")
        anomaly_map = self._path_for(image).score(self._network.image, outputs)
        clock.lap("residual")
        if math.isnan(anomaly_map.score):
            raise not_finite()
        return anomaly_map

    def _path_for(self, image: U8) -> CpuScorePath:
        """The score path; a mask depends on the frame's size, so each size has its own."""
        key = None if not self._preprocess.masked else (image.shape[0], image.shape[1])
        if key not in self._paths:
            if len(self._paths) >= MOST_FRAME_SIZES:
                self._paths.clear()
            weight = self._preprocess.weight(image.shape[0], image.shape[1])
            calibration = self._calibration
            self._paths[key] = CpuScorePath(
                self._spec, self._preprocess.shape, calibration.statistics, calibration.pixel_threshold, weight
            )
        return self._paths[key]

    def close(self) -> None:
        self._network.close()
