"""export: a run into a bundle, a bundle into what its target runs, or both in one go."""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calibration.pipeline.engine_calibration import build_options, graph_for_engine
from edge.backends import CPU_BACKENDS, choose_backend
from edge.backends.cpu import open_network
from edge.backends.gpu.engine_cache import BuildOptions, EngineCache, engines_folder
from edge.backends.gpu.tensorrt_versions import PRODUCTS, Product, TensorRt, open_tensorrt
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.cli.making import train as make_bundle
from edge.cli.making.calibrate import gate
from edge.core.config import Settings
from edge.core.errors import BundleError, EngineError, UsageError
from edge.core.progress import say
from edge.system.extras import needs

if TYPE_CHECKING:
    from export.precision_fallback import CandidatePrecision

_MEGABYTE = 1e6


def export(options: argparse.Namespace, settings: Settings) -> int:
    """Make the bundle if a run is given, then prepare it for the target if one is given; or check one that is there."""
    if options.check:
        return _check(options, settings)
    if (options.run_directory is None) == (options.bundle is None) or (options.run_directory and options.out is None):
        raise UsageError(
            "export makes a bundle of a run, or prepares a bundle that is there",
            fix="give --run-dir RUN --out BUNDLE, or --bundle BUNDLE --target TARGET",
        )
    if options.bundle is not None and options.target is None:
        raise UsageError("what shall run the bundle?", fix="add --target, one of tensorrt, tensorrt-rtx, openvino, ...")
    if options.run_directory is not None:
        make_bundle.export(options, settings)
    if options.target is not None:
        bundle = load_bundle(options.bundle or options.out)
        for product in PRODUCTS:
            if options.target == product:
                _build(product, bundle, options, settings.inspection.engines_folder)
                return 0
        _try(bundle, options.target, options.rung, settings.inspection.threads)
    return 0


def _check(options: argparse.Namespace, settings: Settings) -> int:
    """The gate's exit code."""
    here = options.target in (None, *CPU_BACKENDS) and options.rung in ("auto", "int8", "fp32")
    if options.bundle is None or options.data is None or not here:
        raise UsageError(
            "export --check replays parts through a bundle's FP32 network and what runs on the processor",
            fix="give --bundle BUNDLE and --data NORMALS; --target openvino or onnxruntime, --precision int8 or fp32",
        )
    backend = options.target or settings.inspection.backend
    inspection = settings.inspection.model_copy(update={"backend": backend, "precision": options.rung})
    return gate(options, settings.model_copy(update={"inspection": inspection}))


def _build(product: Product, bundle: ModelBundle, options: argparse.Namespace, engines: Path | None) -> None:
    """Build the rung that is asked for, or go down the ladder until one can be built, and tell what was refused."""
    ladder = needs("export.precision_fallback", "export")
    tensorrt = open_tensorrt(product)
    cache = EngineCache(engines or engines_folder(bundle.path))
    rungs: tuple[CandidatePrecision, ...] = (
        ladder.CANDIDATE_PRECISIONS[product] if options.rung == "auto" else (options.rung,)
    )
    for rung in rungs:
        try:
            _build_engine(tensorrt, bundle, rung, cache, build_options(product, options.targets))
            return
        except EngineError as error:
            if rung == rungs[-1]:
                raise
            say(f"{rung} is refused, the next precision is tried: {error.message}")


def _build_engine(
    tensorrt: TensorRt, bundle: ModelBundle, rung: CandidatePrecision, cache: EngineCache, build: BuildOptions
) -> None:
    started = time.perf_counter()
    model = graph_for_engine(bundle, tensorrt.product, rung)
    cached = needs("export.engine", "export").cached_engine(tensorrt, cache, rung, model, build)
    done = f"built in {time.perf_counter() - started:.1f} s" if cached.built else "already built, and checked"
    say(
        f"{rung} engine of {tensorrt.product} {tensorrt.version}: {done}, "
        f"{len(cached.plan) / _MEGABYTE:.2f} MB, {cached.sha256[:12]}…: {cached.path}"
    )


def _try(bundle: ModelBundle, target: str, rung: str, threads: int | None) -> None:
    """CPU runtimes read the bundle as it is: that they do, and give finite numbers, is what can be prepared."""
    if rung not in ("auto", "int8", "fp32"):
        raise UsageError(f"{target} runs a bundle's int8 or fp32 network, not {rung}", fix="leave --precision out")
    precision = bundle.precision(rung)
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
