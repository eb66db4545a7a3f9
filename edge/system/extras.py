"""Packages beside `edge` that need more than the runtime does."""

from __future__ import annotations

from importlib.util import find_spec

from edge.core.errors import MissingDependency

# what the modules behind each extra import, some of it only deep inside a function
_PACKAGES = {"export": ("onnx", "onnxruntime"), "train": ("matplotlib", "onnx", "onnxruntime", "onnxscript", "torch")}


def require(extra: str) -> None:
    """Refuse now what would fail later for want of a package; imports nothing. Raises MissingDependency."""
    for package in _PACKAGES[extra]:
        if find_spec(package) is None:
            raise _missing(package, extra)


def missing_package(error: ModuleNotFoundError) -> MissingDependency | None:
    """The same for an import that failed; None where no extra brings the package."""
    package = str(error.name).split(".")[0]
    extra = next((extra for extra, packages in _PACKAGES.items() if package in packages), None)
    return None if extra is None else _missing(package, extra)


def _missing(package: str, extra: str) -> MissingDependency:
    return MissingDependency(
        f"this command needs {package}, which is not installed", fix=f"pip install 'edge-inspect[{extra}]'"
    )
