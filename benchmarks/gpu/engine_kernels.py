"""What an engine of TensorRT for RTX is made of: `python -m benchmarks.gpu.engine_kernels [--bundle BUNDLE ...]`.

No GPU: the build log names every kernel with the types and shapes of what it reads and writes. Counted are kernels, and
the bytes of activations that they read and write for a picture, caches or not. How long a kernel takes is not known.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from pathlib import Path

from benchmarks.program import Values, option, program
from calibration.pipeline.engines import graph_for_engine
from edge.backends.gpu.tensorrt_versions import RTX_TARGETS, open_tensorrt
from edge.bundles.bundle import load_bundle
from edge.core.errors import EngineError
from edge.samples import sample_bundle
from export.precision_fallback import CANDIDATE_PRECISIONS

_BYTES = {"Float": 4, "Int32": 4, "Half": 2, "Int64": 8, "Int8": 1, "Bool": 1}
_KERNEL = re.compile(r"^Name: ([^,]+), LayerType: (\w+), (.*)$", re.MULTILINE)
_TENSOR = re.compile(r"Name: [^,]+, Dimensions: \[([\d,]*)\],.*?Datatype: (\w+)")
_LISTS = re.compile(r"(Inputs|Outputs): \[(.*?)\](?=, (?:Constants|Outputs|TacticName))")
# no work of their own: they let two streams of kernels wait for each other
_WAITING = ("signal", "wait")
_BUILD_TIMEOUT_S = 600


@dataclass(frozen=True)
class Tensor:
    """kind: TensorRT's name of its type, such as "Half"."""

    shape: tuple[int, ...]
    kind: str

    @property
    def bytes(self) -> int:
        return prod(self.shape) * _BYTES[self.kind]


@dataclass(frozen=True)
class EngineKernel:
    """kind: "correlation" for a convolution, "kgen" for what TensorRT writes itself. inputs: without weights."""

    name: str
    kind: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]

    @property
    def types(self) -> str:
        """Such as "Int8 → Half"."""
        return " → ".join(", ".join(tensor.kind for tensor in side) for side in (self.inputs, self.outputs))

    @property
    def bytes(self) -> int:
        return sum(tensor.bytes for tensor in (*self.inputs, *self.outputs))


def kernels_of(graph: bytes, capability: int) -> tuple[EngineKernel, ...]:
    """The kernels of the engine that TensorRT for RTX makes of an ONNX graph; capability: 86 for 8.6.

    Raises EngineError where it refuses the graph, MissingDependency where it is not installed.
    """
    tensorrt = open_tensorrt("tensorrt-rtx")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "graph.onnx"
        path.write_bytes(graph)
        command = [sys.executable, "-m", "benchmarks.gpu.engine_log", str(path), str(capability)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=_BUILD_TIMEOUT_S, check=False)
    found = tuple(_kernel(*line.groups()) for line in _KERNEL.finditer(said.stdout) if line[2] not in _WAITING)
    if said.returncode or not found:
        words = f"{said.stdout[-1000:]}{said.stderr[-1000:]}"
        raise EngineError(
            f"tensorrt-rtx {tensorrt.version} builds no engine for {capability}: {words}", fix="try another precision"
        )
    return found


def _kernel(name: str, kind: str, rest: str) -> EngineKernel:
    sides = dict(_LISTS.findall(rest))
    inputs, outputs = (
        tuple(Tensor(_shape(shape), kind) for shape, kind in _TENSOR.findall(sides.get(side, "")))
        for side in ("Inputs", "Outputs")
    )
    return EngineKernel(name, kind, inputs, outputs)


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(side) for side in text.split(",") if side)


def summary(kernels: Sequence[EngineKernel]) -> Values:
    """Figures of one engine."""
    convolutions = Counter(kernel.types for kernel in kernels if kernel.kind == "correlation")
    return {
        "kernels": len(kernels),
        "activations_mb": round(sum(kernel.bytes for kernel in kernels) / 1e6, 1),
        "convolutions": dict(convolutions.most_common()),
    }


@program(option("--bundle", type=Path, nargs="+", default=[sample_bundle()], help="(default: the shipped one)"))
def main(options: argparse.Namespace) -> Values:
    """Every candidate precision of every bundle, for every compute capability; INT8 as TensorRT is given it, too."""
    version = open_tensorrt("tensorrt-rtx").version
    networks = []
    for path in options.bundle:
        bundle = load_bundle(path)
        model = bundle.read("model_fp32")
        graphs: dict[str, bytes] = {
            precision: graph_for_engine(bundle, "tensorrt-rtx", precision, model)
            for precision in CANDIDATE_PRECISIONS["tensorrt-rtx"]
        }
        graphs["int8 in the form for tensorrt"] = graph_for_engine(bundle, "tensorrt", "int8", model)
        engines = {
            name: {f"sm{target}": _figures(graph, target) for target in RTX_TARGETS} for name, graph in graphs.items()
        }
        manifest = bundle.manifest
        size = [manifest.input.height, manifest.input.width]
        networks.append({"network": f"{manifest.method} {manifest.variant}", "field": size, "engines": engines})
    return {"tensorrt_rtx": version, "networks": networks}


def _figures(graph: bytes, target: int) -> Values:
    try:
        return summary(kernels_of(graph, target))
    except EngineError as refusal:
        return {"refused": refusal.message[-300:]}


if __name__ == "__main__":
    raise SystemExit(main())
