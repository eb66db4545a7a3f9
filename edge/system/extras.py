"""Packages beside `edge` that need more than the runtime does."""

from __future__ import annotations

from importlib import metadata
from importlib.util import find_spec

from edge.core.errors import MissingDependency, install_extra
from edge.core.hardware import JETSON_PAGE

# what the modules behind each extra import, some of it only deep inside a function
_PACKAGES = {
    "export": ("onnx", "onnxruntime"),
    "train": ("matplotlib", "onnx", "onnxruntime", "onnxscript", "torch"),
    "sign": ("cryptography",),
    "metrics": ("prometheus_client",),
    "mqtt": ("paho",),
    "opcua": ("asyncua",),
    "plc": ("pymodbus",),
    "gpio": ("gpiod",),
    "web": ("starlette", "uvicorn"),
    "genicam": ("harvesters", "genicam"),
    "parquet": ("pyarrow",),
    "fleet": ("ray", "pandas", "pyarrow"),
}


def require(extra: str) -> None:
    """Refuse now what would fail later for want of a package; imports nothing. Raises MissingDependency."""
    for package in _PACKAGES[extra]:
        if find_spec(package) is None:
            raise _missing(package, extra)


def missing_package(error: ImportError) -> MissingDependency | None:
    """The same for an import that failed; None where no extra brings the package, and OpenCV is not the cause."""
    if not isinstance(error, ModuleNotFoundError):
        return _unusable_opencv(error)
    package = str(error.name).split(".")[0]
    extra = next((extra for extra, packages in _PACKAGES.items() if package in packages), None)
    return None if extra is None else _missing(package, extra)


def _unusable_opencv(error: ImportError) -> MissingDependency | None:
    if "numpy.core.multiarray failed to import" in str(error):
        return MissingDependency(
            f"OpenCV was built for NumPy 1, and NumPy {metadata.version('numpy')} is installed",
            fix=f"pip install 'numpy<2' where OpenCV is the system's (for a Jetson see {JETSON_PAGE}), or else "
            "pip install --upgrade opencv-python-headless",
        )
    if str(error.name).split(".")[0] == "cv2":
        return MissingDependency(
            f"OpenCV cannot be imported: {error}",
            fix="pip install --force-reinstall opencv-python-headless, which needs no display libraries",
        )
    return None


def _missing(package: str, extra: str) -> MissingDependency:
    return MissingDependency(f"this command needs {package}, which is not installed", fix=install_extra(extra))
