"""The network alone, called as its runtime would be by anyone: what everything around it is measured against.

A bare call is the bundle's network as it is: its float input already filled, all its outputs in full, nothing copied.
What an inspection runs may be less than that, where the score needs less, so a ratio below one is possible.
"""

from __future__ import annotations

import io
import threading
import time
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from edge.backends import CPU_BACKENDS, usable_cores
from edge.backends.cpu import open_network
from edge.backends.openvino_core import openvino_core
from edge.bundles.bundle import ModelBundle
from edge.core.errors import UsageError


class BareEngine(Protocol):
    """run: one synchronous call of the network. One thread at a time."""

    def run(self) -> object: ...

    def close(self) -> None: ...


def open_bare_engines(
    bundle: ModelBundle, backend: str, precision: str, threads: int | None, count: int
) -> list[BareEngine]:
    """`count` engines for as many threads, which share `threads`, None for all cores. backend: openvino, onnxruntime.

    Of several, OpenVINO's are infer requests of one network compiled for as many streams, as its own tools do it.
    """
    if backend not in CPU_BACKENDS:
        raise UsageError(
            f"the bare engine of {backend} cannot be called from here", fix="choose a --backend of the CPU"
        )
    require_whole_field(bundle)
    model = bundle.read(f"model_{precision}")
    if count > 1 and backend == "openvino":
        compiled = _compiled(model, bundle.preprocess.shape, threads, count, "LATENCY")
        return [_Request(compiled, bundle.preprocess.shape, index) for index in range(count)]
    share = threads if count == 1 else max(1, (threads or usable_cores()) // count)
    engines: list[BareEngine] = []
    for index in range(count):
        network = open_network(backend, model, bundle.manifest, share)
        network.image[:] = _noise(bundle.preprocess.shape, index)
        engines.append(network)
    return engines


def require_whole_field(bundle: ModelBundle) -> None:
    """Raises UsageError for a bundle of tiles: one call of its engine is no frame."""
    if bundle.manifest.preprocess.tiles is not None:
        raise UsageError(
            f"{bundle.path} inspects in tiles, and one call of its bare engine is no frame",
            fix="measure it with python -m benchmarks.timing.large_frames --bundle BUNDLE",
        )


def open_sized_engine(
    bundle: ModelBundle, backend: str, precision: str, threads: int | None, side: int
) -> BareEngine | None:
    """The bundle's network for another side of its field; None where the runtime or the network cannot."""
    if backend != "openvino":
        return None
    try:
        return open_network_bytes(bundle.read(f"model_{precision}"), (side, side), threads)
    except RuntimeError:
        # a network that relates places is made for one side
        return None


def open_network_bytes(model: bytes, shape: tuple[int, int], threads: int | None) -> BareEngine:
    """Any network of one picture (1, 3, *shape), in OpenVINO."""
    return _Request(_compiled(model, shape, threads, 1, "LATENCY"), shape, 0)


class EngineFlood(Protocol):
    """run: as many calls as fit into `seconds`; returns calls per second."""

    def run(self, seconds: float) -> float: ...

    def close(self) -> None: ...


def open_flood(bundle: ModelBundle, backend: str, precision: str, threads: int | None, count: int) -> EngineFlood:
    """The engine's own throughput limit: with OpenVINO asynchronous requests under its throughput hint, as many as it
    asks for; otherwise `count` threads with an engine each."""
    require_whole_field(bundle)
    if backend == "openvino":
        model = bundle.read(f"model_{precision}")
        return _AsyncRequests(_compiled(model, bundle.preprocess.shape, threads, None, "THROUGHPUT"))
    return _Threads(open_bare_engines(bundle, backend, precision, threads, count))


class _Request:
    """One infer request of a compiled OpenVINO network, its input shared and filled once."""

    def __init__(self, compiled: Any, shape: tuple[int, int], seed: int) -> None:
        import openvino

        self._request = compiled.create_infer_request()
        self._image = _noise(shape, seed)[None]
        self._request.set_tensor(compiled.inputs[0], openvino.Tensor(self._image, shared_memory=True))

    def run(self) -> None:
        self._request.infer(share_outputs=True)

    def close(self) -> None:
        del self._request


class _AsyncRequests:
    def __init__(self, compiled: Any) -> None:
        from openvino import AsyncInferQueue, Tensor

        self._queue = AsyncInferQueue(compiled)
        rows, columns = list(compiled.inputs[0].shape)[-2:]
        # kept: the tensors do not own their memory
        self._images = [_noise((rows, columns), index)[None] for index in range(len(self._queue))]
        for request, image in zip(self._queue, self._images, strict=True):
            request.set_tensor(compiled.inputs[0], Tensor(image, shared_memory=True))

    def run(self, seconds: float) -> float:
        started = time.perf_counter()
        calls = 0
        while time.perf_counter() - started < seconds:
            self._queue.start_async()
            calls += 1
        self._queue.wait_all()
        return calls / (time.perf_counter() - started)

    def close(self) -> None:
        del self._queue


class _Threads:
    def __init__(self, engines: Sequence[BareEngine]) -> None:
        self._engines = tuple(engines)

    def run(self, seconds: float) -> float:
        started = time.perf_counter()
        calls = [0] * len(self._engines)

        def work(index: int) -> None:
            while time.perf_counter() - started < seconds:
                self._engines[index].run()
                calls[index] += 1

        threads = [threading.Thread(target=work, args=(index,)) for index in range(len(calls))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return sum(calls) / (time.perf_counter() - started)

    def close(self) -> None:
        for engine in self._engines:
            engine.close()


def _compiled(model: bytes, shape: tuple[int, int], threads: int | None, streams: int | None, hint: str) -> Any:
    graph = openvino_core().read_model(io.BytesIO(model))
    graph.reshape([1, 3, *shape])
    # the same arithmetic as the product's, which rounds nothing to bfloat16
    config: dict[str, Any] = {"PERFORMANCE_HINT": hint, "INFERENCE_PRECISION_HINT": "f32"}
    if streams is not None:
        config["NUM_STREAMS"] = streams
    if threads is not None:
        config["INFERENCE_NUM_THREADS"] = threads
    return openvino_core().compile_model(graph, "CPU", config)


def _noise(shape: tuple[int, int], seed: int) -> Any:
    return np.random.default_rng(seed).uniform(-1, 1, (3, *shape)).astype(np.float32)
