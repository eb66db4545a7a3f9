"""Precision fallback: INT8, INT8 with floating ends, FP16, FP32. The first that passes the gate is deployed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from edge.core.errors import BundleError, EngineError, ModelError
from edge.core.manifest import Precision, TriedPrecision
from export.fp16 import halved
from export.graph import end_stages, graph_from_onnx
from export.operators import Target, int8_nodes
from export.qdq import quantized_for_cpu, quantized_for_tensorrt

CandidatePrecision = Literal["int8", "int8_float_ends", "fp16", "fp32"]

# a processor computes FP16 as FP32: that would change the numbers and gain nothing
CANDIDATE_PRECISIONS: dict[Target, tuple[CandidatePrecision, ...]] = {
    "cpu": ("int8", "int8_float_ends", "fp32"),
    "tensorrt": ("int8", "int8_float_ends", "fp16", "fp32"),
    "tensorrt-rtx": ("int8", "int8_float_ends", "fp16", "fp32"),
}
PRECISIONS: dict[CandidatePrecision, Precision] = {
    "int8": "int8",
    "int8_float_ends": "int8",
    "fp16": "fp16",
    "fp32": "fp32",
}

Made = TypeVar("Made")


@dataclass(frozen=True)
class Attempt(Generic[Made]):
    """What came of one candidate precision: what was made, the hash of its model, and which limits it exceeds."""

    made: Made | None
    model_sha256: str | None
    exceeded: tuple[str, ...]


@dataclass(frozen=True)
class Descent(Generic[Made]):
    """The precision that is deployed, what was made for it, and every precision tried on the way."""

    precision: CandidatePrecision
    made: Made
    tried: tuple[TriedPrecision, ...]


def descend(
    candidates: Sequence[CandidatePrecision], attempt: Callable[[CandidatePrecision], Attempt[Made]]
) -> Descent[Made]:
    """Try one precision after the other; one that cannot be built or run counts as refused.

    Raises BundleError when even the last one exceeds the limits or cannot run.
    """
    tried: list[TriedPrecision] = []
    for precision in candidates:
        try:
            result = attempt(precision)
        except (BundleError, EngineError, ModelError) as error:
            result = Attempt(None, None, (error.message,))
        tried.append(TriedPrecision(precision=precision, model_sha256=result.model_sha256, exceeded=result.exceeded))
        if result.made is not None and not result.exceeded:
            return Descent(precision, result.made, tuple(tried))
    reasons = "; ".join(f"{step.precision}: {', '.join(step.exceeded)}" for step in tried)
    raise BundleError(
        f"no precision passes the gate ({reasons})",
        fix="look at the gate's limits in config.yaml, calibrate on more good parts, or train anew",
    )


def graph_of_precision(
    precision: CandidatePrecision,
    target: Target,
    model_fp32: bytes,
    ranges: Mapping[str, tuple[float, float]],
    floating: Collection[str] = (),
) -> bytes:
    """The ONNX of one candidate precision; floating: convolutions that the sensitivity pass leaves out of INT8.

    For engines everything that is not INT8 is FP16, for processors FP32.
    """
    if precision == "fp32":
        return model_fp32
    if precision == "fp16":
        return halved(model_fp32, ranges=ranges)
    graph = graph_from_onnx(model_fp32)
    left_out = {*floating, *(end_stages(graph) if precision == "int8_float_ends" else ())}
    if target == "cpu":
        return quantized_for_cpu(model_fp32, ranges, left_out)
    quantized = quantized_for_tensorrt(model_fp32, ranges, left_out)
    return halved(quantized, int8_nodes(graph, target, left_out), ranges)
