"""Write names.json: what the real TensorRT bindings call their classes, members and keywords.

    python -m tests.edge.backends.tensorrt_names.record

The bindings are fetched with pip and imported against empty libraries built here, so neither the library itself nor a
GPU is needed: only a C compiler, and access to a package index.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

TABLE = Path(__file__).with_name("names.json")
RTX = "tensorrt_rtx_bindings"
# version → (requirement, number in the libraries' names)
RELEASES = {
    "8.6.1": ("tensorrt-bindings==8.6.1", 8),
    "10.3.0": ("tensorrt-cu12-bindings==10.3.0", 10),
    "11.4.0.106": ("tensorrt-cu13-bindings==11.4.0.106", 11),
}
CLASSES = (
    "Builder", "BuilderFlag", "ComputeCapability", "DataType", "EngineInvalidityDiagnostics", "EngineValidity",
    "IBuilderConfig", "ICudaEngine", "IExecutionContext", "IHostMemory", "ILayer", "ILogger", "INetworkDefinition",
    "IOptimizationProfile", "IRuntimeCache", "IRuntimeConfig", "ITensor", "ITimingCache", "LayerType", "MemoryPoolType",
    "NetworkDefinitionCreationFlag", "OnnxParser", "ParserError", "Runtime",
)  # fmt: skip

_ENTRY_POINTS = (
    "createInferBuilder_INTERNAL", "createInferRuntime_INTERNAL", "createInferRefitter_INTERNAL",
    "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry",
    "getPluginRegistry", "getBuilderSafePluginRegistry", "getNvOnnxParserVersion", "initLibNvInferPlugins",
    # of parsers that 8.6 still had; a mangled name is a C name
    "_ZN14nvcaffeparser117createCaffeParserEv", "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
    "_ZN11nvuffparser15createUffParserEv", "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
)  # fmt: skip
_LIBRARIES = ("nvinfer", "nvinfer_plugin", "nvonnxparser", "nvparsers")

# runs in a process of its own, because one process can hold one TensorRT
_DESCRIBE = r"""
import importlib, json, re, sys
trt = importlib.import_module(sys.argv[1])
SIGNATURE = re.compile(r"^(?:\d+\. )?(\w+)\((.*)\) -> (.+)$", re.MULTILINE)

def members(cls):
    found = {}
    # an enum's own
    general = {"name", "value"} if hasattr(cls, "__members__") else set()
    for name in sorted(set(dir(cls)) - general):
        if name.startswith("_") and name != "__init__":
            continue
        text = getattr(getattr(cls, name), "__doc__", None) or ""
        signatures = [match for match in SIGNATURE.findall(text) if match[0] == name and "*args" not in match[1]]
        if not signatures:
            found[name] = ""
            continue
        keywords = {word for _, given, _ in signatures for word in re.findall(r"(\w+): ", given)} - {"self"}
        found[name] = "({}) -> {}".format(", ".join(sorted(keywords)), signatures[0][2].split(".")[-1])
    return found

classes = {name: members(getattr(trt, name)) for name in sys.argv[2].split(",") if hasattr(trt, name)}
print(json.dumps({"version": trt.__version__, "classes": classes}))
"""


def describe(module: str, path: Path | None = None, libraries: Path | None = None) -> dict[str, dict[str, str]]:
    """Class → member → "(keywords) -> type" or "" of the bindings' module; raises CalledProcessError."""
    environment = {
        "PATH": "/usr/bin:/bin",
        **({} if path is None else {"PYTHONPATH": str(path)}),
        **({} if libraries is None else {"LD_LIBRARY_PATH": str(libraries)}),
    }
    # the RTX module lies wherever this process finds it
    environment.setdefault("PYTHONPATH", ":".join(entry for entry in sys.path if entry))
    command = [sys.executable, "-c", _DESCRIBE, module, ",".join(CLASSES)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=True)
    classes: dict[str, dict[str, str]] = json.loads(result.stdout)["classes"]
    return classes


def fetch(version: str, folder: Path, timeout_s: float = 60) -> Path:
    """The unpacked bindings of a release; raises CalledProcessError or TimeoutExpired when pip cannot get them."""
    requirement, _ = RELEASES[version]
    downloads = folder / "download"
    command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", "--no-input", "--retries", "0"]
    command += ["--quiet", "--no-deps", "--only-binary", ":all:", "--dest", str(downloads), requirement]
    subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=True)
    (wheel,) = downloads.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "bindings")
    return folder / "bindings"


def build_empty_libraries(version: str, folder: Path) -> Path:
    """Libraries that have the entry points the bindings ask for, and nothing behind them."""
    _, number = RELEASES[version]
    folder.mkdir(parents=True, exist_ok=True)
    source = folder / "empty.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _ENTRY_POINTS))
    for library in _LIBRARIES:
        name = f"lib{library}.so.{number}"
        command = ["gcc", "-shared", "-fPIC", "-o", str(folder / name), f"-Wl,-soname,{name}", str(source)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)
    return folder


def names_of(version: str, folder: Path) -> dict[str, dict[str, str]]:
    """The names of one release, from its real bindings."""
    with ThreadPoolExecutor(2) as both:
        bindings = both.submit(fetch, version, folder)
        libraries = both.submit(build_empty_libraries, version, folder / "libraries")
        return describe("tensorrt_bindings", bindings.result(), libraries.result())


def main() -> None:
    import tensorrt_rtx_bindings

    with tempfile.TemporaryDirectory() as folder:
        table = {version: names_of(version, Path(folder) / version) for version in RELEASES}
    table[f"rtx {tensorrt_rtx_bindings.__version__}"] = describe(RTX)
    TABLE.write_text(json.dumps(table, indent=1, sort_keys=True) + "\n")
    print(f"{TABLE}: {', '.join(table)}")


if __name__ == "__main__":
    main()
