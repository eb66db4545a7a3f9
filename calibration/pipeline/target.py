"""A bundle is prepared for what will run it: engines are built for a GPU, a processor's runtime is tried."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np

from calibration.pipeline.engine_calibration import build_options, graph_for_engine
from edge.backends import choose_backend
from edge.backends.cpu import open_network
from edge.backends.gpu.engine_cache import EngineCache, engines_folder
from edge.backends.gpu.tensorrt_versions import PRODUCTS, Product, open_tensorrt
from edge.bundles.bundle import ModelBundle
from edge.core.config import Settings
from edge.core.errors import BundleError, EngineError, UsageError
from edge.core.progress import say
from edge.system.extras import require
from export.engine import cached_engine
from export.precision_fallback import CANDIDATE_PRECISIONS

_MEGABYTE = 1e6


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
    require("export")
    tensorrt = open_tensorrt(product)
    cache = EngineCache(settings.inspection.engines_folder or engines_folder(bundle.path))
    candidates = [name for name in CANDIDATE_PRECISIONS[product] if precision in ("auto", name)]
    for candidate in candidates:
        started = time.perf_counter()
        try:
            model = graph_for_engine(bundle, product, candidate)
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
