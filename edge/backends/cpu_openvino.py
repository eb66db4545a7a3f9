"""OpenVINO on the CPU: the default backend."""

from __future__ import annotations

import io
import math
from contextlib import suppress
from typing import Any

import cv2
import numpy as np

from edge.backends.base import MOST_FRAME_SIZES, not_finite
from edge.backends.openvino_core import openvino_core
from edge.backends.tiled import Take, shown
from edge.bundles.calibration import Calibration
from edge.core.datatypes import F32, U8, AnomalyMap
from edge.core.errors import BundleError, ModelError
from edge.core.latency import StageClock
from edge.core.manifest import Manifest
from edge.kernels.cpu import NetworkOutputs, area_above, at_map_side, map_from_blend, mean_in_bins, score_of
from edge.kernels.score_graph import BLENDED, FIELD, LARGEST, SMOOTHED, with_score
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.tiling import Tile, Tiling

# of a network that is shown tiles
_TILE_STREAMS = 2
_DAMAGED = "make the bundle anew with `edge-inspect train`, or update openvino"


class OpenVinoNetwork:
    """Network protocol over the bundle's network as it is: one infer request with buffers shared both ways."""

    name = "openvino"

    def __init__(self, model: bytes, manifest: Manifest, threads: int | None) -> None:
        self._compiled = _compiled_network(model, manifest, threads, streams=1)
        self._request = _NetworkRequest(self._compiled, manifest)
        self.image = self._request.image

    def run(self) -> NetworkOutputs:
        _infer(self._request.request)
        return self._request.outputs

    def close(self) -> None:
        del self._request, self._compiled


class OpenVinoTiles:
    """TileRunner over two infer requests a stream: while one tile is computed the next waits, already fetched."""

    name = "openvino"

    def __init__(self, model: bytes, manifest: Manifest, threads: int | None) -> None:
        streams = min(_TILE_STREAMS, threads or _TILE_STREAMS)
        self._compiled = _compiled_network(model, manifest, threads, streams)
        self._requests = [_NetworkRequest(self._compiled, manifest) for _ in range(2 * streams)]

    def run(self, image: F32, tiling: Tiling, take: Take) -> None:
        running: list[tuple[Tile, _NetworkRequest]] = []
        idle = list(self._requests)
        try:
            for tile in tiling:
                if not idle:
                    idle.append(_taken(running, take))
                request = idle.pop()
                np.copyto(request.image, shown(image, tile, tiling))
                request.request.start_async()
                running.append((tile, request))
            while running:
                _taken(running, take)
        except RuntimeError as error:
            raise ModelError(f"OpenVINO failed: {_first_line(error)}", fix="see `edge-inspect doctor`") from error
        finally:
            # what still runs writes into buffers that the next frame uses
            for _, request in running:
                with suppress(RuntimeError):
                    request.request.wait()

    def close(self) -> None:
        del self._requests, self._compiled


class _NetworkRequest:
    """One infer request with buffers shared both ways: `image` float32 (3, height, width), outputs as views."""

    def __init__(self, compiled: Any, manifest: Manifest) -> None:
        shape = (manifest.input.height, manifest.input.width)
        names = {name: port for port in compiled.outputs for name in port.get_names()}
        self.request = compiled.create_infer_request()
        self.image: F32 = _shared_input(self.request, compiled.inputs[0], np.zeros((1, 3, *shape), np.float32))[0]
        self.outputs = NetworkOutputs(
            **{name: _plane(self.request.get_tensor(names[name]).data) for name in manifest.outputs}
        )


def _taken(running: list[tuple[Tile, _NetworkRequest]], take: Take) -> _NetworkRequest:
    """The request that runs longest, when it has ended and its outputs are taken over."""
    tile, request = running.pop(0)
    request.request.wait()
    take(tile, request.outputs)
    return request


def _compiled_network(model: bytes, manifest: Manifest, threads: int | None, streams: int) -> Any:
    """The bundle's network as it is; raises BundleError."""
    try:
        compiled = _compiled(_read(model, (manifest.input.height, manifest.input.width)), threads, streams)
        there = {name for port in compiled.outputs for name in port.get_names()}
    except RuntimeError as error:
        raise BundleError(f"OpenVINO refuses the network: {_first_line(error)}", fix=_DAMAGED) from error
    if missing := [name for name in manifest.outputs if name not in there]:
        raise BundleError(f"the network has no output {missing[0]!r}", fix=_DAMAGED)
    return compiled


