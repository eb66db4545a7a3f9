"""A bundle on this GPU, with an engine or a stub network: `python -m benchmarks.gpu.gpu_line --network NAME`.

Frame to verdict, against the network alone in the same run; with the CUDA graph and without; the memory of the device
over all frames; agreement with the processor. NAME: tensorrt-int8, tensorrt-rtx-fp16 and so on, or a stub network.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, get_args

import numpy as np

from benchmarks.gpu.gpu_timing import free_bytes, open_session_here, shared_memory_reason
from benchmarks.gpu.stub_networks import STUB_NETWORKS, open_stub
from benchmarks.program import BUNDLE, Values, option, program
from benchmarks.timing.measure.source import pictures_of
from benchmarks.timing.report.figures import percentiles
from calibration.ranges import ranges_from_bytes
from edge.backends import calibrated_backends
from edge.backends.gpu.cuda_device import read_cuda_device
from edge.backends.gpu.cuda_driver import DriverError
from edge.backends.gpu.cuda_session import CudaSession
from edge.backends.gpu.device_network import PICTURE, DeviceNetwork, TensorRtNetwork, with_context_closed
from edge.backends.gpu.engine_cache import BuildOptions
from edge.backends.gpu.gpu_backend import GpuBackend
from edge.backends.gpu.gpu_pipeline import GpuPipeline
from edge.backends.gpu.gpu_tensorrt import open_engines, open_kernels, open_pipeline
from edge.backends.gpu.tensorrt_versions import PRODUCTS, RTX_TARGETS
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.bundles.calibration import Calibration
from edge.core.config import CameraSettings
from edge.core.datatypes import U8, Decision, Frame
from edge.core.errors import EdgeInspectError, UsageError
from edge.core.frame_memory import FRAME_MEMORY
from edge.core.latency import StageClock
from edge.inspection.inspector import Inspector
from export.engine import cached_engine
from export.precision_fallback import CandidatePrecision, graph_of_precision

NETWORKS = (
    *(f"{product}-{precision}" for product in PRODUCTS for precision in get_args(CandidatePrecision)),
    *STUB_NETWORKS,
)
CAMERA_SIZE = (480, 640)
PAIRS, WARM_UP_FRAMES = 1000, 20
_MEMORY_READINGS = 20


def measure(bundle: ModelBundle, network: str, frames: int, engines: Path, targets: Sequence[int]) -> dict[str, Any]:
    """All figures of one network; raises EdgeInspectError with the words of whoever refuses."""
    calibration = bundle.calibration("fp32")
    images = sample_images()
    network_of = network_maker(bundle, network, engines, targets)
    pipelines: list[GpuPipeline] = []

    def pipeline(*, graph: bool = True) -> GpuPipeline:
        pipelines.append(line_pipeline(bundle, network_of, graph=graph))
        return pipelines[-1]

    backend = GpuBackend(network, pipeline)
    try:
        values: dict[str, Any] = {"network": network, "engine_sha256": backend.model_sha256}
        values |= _line(backend, bundle, calibration, images, min(frames, PAIRS))
        values["graph_nodes"] = pipelines[-1].graph_nodes
        values["bare_network_ms"] = percentiles(_bare(network_of, min(frames, PAIRS)))
        values["overhead_over_bare_us"] = round(
            1000 * (values["verdict_ms"]["p50"] - values["bare_network_ms"]["p50"]), 1
        )
        values["memory"] = _memory(backend, images, frames)
    finally:
        backend.close()
    step_by_step = GpuBackend(network, lambda: pipeline(graph=False))
    try:
        values["without_graph"] = _line(step_by_step, bundle, calibration, images, min(frames, PAIRS))
    finally:
        step_by_step.close()
    if network not in ("torch", "copy"):
        values["against_processor"] = _agreement(pipeline, bundle, calibration)
    return values


def line_pipeline(
    bundle: ModelBundle, network_of: Callable[[CudaSession], DeviceNetwork], *, graph: bool = True
) -> GpuPipeline:
    """What a line runs, with the calibration of the processor's FP32 network: frames one by one, maps of rejects."""
    calibration = bundle.calibration("fp32")
    return open_pipeline(
        open_session_here,
        network_of,
        lambda session, opened: open_kernels(session, opened, bundle.manifest, calibration, most=1),
        bundle.preprocess,
        maps_above=calibration.threshold,
        graph=graph,
    )


def sample_images() -> list[U8]:
    pictures = pictures_of("demo", CAMERA_SIZE, CameraSettings())
    assert pictures is not None, "the sample line is pictures"
    return pictures


def network_maker(
    bundle: ModelBundle, network: str, engines: Path, targets: Sequence[int]
) -> Callable[[CudaSession], DeviceNetwork]:
    manifest, model = bundle.manifest, bundle.read("model_fp32")
    if network in STUB_NETWORKS:
        return lambda session: open_stub(network, session, model, manifest)
    # the longer name first: both begin alike
    product = next(each for each in sorted(PRODUCTS, key=len, reverse=True) if network.startswith(each))
    (precision,) = [each for each in get_args(CandidatePrecision) if network == f"{product}-{each}"]
    floating = json.loads(bundle.read("quantization"))["sensitivity"]["floating"]
    graph = graph_of_precision(precision, product, model, ranges_from_bytes(bundle.read("ranges")), floating)
    store = open_engines(product, bundle, engines)
    build = BuildOptions(targets=tuple(targets or (RTX_TARGETS if product == "tensorrt-rtx" else ())))
    cached = cached_engine(store.tensorrt, store.cache, precision, graph, build)
    return lambda session: TensorRtNetwork(store.tensorrt, cached, store.cache, manifest)


