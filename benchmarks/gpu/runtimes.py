"""Whether a runtime that gpu-check would measure can be used here: `python -m benchmarks.gpu.runtimes NAME`.

A process of its own, since a library that does not fit the driver may end it.
"""

from __future__ import annotations

import argparse
import importlib

from benchmarks.program import Values, option, program
from edge.backends.gpu.tensorrt_versions import PRODUCTS, open_tensorrt
from edge.core.errors import MissingDependency

RUNTIMES = (*PRODUCTS, "onnxruntime", "torch")


def why_missing(name: str) -> str | None:
    """In words; None where it can be used."""
    for product in PRODUCTS:
        if name == product:
            try:
                open_tensorrt(product)
            except MissingDependency as error:
                return error.message
            return None
    try:
        module = importlib.import_module(name)
    except ImportError as error:
        return f"{name} cannot be imported ({error})"
    if name == "torch":
        return None if module.cuda.is_available() else f"torch {module.__version__} has no CUDA here"
    if "CUDAExecutionProvider" in module.get_available_providers():
        return None
    return f"ONNX Runtime {module.__version__} is built without CUDA (pip install onnxruntime-gpu in its place)"


@program(option("name", choices=RUNTIMES))
def main(options: argparse.Namespace) -> Values:
    """Say why a runtime cannot be used, or nothing."""
    return {"missing": why_missing(options.name)}


if __name__ == "__main__":
    raise SystemExit(main())