class OpenVinoEngine:
    """The bundle's network with preprocessing and score path inside, compiled once for `streams` threads to call.

    threads: of all streams together, None for all cores. masked: the map is yet to be weighed by a mask.
    """

    def __init__(
        self,
        model: bytes,
        manifest: Manifest,
        calibration: Calibration,
        threads: int | None,
        streams: int,
        *,
        masked: bool,
    ) -> None:
        shape = (manifest.input.height, manifest.input.width)
        try:
            network = _read(model, shape)
            graph = with_score(network, manifest.outputs, manifest.score, shape, calibration.statistics, masked=masked)
            self.compiled = _compiled(graph, threads, streams)
        except KeyError as error:
            raise BundleError(f"the network has no output {error}", fix=_DAMAGED) from error
        except RuntimeError as error:
            raise BundleError(f"OpenVINO refuses the network: {_first_line(error)}", fix=_DAMAGED) from error


class OpenVinoBackend:
    """Backend protocol over one infer request of an engine; not for use by two threads at once.

    The lap `infer` holds all that the engine does: scaling the field, the network, and the score path up to the blend
    or, where the graph does that too, up to the map and its largest values.
    """

    name = "openvino"

    def __init__(
        self, engine: OpenVinoEngine, manifest: Manifest, preprocess: Preprocess, calibration: Calibration
    ) -> None:
        self.model_sha256 = calibration.model_sha256
        self._preprocess = preprocess
        self._spec = manifest.score
        self._pixel_threshold = calibration.pixel_threshold
        self._map_shape = manifest.map_shape
        self._weights: dict[tuple[int, int], F32] = {}
        self._request = engine.compiled.create_infer_request()
        buffer = np.zeros((1, 3, *preprocess.shape), np.uint8)
        red, green, blue = _shared_input(self._request, engine.compiled.input(FIELD), buffer)[0]
        self._planes: tuple[U8, U8, U8] = (blue, green, red)
        names = {name for port in engine.compiled.outputs for name in port.get_names()}
        self._maps: dict[str, F32] = {name: self._request.get_tensor(name).data for name in names}

    def score(self, image: U8, clock: StageClock) -> AnomalyMap:
        cv2.split(self._preprocess.field(image), self._planes)
        clock.lap("preprocess")
        _infer(self._request)
        clock.lap("infer")
        anomaly_map = self._map(image)
        clock.lap("residual")
        if math.isnan(anomaly_map.score):
            raise not_finite()
        return anomaly_map

    def _map(self, image: U8) -> AnomalyMap:
        if SMOOTHED in self._maps:
            values = self._maps[SMOOTHED][0].copy()
            largest = self._maps[LARGEST].tolist()
            area_px = area_above(self._pixel_threshold, values, max(largest))
            return AnomalyMap(values, score_of(values, mean_in_bins(largest), self._spec.image_score), area_px)
        blended = self._maps[BLENDED][0]
        if self._preprocess.masked:
            blended = blended * self._weight(image.shape[0], image.shape[1])
        return map_from_blend(blended, self._spec, self._pixel_threshold)

    def _weight(self, height: int, width: int) -> F32:
        """The mask depends on the frame's size."""
        if (height, width) not in self._weights:
            if len(self._weights) >= MOST_FRAME_SIZES:
                self._weights.clear()
            mask = self._preprocess.weight(height, width)
            assert mask is not None, "only asked for when there is a mask"
            self._weights[height, width] = at_map_side(mask, self._map_shape)
        return self._weights[height, width]

    def close(self) -> None:
        del self._request, self._maps


def _read(model: bytes, shape: tuple[int, int]) -> Any:
    graph = openvino_core().read_model(io.BytesIO(model))
    graph.reshape([1, 3, *shape])
    return graph


def _compiled(graph: Any, threads: int | None, streams: int) -> Any:
    config: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": streams,
        # processors with bfloat16 would otherwise round FP32 layers, and score differently from all others
        "INFERENCE_PRECISION_HINT": "f32",
    }
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    return openvino_core().compile_model(graph, "CPU", config)


def _shared_input(request: Any, port: Any, buffer: Any) -> Any:
    import openvino

    request.set_tensor(port, openvino.Tensor(buffer, shared_memory=True))
    return buffer


def _infer(request: Any) -> None:
    try:
        # shared, or it would copy every output into a dictionary that nobody reads
        request.infer(share_outputs=True)
    except RuntimeError as error:
        raise ModelError(f"OpenVINO failed: {_first_line(error)}", fix="see `edge-inspect doctor`") from error


def _plane(data: Any) -> Any:
    """(1, 3, h, w) → (3, h, w); (1, 1, h, w) → (h, w)."""
    return data[0] if data.shape[1] == 3 else data[0, 0]


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
