"""What this machine has, what is missing, and what to do about it."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from edge.backends.gpu.cuda_device import read_cuda_device
from edge.backends.gpu.tensorrt_versions import PRODUCTS, Product, open_tensorrt
from edge.backends.openvino_core import openvino_core
from edge.backends.telemetry import refuse_telemetry
from edge.core.config import RecordSettings, Settings
from edge.core.errors import EdgeInspectError, HiddenDependency, MissingDependency, install_extra
from edge.core.hardware import (
    JETSON_PAGE,
    SYSTEM_ROOT,
    Gpus,
    Processor,
    VideoDevice,
    find_cameras,
    find_gpus,
    jetson_release,
    read_processor,
)
from edge.kernels.cuda.build import find_images, local_compiler
from edge.system.findings import Finding, State
from edge.system.installation import check_siblings
from edge.system.plant_findings import plant_findings

TESTED_PYTHON = ((3, 10), (3, 12))
PACKAGES = ("numpy", "pydantic", "pyyaml", "rich")
OPENCV_PACKAGES = ("opencv-python", "opencv-python-headless", "opencv-contrib-python", "opencv-contrib-python-headless")
# below this the records of the next days are at risk, whatever the settings say
LITTLE_DISK_MB = 2000

# installed: a version with devices. absent: None. broken: the exception
Probe = str | None | Exception


def diagnose(
    settings: Settings,
    bundle_path: Path | None,
    *,
    check_bundle: Callable[[Path], str] | None = None,
    root: Path = SYSTEM_ROOT,
) -> list[Finding]:
    """Look at everything an inspection needs, in the order a person would.

    check_bundle: describes a valid bundle in a few words, and raises an EdgeInspectError otherwise; None: only whether
    the directory is there. bundle_path: None for a group, whose cameras' bundles are looked at beside. root: the file
    system that tells about processor, GPU and cameras.
    """
    refuse_telemetry()
    gpus, processor = find_gpus(root), read_processor(root)
    return [
        python_finding(sys.version_info[:3]),
        packages_finding(),
        installation_finding(),
        *backend_findings(
            settings.inspection.backend, probe("openvino", _openvino), probe("onnxruntime", _onnxruntime)
        ),
        processor_finding(processor),
        instructions_finding(processor),
        *gpu_findings(gpus, settings.inspection.backend, _gpu_parts(root) if gpus.names else {}),
        opencv_finding(jetson=jetson_release(root) is not None),
        *camera_findings(find_cameras(root)),
        record_finding(settings.record),
        *plant_findings(settings),
        *([] if bundle_path is None else [bundle_finding(bundle_path, check_bundle)]),
    ]


# --- software


def python_finding(version: tuple[Any, ...]) -> Finding:
    value = ".".join(str(part) for part in version[:3])
    first, last = TESTED_PYTHON
    if first <= tuple(version[:2]) <= last:
        return Finding("python", State.OK, value)
    span = f"{first[0]}.{first[1]} to {last[0]}.{last[1]}"
    fix = f"use Python {span}, the versions that are tested"
    return Finding("python", State.WARN if tuple(version[:2]) > last else State.FAIL, value, fix)


def packages_finding(version_of: Callable[[str], str | None] | None = None) -> Finding:
    version_of = version_of or _version
    versions = {package: version_of(package) for package in PACKAGES}
    value = ", ".join(f"{package} {version or 'MISSING'}" for package, version in versions.items())
    if all(versions.values()):
        return Finding("packages", State.OK, value)
    return Finding("packages", State.FAIL, value, "install edge-inspect again: pip install edge-inspect")


def installation_finding(check: Callable[[], None] = check_siblings) -> Finding:
    try:
        check()
    except EdgeInspectError as error:
        return Finding("installation", State.FAIL, error.message, error.fix)
    return Finding("installation", State.OK, str(Path(__file__).parents[2]))


def backend_findings(wanted: str, openvino: Probe, onnxruntime: Probe) -> list[Finding]:
    """Whether the chosen backend can run; with `auto` one of the two is enough, openvino being the default."""
    probes = {"openvino": openvino, "onnxruntime": onnxruntime}
    usable = [name for name, result in probes.items() if isinstance(result, str)]
    findings = []
    for name, result in probes.items():
        if isinstance(result, str):
            findings.append(Finding(name, State.OK, result))
            continue
        value = "not installed" if result is None else f"does not start: {result}"
        needed = wanted == name or (wanted == "auto" and not usable)
        if not needed and (wanted != "auto" or name != "openvino") and result is None:
            findings.append(Finding(name, State.OK, f"{value}, and not needed: {(usable or [wanted])[0]} is used"))
            continue
        state = State.FAIL if needed else State.WARN
        findings.append(Finding(name, state, value, f"install the CPU backends: {install_extra('cpu')}"))
    return findings


def probe(module: str, describe: Callable[[Any], str] | None = None) -> Probe:
    """What `describe` says about the imported module, its package's version by default."""
    package = module.split(".")[0]
    try:
        imported = importlib.import_module(module)
        return describe(imported) if describe else _version(package) or "version unknown"
    except ModuleNotFoundError as error:
        return None if error.name == package else error
    except (ImportError, OSError, RuntimeError) as error:
        return error


