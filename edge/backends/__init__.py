"""Networks on devices. open_backend() is the only chooser."""

from __future__ import annotations

import importlib.util
import logging
import os
from dataclasses import replace
from pathlib import Path

from edge.backends.aligning import AligningBackend
from edge.backends.base import Backend
from edge.backends.gpu.tensorrt_versions import PRODUCTS, Product, open_tensorrt
from edge.backends.telemetry import refuse_telemetry
from edge.bundles.bundle import CPU, ModelBundle
from edge.bundles.calibration import Calibration
from edge.core.errors import MissingDependency, install_extra
from edge.core.manifest import Manifest
from edge.preprocessing.preprocess import Preprocess

# in the order `auto` tries them; the modules import their runtime only when a network is opened
CPU_BACKENDS = ("openvino", "onnxruntime")
# by name only: engines are built and calibrated on the machine that runs them, which `auto` cannot do
GPU_BACKENDS = PRODUCTS

log = logging.getLogger("edge.backends")

# here, because every way to a network leads through this package
refuse_telemetry()


def open_backend(
    bundle: ModelBundle,
    name: str = "auto",
    precision: str = "int8",
    threads: int | None = None,
    *,
    uncalibrated: bool = False,
    engines: Path | None = None,
) -> Backend:
    """Open the bundle's network, with its calibration, on the backend named.

    `auto` takes the first installed of CPU_BACKENDS and logs which. uncalibrated: statistics of another engine will do.
    engines: of a GPU backend, where they are kept, if not beside the bundle. Raises MissingDependency, BundleError,
    EngineError.
    """
    return open_backends(bundle, name, precision, threads, 1, uncalibrated=uncalibrated, engines=engines)[0]


def open_backends(
    bundle: ModelBundle,
    name: str,
    precision: str,
    threads: int | None,
    count: int,
    *,
    uncalibrated: bool = False,
    engines: Path | None = None,
    maps: bool = True,
    keep_warm_s: float | None = None,
) -> tuple[Backend, ...]:
    """Open `count` backends for as many threads to call at the same time; they share `threads`, None for all cores.

    keep_warm_s: how often a GPU runs while no frame comes, to keep its clocks up; None: never.
    maps: False lets a GPU keep the maps of parts that pass; what has no map then is no defect. A GPU has one backend,
    whatever the count. Otherwise like open_backend. All give the same scores.
    """
    chosen = choose_backend(name)
    for product in GPU_BACKENDS:
        if chosen == product:
            return (_gpu_backend(bundle, product, precision, engines, maps, keep_warm_s),)
    measured = bundle.calibration(precision, uncalibrated=uncalibrated)
    # the backend says what runs, not what the statistics were measured on
    calibration = replace(measured, model_sha256=bundle.model_sha256(precision))
    model = bundle.read(f"model_{precision}")
    return calibrated_backends(chosen, model, bundle.manifest, bundle.preprocess, calibration, threads, count)


def target_of(name: str) -> str:
    """What a backend is called in deployments and calibrations: a product of TensorRT, or the processor."""
    return name if name in GPU_BACKENDS else CPU


def _gpu_backend(
    bundle: ModelBundle, product: Product, precision: str, engines: Path | None, maps: bool, keep_warm_s: float | None
) -> Backend:
    from edge.backends.gpu.gpu_tensorrt import calibrated_gpu_backend

    calibration = bundle.calibration(precision, target=product)
    maps_above = -1.0 if maps else calibration.threshold
    return calibrated_gpu_backend(bundle, product, calibration, engines, maps_above, keep_warm_s=keep_warm_s)


def calibrated_backends(
    name: str,
    model: bytes,
    manifest: Manifest,
    preprocess: Preprocess,
    calibration: Calibration,
    threads: int | None,
    count: int = 1,
) -> tuple[Backend, ...]:
    """The backends that the line runs, from a network and its calibration; name: one of CPU_BACKENDS."""
    backends = _of_placed_views(name, model, manifest, preprocess.of_placed_views, calibration, threads, count)
    return tuple(AligningBackend(backend, preprocess) for backend in backends) if preprocess.places else backends


def _of_placed_views(
    name: str,
    model: bytes,
    manifest: Manifest,
    preprocess: Preprocess,
    calibration: Calibration,
    threads: int | None,
    count: int,
) -> tuple[Backend, ...]:
    from edge.backends.cpu import CpuBackend, open_network

    # the score path is of whole fields, so that it cannot stand in the graph of a tile
    if name == "openvino" and manifest.preprocess.tiles is None:
        from edge.backends.cpu_openvino import OpenVinoBackend, OpenVinoEngine

        engine = OpenVinoEngine(model, manifest, calibration, threads, count, masked=preprocess.masked)
        return tuple(OpenVinoBackend(engine, manifest, preprocess, calibration) for _ in range(count))
    share = threads if count == 1 else max(1, (threads or usable_cores()) // count)
    networks = [open_network(name, model, manifest, share) for _ in range(count)]
    return tuple(CpuBackend(network, manifest, preprocess, calibration) for network in networks)


def usable_cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def installed(name: str) -> bool:
    """Whether the runtime of a backend can be imported here."""
    return importlib.util.find_spec(name) is not None


def choose_backend(name: str) -> str:
    if name == "auto":
        for candidate in CPU_BACKENDS:
            if installed(candidate):
                log.info("backend: %s (the first installed of %s)", candidate, ", ".join(CPU_BACKENDS))
                return candidate
        raise MissingDependency(
            f"no backend is installed; looked for {', '.join(CPU_BACKENDS)}", fix=install_extra("cpu")
        )
    for product in GPU_BACKENDS:
        if name == product:
            open_tensorrt(product)
            return name
    if not installed(name):
        raise MissingDependency(
            f"the backend {name} is not installed", fix=f"pip install {name}, or use --backend auto"
        )
    return name
