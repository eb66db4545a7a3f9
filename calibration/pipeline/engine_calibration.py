"""An engine of a bundle: its graph, its calibration through the GPU, and the backend that the gate judges."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

from calibration.ranges import ranges_from_bytes
from edge.backends.base import Backend
from edge.backends.cpu import Network
from edge.backends.gpu.engine_cache import BuildOptions
from edge.backends.gpu.gpu_tensorrt import engine_backend, fetched_network, open_engines
from edge.backends.gpu.tensorrt_versions import RTX_TARGETS, Product
from edge.bundles.bundle import Calibration, ModelBundle
from edge.core.errors import BundleError
from edge.system.extras import require
from export.engine import cached_engine
from export.precision_fallback import CandidatePrecision, graph_of_precision

# (network that is calibrated, hash of what it runs) → its calibration
Calibrate = Callable[[Network, str], Calibration]


class EngineSession:
    """The engines of one bundle on this machine's GPU, built when they are asked for."""

    def __init__(self, bundle: ModelBundle, product: Product, engines: Path | None, build: BuildOptions) -> None:
        """Raises MissingDependency where TensorRT is missing, or it needs a GPU to build and there is none."""
        self._bundle, self._build = bundle, build
        self.product = product
        self._store = open_engines(product, bundle.path, engines)

    def calibrated(self, candidate: CandidatePrecision, calibrate: Calibrate) -> tuple[Backend, Calibration]:
        """The backend that runs the engine of a candidate precision, and what calibrating it through the GPU gave.

        Raises EngineError when TensorRT refuses the graph, MissingDependency when no GPU can run it.
        """
        bundle, store = self._bundle, self._store
        graph = graph_for_engine(bundle, store.tensorrt.product, candidate)
        cached = cached_engine(store.tensorrt, store.cache, candidate, graph, self._build)
        network = fetched_network(store, cached, bundle.manifest)
        try:
            calibration = calibrate(network, cached.sha256)
        finally:
            network.close()
        backend = engine_backend(store, cached, bundle.manifest, bundle.preprocess, calibration, maps_above=-1.0)
        return backend, calibration


def build_options(product: Product, capabilities: Sequence[int] | None) -> BuildOptions:
    """capabilities: of the GPUs to build for, None for the usual ones; RTX has a list of its own."""
    return BuildOptions(targets=tuple(capabilities or (RTX_TARGETS if product == "tensorrt-rtx" else ())))


def graph_for_engine(bundle: ModelBundle, product: Product, candidate: CandidatePrecision) -> bytes:
    """The graph that TensorRT is given: from the FP32 network, the ranges, and the layers found sensitive."""
    require("export")
    model = bundle.read("model_fp32")
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