def _openvino(openvino: Any) -> str:
    return f"{openvino.__version__.split('-')[0]}, devices: {', '.join(openvino_core().available_devices)}"


def _onnxruntime(onnxruntime: Any) -> str:
    return f"{onnxruntime.__version__}, providers: {', '.join(onnxruntime.get_available_providers())}"


def opencv_finding(
    *, jetson: bool, build_information: str | None = None, version_of: Callable[[str], str | None] | None = None
) -> Finding:
    """Whether OpenCV imports, only once, and what it can open. build_information: OpenCV's own, when None."""
    try:
        import cv2
    except (ImportError, OSError) as error:
        fix = "pip install --force-reinstall opencv-python-headless, which needs no display libraries"
        return Finding("opencv", State.FAIL, f"does not import: {error}", fix)
    text = cv2.getBuildInformation() if build_information is None else build_information
    has = {name: _built_with(text, key) for name, key in (("FFmpeg", "ffmpeg"), ("GStreamer", "gstreamer"))}
    has["V4L2"] = _built_with(text, "v4l/v4l2")
    value = f"{cv2.__version__}: " + ", ".join(f"{name} {'yes' if there else 'no'}" for name, there in has.items())
    installed = [name for name in OPENCV_PACKAGES if (version_of or _version)(name)]
    if len(installed) > 1:
        fix = f"they overwrite each other: pip uninstall {' '.join(installed)}; pip install opencv-python-headless"
        return Finding("opencv", State.WARN, f"{value}; installed more than once: {', '.join(installed)}", fix)
    if jetson and not has["GStreamer"]:
        fix = (
            "CSI cameras need the system's OpenCV: make the environment with --system-site-packages, "
            "then pip uninstall opencv-python-headless"
        )
        return Finding("opencv", State.WARN, value, fix)
    if not has["FFmpeg"] and not has["GStreamer"]:
        fix = "video files and network streams need one of them: pip install opencv-python-headless"
        return Finding("opencv", State.WARN, value, fix)
    if sys.platform.startswith("linux") and not has["V4L2"]:
        fix = "USB cameras need it: pip install opencv-python-headless"
        return Finding("opencv", State.WARN, value, fix)
    return Finding("opencv", State.OK, value)


def _built_with(build_information: str, key: str) -> bool:
    for line in build_information.splitlines():
        name, _, value = line.partition(":")
        if name.strip().lower() == key:
            return value.strip().upper().startswith("YES")
    return False


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


# --- hardware


def processor_finding(processor: Processor) -> Finding:
    features = " ".join(processor.features) or "no vector instructions known to help"
    return Finding("processor", State.OK, f"{processor.name}, {processor.cores} cores, {features}")


