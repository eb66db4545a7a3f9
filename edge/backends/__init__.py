"""Networks on devices. open_backend() is the only chooser."""

from __future__ import annotations

import importlib.util
import logging
import os

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
    bundle: ModelBundle, name: str = "auto", precision: str = "int8", threads: int | None = None
) -> Backend:
    """Open the bundle's network, with its calibration, on the backend named.

    `auto` takes the first installed of CPU_BACKENDS and logs which. Raises MissingDependency, BundleError.
    """
    return open_backends(bundle, name, precision, threads, count=1)[0]


def open_backends(
    bundle: ModelBundle, name: str, precision: str, threads: int | None, count: int
) -> tuple[Backend, ...]:
    """Open `count` backends for as many threads to call at the same time; they share `threads`, None for all cores.

    Otherwise like open_backend. All give the same scores.
    """
    from edge.backends.cpu import CpuBackend, open_network

    chosen = choose_backend(name)
    calibration = bundle.calibration(precision)
    manifest, model = bundle.manifest, bundle.read(f"model_{precision}")
    if chosen == "openvino":
        from edge.backends.cpu_openvino import OpenVinoBackend, OpenVinoEngine

        engine = OpenVinoEngine(model, manifest, calibration, threads, count)
        return tuple(OpenVinoBackend(engine, manifest, bundle.preprocess, calibration) for _ in range(count))
    share = threads if count == 1 else max(1, (threads or usable_cores()) // count)
    networks = [open_network(chosen, model, manifest, share) for _ in range(count)]
    return tuple(CpuBackend(network, manifest, bundle.preprocess, calibration) for network in networks)


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
            f"no backend is installed; looked for {', '.join(CPU_BACKENDS)}", fix="pip install 'edge-inspect[cpu]'"
        )
    if not installed(name):
        raise MissingDependency(
            f"the backend {name} is not installed", fix=f"pip install {name}, or use --backend auto"
        )
    return name
