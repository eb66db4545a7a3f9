"""The way down: INT8, INT8 with floating ends, FP16, FP32. The first rung that passes the gate is deployed."""

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

# a processor computes FP16 as FP32: the rung would change the numbers and gain nothing
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
    """What came of one rung: what was made for it, the hash of what would run, and which limits it exceeds."""

    made: Made | None
    engine_sha256: str | None
    exceeded: tuple[str, ...]


@dataclass(frozen=True)
class Descent(Generic[Made]):
    """The rung that is deployed, what was made for it, and every rung tried on the way."""

    rung: CandidatePrecision
    made: Made
    tried: tuple[TriedPrecision, ...]


def descend(
    rungs: Sequence[CandidatePrecision], attempt: Callable[[CandidatePrecision], Attempt[Made]]
) -> Descent[Made]:
    """Try rung after rung; one that cannot be built or run counts as refused. The last one has no way out.

    Raises BundleError when even the last rung exceeds the limits or cannot run.
    """
    tried: list[TriedPrecision] = []
    for rung in rungs:
        try:
            result = attempt(rung)
        except (BundleError, EngineError, ModelError) as error:
            result = Attempt(None, None, (error.message,))
        tried.append(TriedPrecision(rung=rung, engine_sha256=result.engine_sha256, exceeded=result.exceeded))
        if result.made is not None and not result.exceeded:
            return Descent(rung, result.made, tuple(tried))
    reasons = "; ".join(f"{step.rung}: {', '.join(step.exceeded)}" for step in tried)
    raise BundleError(
        f"no precision passes the gate ({reasons})",
        fix="look at the gate's limits in config.yaml, calibrate on more good parts, or train anew",
    )


def graph_of_precision(
    rung: CandidatePrecision,
    target: Target,
    model_fp32: bytes,
    ranges: Mapping[str, tuple[float, float]],
    floating: Collection[str] = (),
) -> bytes:
    """The ONNX of one rung; floating: convolutions that the sensitivity pass leaves out of INT8.

    For engines everything that is not INT8 is FP16, for processors FP32.
    """
    if rung == "fp32":
        return model_fp32
    if rung == "fp16":
        return halved(model_fp32, ranges=ranges)
    graph = graph_from_onnx(model_fp32)
    left_out = {*floating, *(end_stages(graph) if rung == "int8_float_ends" else ())}
    if target == "cpu":
        return quantized_for_cpu(model_fp32, ranges, left_out)
    quantized = quantized_for_tensorrt(model_fp32, ranges, left_out)
    return halved(quantized, int8_nodes(graph, target, left_out), ranges)
