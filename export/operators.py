"""The operator policy: what runs in INT8 on each target, what stays in floating point, and what is refused.

docs/models/export.md says why. The quantiser asks here what to quantise, so the report cannot disagree
with the graph.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

from edge.core.errors import UsageError
from export.graph import Graph, attribute, graph_from_onnx, input_convolutions, output_convolutions

Target = Literal["cpu", "tensorrt", "tensorrt-rtx"]
State = Literal["int8", "float", "refused"]

# names of all that belongs to a memory of good parts (export/memory_graph.py)
MEMORY_PREFIX = "memory_"
TARGETS: tuple[Target, ...] = ("cpu", "tensorrt", "tensorrt-rtx")
# these only move values, or pick among them: what goes in and what comes out share one scale
MOVING = frozenset({"MaxPool", "Resize"})
# happen in the step of the convolution or sum before them; Clip is ReLU6
ACTIVATIONS = frozenset({"Relu", "Clip"})
# run in INT8 where what they read was computed in INT8, and what reads them is
_CARRIED = frozenset({"Add", "AveragePool", "Concat"}) | MOVING | ACTIVATIONS
_LEARNED_PER_TOKEN = "transformer blocks gain little from INT8 and lose accuracy in it"
_FLOATING = {
    "Gemm": _LEARNED_PER_TOKEN,
    "MatMul": _LEARNED_PER_TOKEN,
    "LayerNormalization": _LEARNED_PER_TOKEN,
    "Softmax": "exponentials need more than eight bits",
    "Gelu": "breaks the fused INT8 convolution; ReLU does not",
    "Erf": "breaks the fused INT8 convolution; ReLU does not",
    "Sigmoid": "exponentials need more than eight bits",
    "LeakyRelu": "breaks the fused INT8 convolution; ReLU does not",
}
_FIRST = "sees the picture itself: its step would hide faint defects"
_LAST = "writes an output: its step would be the residual's floor"
_MEMORY = "compares with good parts: its step would be the distance's floor"
_RTX = "TensorRT for RTX fuses INT8 into plain convolutions alone, and adds, joins and moves in FP16"
_CHOSEN = "left in floating point by the sensitivity pass or the precision fallback"
_REFUSED = {
    "ConvTranspose": (TARGETS, "use a nearest Resize and a convolution: per-channel scales lie on its wrong axis"),
    "BatchNormalization": (TARGETS, "export in evaluation mode, so that it is folded into the convolution"),
    "InstanceNormalization": (TARGETS, "use batch norm, which is folded, or leave the normalisation out"),
    "If": (TARGETS, "make the choice before the export: the deployed graph has one path"),
    "Loop": (TARGETS, "unroll it before the export: the deployed graph has one path"),
    "Scan": (TARGETS, "unroll it before the export: the deployed graph has one path"),
    "NonZero": (TARGETS, "keep every shape static"),
    "TopK": (
        ("tensorrt", "tensorrt-rtx"),
        "relate places by a fixed pattern or by attention: sorting stays outside INT8 fusion",
    ),
    "GatherElements": (
        ("tensorrt", "tensorrt-rtx"),
        "relate places by a fixed pattern or by attention instead of picking neighbours",
    ),
}


@dataclass(frozen=True)
class OperatorRow:
    """One node: how it runs on each target, and why not in INT8 where it does not (empty: it does)."""

    node: str
    op: str
    runs: dict[Target, State]
    why: str = ""


@dataclass(frozen=True)
class OperatorReport:
    """Every node of a graph that computes something."""

    rows: tuple[OperatorRow, ...]

    def as_dict(self) -> list[dict[str, Any]]:
        return [asdict(row) for row in self.rows]

    def require(self, targets: Iterable[Target]) -> None:
        """Raise UsageError for the first node that one of the targets must not be given."""
        for row in self.rows:
            for target in targets:
                if row.runs[target] == "refused":
                    raise UsageError(f"{row.node} ({row.op}) is not deployed on {target}", fix=row.why)

    def shares(self) -> str:
        """How much of the graph runs in INT8, in one line."""
        counts = {target: sum(row.runs[target] == "int8" for row in self.rows) for target in TARGETS}
        shares = ", ".join(f"{count} on {target}" for target, count in counts.items())
        return f"of {len(self.rows)} operators run in INT8: {shares}"

    def summary(self) -> list[str]:
        """A line for each operator: how many of its nodes run in INT8, by target."""
        lines = []
        for op in sorted({row.op for row in self.rows}):
            rows = [row for row in self.rows if row.op == op]
            shares = []
            for target in TARGETS:
                counts = {state: sum(row.runs[target] == state for row in rows) for state in ("int8", "refused")}
                shares.append(f"{target} {'refused' if counts['refused'] else counts['int8']}")
            reasons = "; ".join(sorted({row.why for row in rows if row.why}))
            lines.append(f"{op} x{len(rows)}: INT8 on {', '.join(shares)}" + (f" ({reasons})" if reasons else ""))
        return lines


def operator_report(model_fp32: bytes, floating: Collection[str] = ()) -> OperatorReport:
    """How every operator will run; floating: names of convolutions that were chosen to stay in floating point."""
    graph = graph_from_onnx(model_fp32)
    int8 = {target: int8_nodes(graph, target, floating) for target in TARGETS}
    first, last = input_convolutions(graph), output_convolutions(graph)
    kept = {**dict.fromkeys(floating, _CHOSEN), **dict.fromkeys(first, _FIRST), **dict.fromkeys(last, _LAST)}
    rows = []
    for node in graph.nodes:
        if node.op_type == "Constant":
            continue
        refused, remedy = _refusal(node)
        runs: dict[Target, State] = {
            target: "refused" if target in refused else "int8" if node.name in int8[target] else "float"
            for target in TARGETS
        }
        why = remedy
        if not why and "float" in runs.values():
            alone = runs["cpu"] == "int8"
            why = _MEMORY if of_memory(node) else kept.get(node.name) or (_RTX if alone else _reason(node))
        rows.append(OperatorRow(node.name, node.op_type, runs, why))
    return OperatorReport(tuple(rows))


def int8_nodes(graph: Graph, target: Target, floating: Collection[str] = ()) -> set[str]:
    """Names of the nodes that run in INT8 on a target, by policy and with `floating` left out.

    Convolutions with constant weights do, but for the first and last: those that see the picture itself, and those that
    write an output, whose step would be the residual's floor; and those of a memory. What lies between INT8 nodes is
    carried along. TensorRT for RTX pads grouped convolutions to four times their channels, and carries activations
    alone.
    """
    left_out = {*input_convolutions(graph), *output_convolutions(graph), *floating}
    int8 = {
        node.name
        for node in graph.nodes
        if node.op_type == "Conv"
        and node.name not in left_out
        and node.input[1] in graph.constants
        and not of_memory(node)
        and not (target == "tensorrt-rtx" and attribute(node, "group", 1) > 1)
    }
    # what a convolution reads in INT8, or an INT8 node writes, is there in INT8 for others too
    rounded = {node.input[0] for node in graph.nodes if node.name in int8}
    for node in graph.nodes:
        if _can_be_carried(node, target) and not of_memory(node) and _reads_only(graph, node, rounded):
            int8.add(node.name)
        if node.name in int8:
            rounded.update(node.output)
    # backwards: what only feeds floating point gains nothing, but for a fused activation, which costs nothing
    for node in reversed(graph.nodes):
        if node.op_type not in {"Conv", *ACTIVATIONS} and node.name in int8:
            readers = [reader for output in node.output for reader in graph.consumers.get(output, [])]
            if not any(reader.name in int8 for reader in readers):
                int8.discard(node.name)
    return int8


def quantizable_tensors(graph: Graph) -> list[str]:
    """Float tensors whose range some target may need: what INT8 nodes read and write."""
    int8 = int8_nodes(graph, "cpu")
    names = {
        name
        for node in graph.nodes
        if node.name in int8
        for name in (*graph.computed_inputs(node), *node.output)
        if name in graph.floats and not is_fused(graph, int8, name)
    }
    return sorted(names)


def is_fused(graph: Graph, int8: Collection[str], name: str) -> bool:
    """Whether a tensor never exists in INT8, because an activation takes it over in the step that makes it."""
    maker, reader = graph.producer.get(name), graph.only_reader(name)
    return (
        maker is not None
        and maker.op_type in ("Conv", "Add")
        and maker.name in int8
        and reader is not None
        and reader.op_type in ACTIVATIONS
        and reader.name in int8
    )


def of_memory(node: Any) -> bool:
    """Whether a node belongs to a memory of good parts, which runs in floating point everywhere."""
    return str(node.name).startswith(MEMORY_PREFIX)


def _can_be_carried(node: Any, target: Target) -> bool:
    if target == "tensorrt-rtx":
        return node.op_type in ACTIVATIONS
    if node.op_type == "Resize":
        return bool(attribute(node, "mode", "nearest") == "nearest")
    return node.op_type in _CARRIED


def _reads_only(graph: Graph, node: Any, rounded: Collection[str]) -> bool:
    """Whether everything a node reads is there in INT8; scales of a Resize and limits of a Clip do not count."""
    parameters = {"", *graph.constants} if node.op_type in MOVING | ACTIVATIONS else {""}
    return all(name in rounded for name in node.input if name not in parameters)


def _refusal(node: Any) -> tuple[tuple[Target, ...], str]:
    if node.domain not in ("", "ai.onnx"):
        return TARGETS, f"{node.domain}:{node.op_type} is no standard operator: write it with those of ONNX"
    if node.op_type == "Resize" and attribute(node, "coordinate_transformation_mode", "") == "align_corners":
        return TARGETS, "use nearest, or bilinear without align_corners"
    return _REFUSED.get(node.op_type, ((), ""))


def _reason(node: Any) -> str:
    if node.op_type in _FLOATING:
        return _FLOATING[node.op_type]
    if node.op_type in _CARRIED or node.op_type == "Conv":
        return "lies between operators that run in floating point"
    return "has no INT8 form"
