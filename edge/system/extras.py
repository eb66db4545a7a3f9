"""Packages beside `edge` that need more than the runtime does."""

from __future__ import annotations

import importlib
import sys
from contextlib import nullcontext
from importlib.util import find_spec
from typing import Any

from edge.core.errors import MissingDependency
from edge.core.progress import working

# what the modules behind each extra import, some of it only deep inside a function
_PACKAGES = {
    "cpu": (),
    "export": ("onnx", "onnxruntime"),
    "train": ("matplotlib", "onnx", "onnxruntime", "onnxscript", "torch"),
}


def needs(module: str, extra: str) -> Any:
    """Import a module of the packages beside `edge`, naming the extra that brings what it lacks."""
    require(extra)
    try:
        with working("loading the libraries") if module not in sys.modules else nullcontext():
            return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise _missing(str(error.name), extra) from error


def require(extra: str) -> None:
    """Refuse now what would fail later for want of a package; imports nothing."""
    for package in _PACKAGES[extra]:
        if find_spec(package) is None:
            raise _missing(package, extra)


def _missing(package: str, extra: str) -> MissingDependency:
    return MissingDependency(
        f"this command needs {package}, which is not installed", fix=f"pip install 'edge-inspect[{extra}]'"
    )
