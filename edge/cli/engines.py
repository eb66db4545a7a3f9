"""export: a run into a bundle, a bundle into what its target runs, or both in one go."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from edge.backends import choose_backend
from edge.backends.cpu import open_network
from edge.bundle import ModelBundle, load_bundle
from edge.cli import make_bundle
from edge.cli.optional import needs
from edge.cli.progress import say
from edge.config import Settings
from edge.engine_cache import BuildOptions, EngineCache
from edge.errors import BundleError, UsageError
from edge.tensorrt_versions import PRODUCTS, RTX_TARGETS, Product, open_tensorrt

_MEGABYTE = 1e6


def export(options: argparse.Namespace, settings: Settings) -> int:
    """Make the bundle if a run is given, then prepare it for the target if one is given."""
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
        model = bundle.read(bundle.graph_key(options.target, options.target_precision))
        for product in PRODUCTS:
            if options.target == product:
                _build(product, bundle, model, options)
                return 0
        _try(bundle, model, options.target, options.target_precision, settings.inspection.threads)
    return 0


def engines_folder(bundle: Path) -> Path:
    """Where a bundle's engines are kept: beside it, since they belong to a machine and it does not."""
    path = bundle.resolve()
    return path.with_name(path.name + ".engines")


def _build(product: Product, bundle: ModelBundle, model: bytes, options: argparse.Namespace) -> None:
    engine_module = needs("export.engine", "export")
    tensorrt = open_tensorrt(product)
    targets = tuple(options.targets or RTX_TARGETS) if product == "tensorrt-rtx" else tuple(options.targets or ())
    cache = EngineCache(options.engines or engines_folder(bundle.path))
    started = time.perf_counter()
    cached = engine_module.cached_engine(
        tensorrt, cache, options.target_precision, model, BuildOptions(targets=targets)
    )
    done = f"built in {time.perf_counter() - started:.1f} s" if cached.built else "already built, and checked"
    say(
        f"{options.target_precision} engine of {product} {tensorrt.version}: {done}, "
        f"{len(cached.plan) / _MEGABYTE:.2f} MB, {cached.sha256[:12]}…: {cached.path}"
    )


def _try(bundle: ModelBundle, model: bytes, target: str, precision: str, threads: int | None) -> None:
    """CPU runtimes read the bundle as it is: that they do, and give finite numbers, is what can be prepared."""
    network = open_network(choose_backend(target), model, bundle.manifest, threads)
    outputs = network.run()
    if not all(np.isfinite(values).all() for values in vars(outputs).values() if values is not None):
        raise BundleError(
            f"{target} computes numbers that are not finite from the {precision} network",
            fix="make the bundle anew, or use `--precision fp32`",
        )
    network.close()
    say(f"{target} runs the {precision} network of {bundle.path} as it is; nothing needs building")
