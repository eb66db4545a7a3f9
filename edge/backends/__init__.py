"""Networks on devices. open_backend() is the only chooser."""

from __future__ import annotations

import importlib.util
import logging

from edge.backends.base import Backend
from edge.bundle import ModelBundle
from edge.errors import MissingDependency
from edge.telemetry import refuse_telemetry

# in the order `auto` tries them; the modules import their runtime only when a network is opened
CPU_BACKENDS = ("openvino", "onnxruntime")

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
) -> Backend:
    """Open the bundle's network, with its calibration, on the backend named.

    `auto` takes the first installed of CPU_BACKENDS and logs which. uncalibrated: statistics of another engine will do.
    Raises MissingDependency, BundleError.
    """
    from edge.backends.cpu import CpuBackend, open_network

    chosen = choose_backend(name)
    calibration = bundle.calibration(precision, uncalibrated=uncalibrated)
    network = open_network(chosen, bundle.read(f"model_{precision}"), bundle.manifest, threads)
    return CpuBackend(network, bundle.manifest, bundle.preprocess, calibration, bundle.engine_sha256(precision))


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
            f"no backend is installed; looked for {', '.join(CPU_BACKENDS)}", fix="pip install 'edge-inspect[cpu]'"
        )
    if not installed(name):
        raise MissingDependency(
            f"the backend {name} is not installed", fix=f"pip install {name}, or use --backend auto"
        )
    return name
