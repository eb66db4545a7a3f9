"""What our source asks of pycuda and of the CUDA driver, and names.json: what the real ones have.

    python -m tests.edge.backends.gpu.driver.names

writes names.json anew, where pycuda can be imported (any libcuda will do) and a CUDA toolkit's cuda.h is installed.
"""

from __future__ import annotations

import ast
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.paths import ROOT

TABLE = Path(__file__).with_name("names.json")
PYCUDA_FILES = ("edge/backends/gpu/cuda_session.py", "edge/kernels/cuda/launch.py", "benchmarks/gpu/gpu_timing.py")
DRIVER_FILE = "edge/backends/gpu/cuda_driver.py"
# how our source calls what it has of pycuda → the class
VARIABLES = {
    "cuda": "driver", "_cuda": "driver", "context": "Context", "_context": "Context", "_stream": "Stream",
    "allocation": "DeviceAllocation", "base": "PagelockedHostAllocation", "_module": "Module", "function": "Function",
    "_first": "Event", "_last": "Event",
}  # fmt: skip
CLASSES = sorted({name for name in VARIABLES.values() if name != "driver"} | {"Device"})
# of ours, by the same name as pycuda's
_OURS = {("edge/kernels/cuda/launch.py", "launch")}
_HEADER = Path("/usr/local/cuda/include/cuda.h")


def pycuda_uses() -> Iterator[tuple[str, str, str]]:
    """(class, member, where) of every use in our source."""
    for file in PYCUDA_FILES:
        for node in ast.walk(ast.parse((ROOT / file).read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute):
                owner = node.value
                name = owner.attr if isinstance(owner, ast.Attribute) else getattr(owner, "id", "")
                if name in VARIABLES and (file, node.attr) not in _OURS:
                    yield VARIABLES[name], node.attr, f"{file}:{node.lineno}"
                if isinstance(owner, ast.Call) and getattr(owner.func, "attr", "") == "Device":
                    yield "Device", node.attr, f"{file}:{node.lineno}"


def driver_uses() -> Iterator[tuple[str, int, str]]:
    """(function, number of arguments, where) of every call in our source."""
    for node in ast.walk(ast.parse((ROOT / DRIVER_FILE).read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        where = f"{DRIVER_FILE}:{node.lineno}"
        if node.func.attr in ("call", "bound") and isinstance(node.args[0], ast.Constant):
            yield str(node.args[0].value), len(node.args) - 1, where
        elif node.func.attr.startswith("cu"):
            yield node.func.attr, len(node.args), where


def driver_functions(header: str) -> dict[str, int]:
    """Symbol of the library → number of arguments, from the text of cuda.h, which gives the newest version of each."""
    # some have one name for the compiler and another in the library
    header = re.sub(r"__CUDA_API_PTSZ\((\w+)\)", r"\1", header)
    symbols = dict(re.findall(r"^#define (cu\w+)\s+(cu\w+)\s*$", header, re.MULTILINE))
    functions = {}
    for name, arguments in re.findall(r"^CUresult CUDAAPI (cu\w+)\(([^;]*)\);", header, re.MULTILINE):
        functions[symbols.get(name, name)] = 0 if arguments.strip() in ("", "void") else arguments.count(",") + 1
    return functions


def pycuda_names() -> dict[str, list[str]]:
    driver: Any = importlib.import_module("pycuda.driver")
    names = {"driver": sorted(name for name in dir(driver) if not name.startswith("_"))}
    return names | {
        each: sorted(name for name in dir(getattr(driver, each)) if not name.startswith("_")) for each in CLASSES
    }


def main() -> None:
    header = driver_functions((Path(sys.argv[1]) if len(sys.argv) > 1 else _HEADER).read_text(errors="replace"))
    wanted = {name for name, _, _ in driver_uses()}
    table = {
        "cuda.h": {name: count for name, count in sorted(header.items()) if name in wanted},
        "pycuda": pycuda_names(),
    }
    TABLE.write_text(json.dumps(table, indent=1) + "\n")


if __name__ == "__main__":
    main()