# how many times as long it takes without them: benchmarks/results/amd-epyc-2-cores/instructions.json, a test holds
# them equal
INT8_WITHOUT_AVX512, INT8_WITHOUT_VNNI, TRAINING_WITHOUT_BF16 = 1.8, 1.7, 1.3


def instructions_finding(processor: Processor) -> Finding:
    """Which vector instructions the processor lacks, and what that costs; it inspects without them, too."""
    has = set(processor.features)
    if has & {"asimd", "asimddp", "i8mm"}:
        return Finding("instructions", State.OK, "ARM: what it lacks was not measured")
    if "avx2" not in has:
        fix = "measure before it goes to a line: edge-inspect benchmark; a processor with AVX2 is what was tried"
        return Finding("instructions", State.WARN, "no AVX2: much slower than all that was measured", fix)
    lacks = []
    if "avx512f" not in has:
        vnni = " at most (it has AVX-VNNI, which was not measured)" if "avx_vnni" in has else ""
        lacks.append(f"no AVX-512: INT8 takes {INT8_WITHOUT_AVX512} times as long{vnni}")
    elif "avx512_vnni" not in has:
        lacks.append(f"no AVX-512 VNNI: INT8 takes {INT8_WITHOUT_VNNI} times as long")
    if not has & {"avx512_bf16", "amx_bf16"}:
        lacks.append(f"no bfloat16: training computes in float32 and takes {TRAINING_WITHOUT_BF16} times as long")
    return Finding("instructions", State.OK, "; ".join(lacks) or "all that the networks can use")


def gpu_findings(gpus: Gpus, wanted: str, parts: Mapping[str, Probe]) -> list[Finding]:
    """The GPU and what would drive it; inspection runs on the CPU without any, unless a GPU's backend is wanted.

    parts: pycuda, kernels, and the two products of TensorRT, of which the one wanted is needed.
    """
    missing = State.FAIL if wanted in PRODUCTS else State.WARN
    if gpus.problem is not None:
        fix = "install or repair the NVIDIA driver, then restart; --backend auto inspects on the CPU meanwhile"
        return [Finding("gpu", missing, f"there, but its driver does not answer: {gpus.problem}", fix)]
    if not gpus.names:
        if wanted in PRODUCTS:
            fix = "use --backend auto, which inspects on the CPU"
            return [Finding("gpu", State.FAIL, f"no NVIDIA GPU, and the settings want {wanted}", fix)]
        return [Finding("gpu", State.OK, "no NVIDIA GPU; inspection runs on the CPU")]
    findings = [Finding("gpu", State.OK, "; ".join(gpus.names))]
    for name, result in parts.items():
        needed = wanted in PRODUCTS and (name == wanted or name not in PRODUCTS)
        state = State.FAIL if needed else State.WARN
        if isinstance(result, str):
            findings.append(Finding(name, State.OK, result))
        elif result is None and not needed:
            findings.append(Finding(name, State.OK, "not there; inspection runs on the CPU"))
        elif isinstance(result, EdgeInspectError):
            findings.append(Finding(name, state, result.message, result.fix))
        else:
            value = "not there" if result is None else f"does not start: {result}"
            findings.append(Finding(name, state, value, _GPU_FIXES.get(name, _GPU_FIXES["others"])))
    return findings


_GPU_FIXES = {
    "pycuda": "pip install --no-cache-dir pycuda, with nvcc of this machine's CUDA on PATH (after a change of it with "
    f"--force-reinstall --no-deps); for a Jetson see {JETSON_PAGE}",
    "kernels": "make kernels on any machine with a CUDA toolkit no newer than this driver, or pip install its NVRTC",
    "others": "install it again for this CUDA version; --backend auto inspects on the CPU without it",
}


def _gpu_parts(root: Path) -> dict[str, Probe]:
    return {
        "pycuda": probe("pycuda.driver"),
        "kernels": _kernels(),
        **{product: _product(product, root) for product in PRODUCTS},
    }