def _line(
    backend: GpuBackend, bundle: ModelBundle, calibration: Calibration, images: Sequence[Any], count: int
) -> dict[str, Any]:
    """Frame to verdict: staging, one launch, one wait, and the map where the score asks for it."""
    inspector = Inspector(backend, bundle.preprocess, calibration.threshold, calibration.pixel_threshold, bundle.sha256)
    verdicts = []
    for index in range(-min(WARM_UP_FRAMES, count), count):
        picture = images[index % len(images)]
        # where a camera's picture would lie
        image = FRAME_MEMORY.empty(picture.shape)
        np.copyto(image, picture)
        utc, grabbed_ns = datetime.now(timezone.utc), time.perf_counter_ns()
        verdict = inspector.inspect(Frame(index, grabbed_ns, utc, "benchmark", image))
        if index >= 0:
            verdicts.append(verdict)
    return {
        "verdict_ms": percentiles([verdict.times.total for verdict in verdicts]),
        "stages_ms": {
            stage: percentiles([getattr(verdict.times, stage) for verdict in verdicts])
            for stage in ("preprocess", "infer", "residual", "decide")
        },
        "rejected_share": float(np.mean([verdict.decision is Decision.NG for verdict in verdicts])),
    }


def _bare(network_of: Callable[[CudaSession], DeviceNetwork], count: int) -> list[float]:
    """The network alone, from and to the device, by a graph where it can be recorded; launch to done."""
    session = open_session_here()
    network: DeviceNetwork | None = None
    try:
        with session.current():
            opened = network = network_of(session)
            addresses = {name: session.device_memory(tensor.bytes) for name, tensor in network.tensors.items()}
            session.upload(addresses[PICTURE], np.zeros(network.tensors[PICTURE].bytes, np.uint8))

            def enqueue() -> None:
                opened.enqueue(session.stream, addresses, 1)

            enqueue()
            session.synchronize()
            graph = None
            if network.can_be_captured(session.stream):
                try:
                    graph = session.capture(enqueue)
                except (DriverError, EdgeInspectError):
                    graph = None
            times = []
            for _ in range(count):
                started = time.perf_counter_ns()
                if graph is None:
                    enqueue()
                else:
                    graph.launch()
                session.synchronize()
                times.append((time.perf_counter_ns() - started) / 1e6)
            if graph is not None:
                graph.close()
            return times
    finally:
        with_context_closed(session, network)


def _memory(backend: GpuBackend, images: Sequence[Any], frames: int) -> dict[str, Any]:
    """The device's free memory over many frames; another program's allocations show as well."""
    watching, reason = open_session_here(), shared_memory_reason(read_cuda_device())
    readings = []
    try:
        for index in range(frames):
            backend.score(images[index % len(images)], StageClock(0))
            if reason is None and index % max(1, frames // _MEMORY_READINGS) == 0:
                with watching.current():
                    readings.append(free_bytes())
    finally:
        watching.close()
    lost = readings[0] - readings[-1] if readings else None
    return {"frames": frames, "not_watched": reason, "free_bytes": readings, "lost_bytes": lost}


def _agreement(pipeline: Callable[[], GpuPipeline], bundle: ModelBundle, calibration: Calibration) -> dict[str, Any]:
    """Scores of the sample line on the GPU and on the processor, FP32, both with the processor's calibration."""
    model = bundle.read("model_fp32")
    (reference,) = calibrated_backends("onnxruntime", model, bundle.manifest, bundle.preprocess, calibration, None)
    ours = GpuBackend("gpu", pipeline)
    try:
        pairs = [
            (ours.score(image, StageClock(0)).score, reference.score(image, StageClock(0)).score)
            for image in sample_images()
        ]
    finally:
        ours.close()
        reference.close()
    return {
        "pictures": len(pairs),
        "other_decisions": sum((a > calibration.threshold) != (b > calibration.threshold) for a, b in pairs),
        "largest_score_difference_in_thresholds": max(abs(a - b) for a, b in pairs) / calibration.threshold,
    }


@program(
    option("--network", choices=NETWORKS, required=True),
    BUNDLE,
    option("--frames", type=int, default=PAIRS),
    option("--engines", type=Path, required=True, help="folder of built engines"),
    option("--compute-capability", dest="targets", type=int, action="append", default=[], metavar="86"),
)
def main(options: argparse.Namespace) -> Values:
    """Measure one network."""
    if options.frames < 1:
        raise UsageError("no frames to measure", fix="give --frames 1 or more")
    bundle = load_bundle(options.bundle.resolve())
    return measure(bundle, options.network, options.frames, options.engines, options.targets)


if __name__ == "__main__":
    raise SystemExit(main())
