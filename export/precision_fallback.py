"""Precision fallback: of INT8, INT8 with floating ends, FP16 and FP32, the fastest that passes the gate is deployed."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, Literal, TypeVar

from edge.core.errors import BundleError, EngineError, ModelError
from edge.core.latency import undisturbed
from edge.core.manifest import Precision, TriedPrecision
from export.fp16 import fp16_from_fp32
from export.graph import end_stages, graph_from_onnx
from export.operators import Target, int8_nodes
from export.qdq import quantized_for_cpu, quantized_for_rtx, quantized_for_tensorrt

CandidatePrecision = Literal["int8", "int8_float_ends", "fp16", "fp32"]

# who compete in speed, each with what stands in for it where the gate refuses it; what is expected to win comes first.
# No FP16 on a processor, which computes it as FP32: the numbers would change and nothing would be faster. RTX rounds to
# INT8 in kernels of their own (export/qdq.py), so that FP16 moves fewer bytes there in fewer kernels
_RIVALS: dict[Target, tuple[tuple[CandidatePrecision, ...], ...]] = {
    "cpu": (("int8", "int8_float_ends"), ("fp32",)),
    "tensorrt": (("int8", "int8_float_ends"), ("fp16",)),
    "tensorrt-rtx": (("fp16",), ("int8", "int8_float_ends")),
}
# tried only where nothing else passes
_LAST_RESORT: CandidatePrecision = "fp32"
CANDIDATE_PRECISIONS: dict[Target, tuple[CandidatePrecision, ...]] = {
    target: tuple(dict.fromkeys([each for rival in rivals for each in rival] + [_LAST_RESORT]))
    for target, rivals in _RIVALS.items()
}
# a busy machine makes as much of a difference by itself
_LEAST_GAIN, _LEAST_WINS = 0.1, 2 / 3
PRECISIONS: dict[CandidatePrecision, Precision] = {
    "int8": "int8",
    "int8_float_ends": "int8",
    "fp16": "fp16",
    "fp32": "fp32",
}

Result = TypeVar("Result")


@dataclass(frozen=True)
class Attempt(Generic[Result]):
    """The outcome of one candidate: what was built for it, the hash of what would run, the limits that it exceeds."""

    result: Result | None
    model_sha256: str | None
    exceeded: tuple[str, ...]


@dataclass(frozen=True)
class FallbackResult(Generic[Result]):
    """The candidate that is deployed, what was built for it, and every candidate that was tried."""

    candidate: CandidatePrecision
    result: Result
    tried: tuple[TriedPrecision, ...]


def try_candidates(
    target: Target,
    attempt: Callable[[CandidatePrecision], Attempt[Result]],
    milliseconds: Callable[[Sequence[Result]], Sequence[Sequence[float]]],
) -> FallbackResult[Result]:
    """The fastest of what passes; one that cannot be built or run counts as refused.

    milliseconds: times what was built, on this machine, round by round; asked only where several pass. A later
    candidate takes the place of an earlier one when it is faster by a tenth, and in two rounds of three. Raises
    BundleError when the last candidate exceeds the limits, too, or cannot run.
    """
    tried: list[TriedPrecision] = []
    passed: list[tuple[CandidatePrecision, Result]] = []

    def passes(candidate: CandidatePrecision) -> bool:
        try:
            outcome = attempt(candidate)
        except (BundleError, EngineError, ModelError) as error:
            outcome = Attempt(None, None, (error.message,))
        tried.append(TriedPrecision(precision=candidate, model_sha256=outcome.model_sha256, exceeded=outcome.exceeded))
        if outcome.result is None or outcome.exceeded:
            return False
        passed.append((candidate, outcome.result))
        return True

    for rival in _RIVALS[target]:
        # stops at the first that passes
        any(passes(candidate) for candidate in rival)
    if not passed and _LAST_RESORT not in [step.precision for step in tried]:
        passes(_LAST_RESORT)
    if not passed:
        reasons = "; ".join(f"{step.precision}: {', '.join(step.exceeded)}" for step in tried)
        raise BundleError(
            f"no precision passes the gate ({reasons})",
            fix="look at the gate's limits in config.yaml, calibrate on more good parts, or train anew",
        )
    if len(passed) == 1:
        return FallbackResult(*passed[0], tuple(tried))
    times = milliseconds([result for _, result in passed])
    by_name: dict[str, float] = {name: undisturbed(rounds) for (name, _), rounds in zip(passed, times, strict=True)}
    timed = tuple(step.model_copy(update={"milliseconds": by_name.get(step.precision)}) for step in tried)
    return FallbackResult(*passed[_fastest(times)], timed)


def _fastest(times: Sequence[Sequence[float]]) -> int:
    chosen = 0
    for place, rounds in enumerate(times):
        gains = undisturbed(rounds) < (1 - _LEAST_GAIN) * undisturbed(times[chosen])
        wins = sum(ours < theirs for ours, theirs in zip(rounds, times[chosen], strict=True))
        if gains and wins > _LEAST_WINS * len(rounds):
            chosen = place
    return chosen


def graph_of_precision(
    candidate: CandidatePrecision,
    target: Target,
    model_fp32: bytes,
    ranges: Mapping[str, tuple[float, float]],
    floating: Collection[str] = (),
) -> bytes:
    """The ONNX graph of one candidate; floating: convolutions that the sensitivity pass leaves out of INT8.

    What is not INT8 is FP16 in the graph of an engine, FP32 in the graph of a processor.
    """
    if candidate == "fp32":
        return model_fp32
    if candidate == "fp16":
        return fp16_from_fp32(model_fp32, ranges=ranges)
    graph = graph_from_onnx(model_fp32)
    left_out = {*floating, *(end_stages(graph) if candidate == "int8_float_ends" else ())}
    if target == "cpu":
        return quantized_for_cpu(model_fp32, ranges, left_out)
    if target == "tensorrt-rtx":
        return fp16_from_fp32(quantized_for_rtx(model_fp32, ranges, left_out), ranges=ranges, pairs=True)
    quantized = quantized_for_tensorrt(model_fp32, ranges, left_out)
    return fp16_from_fp32(quantized, int8_nodes(graph, target, left_out), ranges)