def _kernels() -> Probe:
    """Whether compiled kernels for this GPU are there, or can be made at the first start."""
    try:
        device = read_cuda_device()
    except EdgeInspectError as error:
        return error
    found = find_images(None, device.compute_capability, device.cuda)
    if found:
        return str(found[0].path)
    compiler = local_compiler(device.compute_capability, device.cuda)
    return None if compiler is None else f"compiled at the first start, by {compiler.name}"


def _product(product: Product, root: Path) -> Probe:
    try:
        return open_tensorrt(product, root).version
    except HiddenDependency as error:
        return error
    except MissingDependency:
        return None


def camera_findings(cameras: Sequence[VideoDevice], platform: str = sys.platform) -> list[Finding]:
    if not platform.startswith("linux"):
        return [Finding("camera", State.OK, f"cameras cannot be listed on {platform}; try --camera 0")]
    if not cameras:
        fix = "connect a USB camera and look again; streams, files and `--camera demo` work without"
        return [Finding("camera", State.WARN, "no /dev/video* device", fix)]
    findings = []
    for camera in cameras:
        name, value = f"camera {camera.number}", f"{camera.name} ({camera.path})"
        if not camera.may_open:
            fix = "let this user use cameras: sudo usermod -aG video $USER, then log in again"
            findings.append(Finding(name, State.WARN, f"{value}: no permission", fix))
        elif camera.used_by:
            users = ", ".join(camera.used_by)
            fix = "end that program before the inspection starts, or choose another camera"
            findings.append(Finding(name, State.WARN, f"{value}: in use by {users}", fix))
        else:
            findings.append(Finding(name, State.OK, value))
    return findings


# --- what an inspection reads and writes


def record_finding(
    settings: RecordSettings, free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free
) -> Finding:
    """Whether verdicts can be written, and whether the pictures that the settings allow will fit."""
    if settings.directory is None:
        return Finding("records", State.OK, "off (record.directory is null)")
    directory = Path(settings.directory).absolute()
    fix = "choose a directory this user may write: record.directory in config.yaml"
    try:
        existing = next(path for path in (directory, *directory.parents) if path.exists())
        # tried, not looked up: a read-only mount grants every permission and refuses every write
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return Finding("records", State.FAIL, f"{directory} cannot be written: {error.strerror}", fix)
    free_mb = free_bytes(existing) / 1e6
    value = f"{directory}, {free_mb:,.0f} MB free"
    if free_mb < LITTLE_DISK_MB:
        return Finding("records", State.WARN, value, f"free at least {LITTLE_DISK_MB} MB, or record to another disk")
    if settings.max_image_mb is not None:
        growth_mb = settings.max_image_mb - _size_mb(directory / "images")
        if growth_mb > free_mb:
            return Finding(
                "records",
                State.WARN,
                f"{value}; pictures may still grow by {growth_mb:,.0f} MB",
                "lower record.max_image_mb in config.yaml, or record to a larger disk",
            )
    return Finding("records", State.OK, value)


def _size_mb(directory: Path) -> float:
    total = 0
    for folder, _, files in os.walk(directory):
        for file in files:
            try:
                total += (Path(folder) / file).stat().st_size
            except FileNotFoundError:
                # a running inspection deletes old pictures
                continue
    return total / 1e6


def bundle_finding(path: Path, check: Callable[[Path], str] | None) -> Finding:
    if not path.is_dir():
        fix = "give --bundle or inspection.bundle the directory that `edge-inspect train` or `export` wrote"
        return Finding("bundle", State.FAIL, f"{path}: no such directory", fix)
    if check is None:
        return Finding("bundle", State.OK, f"{path} (not checked)")
    try:
        return Finding("bundle", State.OK, f"{path}: {check(path)}")
    except EdgeInspectError as error:
        return Finding("bundle", State.FAIL, error.message, error.fix)
