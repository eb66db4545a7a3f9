"""What a target runs of a bundle: engines are built for a GPU and calibrated on it, a processor's runtime is tried."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from calibration.pipeline.memory_folds import Fair, Folds
from calibration.ranges import ranges_from_bytes
from edge.backends import choose_backend
from edge.backends.base import Backend
from edge.backends.cpu import Network, open_network
from edge.backends.gpu.engine_cache import BuildOptions, CachedEngine, EngineCache, engines_folder
from edge.backends.gpu.gpu_tensorrt import engine_backend, fetched_network, open_engines, require_whole_field
from edge.backends.gpu.tensorrt_versions import PRODUCTS, RTX_TARGETS, Product, open_tensorrt
from edge.bundles.bundle import ModelBundle
from edge.bundles.calibration import Calibration
from edge.core.config import Settings
from edge.core.errors import BundleError, EngineError, UsageError
from edge.core.progress import say
from export.engine import cached_engine
from export.precision_fallback import CANDIDATE_PRECISIONS, CandidatePrecision, graph_of_precision

_MEGABYTE = 1e6
# (the network that is calibrated, with the memory of each fold too; hash of what it runs) → its calibration
Calibrate = Callable[[Fair[Network], str], Calibration]


class EngineSession:
    """The engines of one bundle on this machine's GPU, built when they are asked for."""

    def __init__(self, bundle: ModelBundle, product: Product, engines: Path | None, build: BuildOptions) -> None:
        """Raises MissingDependency where TensorRT is missing, or it needs a GPU to build and there is none."""
        self._bundle, self._build = bundle, build
        self.product = product
        self._store = open_engines(product, bundle, engines)

    def calibrated(
        self, candidate: CandidatePrecision, calibrate: Calibrate, folds: Folds | None = None
    ) -> tuple[Fair[Backend], Calibration]:
        """The backend that runs the engine of a candidate precision, and what calibrating it through the GPU gave.

        Every fold has an engine of its own. Raises EngineError when TensorRT refuses the graph, MissingDependency when
        no GPU can run it.
        """
        bundle, store = self._bundle, self._store
        model = bundle.read("model_fp32")
        engine = self._engine(candidate, model)
        networks: Fair[Network] = Fair(
            lambda other: fetched_network(store, self._engine(candidate, other), bundle.manifest), model, folds
        )  # fmt: skip
        try:
            calibration = calibrate(networks, engine.sha256)
        finally:
            networks.close()

        def backend(other: bytes) -> Backend:
            made = self._engine(candidate, other)
            own = replace(calibration, model_sha256=made.sha256)
            return engine_backend(store, made, bundle.manifest, bundle.preprocess, own, maps_above=-1.0)

        return Fair(backend, model, folds), calibration

    def _engine(self, candidate: CandidatePrecision, model_fp32: bytes) -> CachedEngine:
        graph = graph_for_engine(self._bundle, self._store.tensorrt.product, candidate, model_fp32)
        return cached_engine(self._store.tensorrt, self._store.cache, candidate, graph, self._build)


def build_options(product: Product, capabilities: Sequence[int] | None) -> BuildOptions:
    """capabilities: of the GPUs to build for, None for the usual ones; RTX has a list of its own."""
    return BuildOptions(targets=tuple(capabilities or (RTX_TARGETS if product == "tensorrt-rtx" else ())))


def graph_for_engine(bundle: ModelBundle, product: Product, candidate: CandidatePrecision, model: bytes) -> bytes:
    """The graph that TensorRT is given: from an FP32 network of the bundle, the ranges, the layers found sensitive."""
    if candidate == "fp32":
        return model
    try:
        ranges = ranges_from_bytes(bundle.read("ranges"))
        # FP16 has no layers to leave out
        floating = () if candidate == "fp16" else json.loads(bundle.read("quantization"))["sensitivity"]["floating"]
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise BundleError(
            f"{bundle.path}: the record of the quantisation cannot be read ({error})",
            fix="run `edge-inspect quantize --bundle BUNDLE --data NORMALS`",
        ) from error
    return graph_of_precision(candidate, product, model, ranges, floating)


def prepare_for_target(
    bundle: ModelBundle, target: str, precision: str, capabilities: Sequence[int] | None, settings: Settings
) -> None:
    """Build the engine of a GPU's runtime, or try the network on a processor's runtime.

    precision: `auto` for what the bundle says; of engines, the first candidate precision that can be built.
    capabilities: of the GPUs that the engine is built for. Raises EngineError, BundleError and UsageError.
    """
    for product in PRODUCTS:
        if target == product:
            _build(product, bundle, precision, capabilities, settings)
            return
    _try(bundle, target, precision, settings.inspection.threads)


def _build(
    product: Product, bundle: ModelBundle, precision: str, capabilities: Sequence[int] | None, settings: Settings
) -> None:
    require_whole_field(bundle, product)
    tensorrt = open_tensorrt(product)
    cache = EngineCache(settings.inspection.engines_folder or engines_folder(bundle.path))
    candidates = [name for name in CANDIDATE_PRECISIONS[product] if precision in ("auto", name)]
    for candidate in candidates:
        started = time.perf_counter()
        try:
            model = graph_for_engine(bundle, product, candidate, bundle.read("model_fp32"))
            cached = cached_engine(tensorrt, cache, candidate, model, build_options(product, capabilities))
        except EngineError as error:
            if candidate == candidates[-1]:
                raise
            say(f"{candidate} is refused, the next precision is tried: {error.message}")
            continue
        done = f"built in {time.perf_counter() - started:.1f} s" if cached.built else "already built, and checked"
        say(
            f"{candidate} engine of {product} {tensorrt.version}: {done}, "
            f"{len(cached.plan) / _MEGABYTE:.2f} MB, {cached.sha256[:12]}…: {cached.path}"
        )
        return


def _try(bundle: ModelBundle, target: str, wanted: str, threads: int | None) -> None:
    """CPU runtimes read the bundle as it is: that they do, and give finite numbers, is what can be prepared."""
    if wanted not in ("auto", "int8", "fp32"):
        raise UsageError(f"{target} runs a bundle's int8 or fp32 network, not {wanted}", fix="leave --precision out")
    precision = bundle.precision(wanted)
    model = bundle.read(f"model_{precision}")
    network = open_network(choose_backend(target), model, bundle.manifest, threads)
    outputs = network.run()
    if not all(np.isfinite(values).all() for values in vars(outputs).values() if values is not None):
        raise BundleError(
            f"{target} computes numbers that are not finite from the {precision} network",
            fix="make the bundle anew, or use `--precision fp32`",
        )
    network.close()
    say(f"{target} runs the {precision} network of {bundle.path} as it is; nothing needs building")
