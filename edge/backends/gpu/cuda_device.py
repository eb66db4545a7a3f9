"""The GPU that engines are built for, asked of the driver itself: no toolkit, no pycuda, no context is made."""

from __future__ import annotations

import ctypes
import re
from dataclasses import dataclass
from pathlib import Path

from edge.core.errors import MissingDependency
from edge.core.hardware import SYSTEM_ROOT, jetson_release

_LIBRARIES = ("libcuda.so.1", "nvcuda.dll")
# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR, _INTEGRATED, _MULTIPROCESSOR_COUNT
_MAJOR, _MINOR, _INTEGRATED, _MULTIPROCESSORS = 75, 76, 18, 16
_NAME_BYTES = 256


@dataclass(frozen=True)
class CudaDevice:
    """name: as the driver calls it. compute_capability: "8.6". driver: its own version. cuda: that which it speaks.

    integrated: it has no memory of its own (Jetson): what it takes, the system lacks. multiprocessors: how many blocks
    of a kernel have one to themselves.
    """

    name: str
    compute_capability: str
    driver: str
    cuda: str
    integrated: bool = False
    multiprocessors: int = 0


def read_cuda_device(ordinal: int = 0, library: str | None = None, root: Path = SYSTEM_ROOT) -> CudaDevice:
    """The GPU of this number among those visible to the process; raises MissingDependency when none answers."""
    cuda = open_driver(library)
    _check(cuda.cuInit(0), "cuInit")
    version, count, device = ctypes.c_int(), ctypes.c_int(), ctypes.c_int()
    _check(cuda.cuDriverGetVersion(ctypes.byref(version)), "cuDriverGetVersion")
    _check(cuda.cuDeviceGetCount(ctypes.byref(count)), "cuDeviceGetCount")
    if ordinal >= count.value:
        raise MissingDependency(
            f"there is no GPU {ordinal}: the driver shows {count.value}",
            fix="check nvidia-smi and CUDA_VISIBLE_DEVICES",
        )
    _check(cuda.cuDeviceGet(ctypes.byref(device), ordinal), "cuDeviceGet")
    name = ctypes.create_string_buffer(_NAME_BYTES)
    _check(cuda.cuDeviceGetName(name, _NAME_BYTES, device), "cuDeviceGetName")
    major, minor, integrated, multiprocessors = (
        _attribute(cuda, device, each) for each in (_MAJOR, _MINOR, _INTEGRATED, _MULTIPROCESSORS)
    )
    return CudaDevice(
        name=name.value.decode(errors="replace"),
        compute_capability=f"{major}.{minor}",
        driver=_driver_version(root),
        cuda=f"{version.value // 1000}.{version.value % 1000 // 10}",
        integrated=integrated == 1,
        multiprocessors=multiprocessors,
    )


def open_driver(library: str | None = None) -> ctypes.CDLL:
    """The NVIDIA driver's library; raises MissingDependency."""
    for name in _LIBRARIES if library is None else (library,):
        try:
            return ctypes.CDLL(name)
        except OSError:
            continue
    raise MissingDependency(
        "this machine has no NVIDIA driver (libcuda is not there)",
        fix="build on the device that will run the engine, or use --target tensorrt-rtx, which needs no GPU",
    )


def _attribute(cuda: ctypes.CDLL, device: ctypes.c_int, attribute: int) -> int:
    value = ctypes.c_int()
    _check(cuda.cuDeviceGetAttribute(ctypes.byref(value), attribute, device), "cuDeviceGetAttribute")
    return value.value


def _check(status: int, call: str) -> None:
    if status != 0:
        raise MissingDependency(
            f"the NVIDIA driver answers {call} with error {status}",
            fix="check nvidia-smi; a driver that was just updated needs a restart of the machine",
        )


def _driver_version(root: Path) -> str:
    try:
        text = (root / "proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        text = ""
    match = re.search(r"\b(\d{3,}\.\d+(?:\.\d+)?)\b", text)
    return match.group(1) if match else jetson_release(root) or "unknown"
