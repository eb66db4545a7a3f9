"""Find the convolutions that INT8 damages most, and how much the maps gain when they stay in floating point."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from edge.core.manifest import Manifest
from export.evaluation_set import EvaluationSet, evaluate
from export.graph import graph_from_onnx, multiplications
from export.operators import int8_nodes
from export.qdq import quantized_for_cpu

# inspections the pass may spend on layers, whatever the size of the network; it decides by count, not by the clock, so
# that the same bundle comes out on a slow machine
INSPECTIONS = 240
_FEWEST, _MOST = 3, 12
# the pass is skipped where the maps differ by less than this share of what they say: every layer it leaves floating
# costs speed (one of the sample bundle's nineteen a quarter of it), and whether verdicts bear the rest is for the gate
# to say
TOLERABLE = 0.08
# layers are kept floating one by one, the most useful first, while each removes this share of the damage ...
_WORTH = 0.08
# ... and all of them together do no more than this share of the network's multiplications
_COST = 0.25


@dataclass(frozen=True)
class Sensitivity:
    """damage: mean difference of INT8 and FP32 maps, as a share of the mean FP32 map.

    floating: the convolutions left in floating point, damage_after: with them, cost: their share of multiplications.
    without: damage with that layer alone left floating. evaluation_set: how many parts of either kind were looked at.
    """

    damage: float
    damage_after: float
    floating: tuple[str, ...]
    cost: float
    without: dict[str, float]
    evaluation_set: int

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)

    def summary(self) -> str:
        """One line for a person."""
        if not self.floating:
            return f"INT8 changes the maps by {self.damage:.1%}; every layer that can is in INT8"
        return (
            f"INT8 changes the maps by {self.damage_after:.1%} instead of {self.damage:.1%} with "
            f"{', '.join(self.floating)} in floating point, {self.cost:.1%} of the arithmetic"
        )


def find_sensitive_layers(
    model_fp32: bytes,
    manifest: Manifest,
    ranges: Mapping[str, tuple[float, float]],
    evaluation_set: EvaluationSet,
    threads: int | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    rounded: bytes | None = None,
) -> Sensitivity:
    """Leave each quantized convolution floating in turn, then those together that are worth it.

    rounded: the FP32 network that is quantised, where its memory is another one; None: the same.
    """
    graph = graph_from_onnx(model_fp32)
    macs = multiplications(graph)
    layers = [node.name for node in graph.nodes if node.op_type == "Conv" and node.name in int8_nodes(graph, "cpu")]
    count = int(np.clip(INSPECTIONS // (2 * max(1, len(layers))), _FEWEST, _MOST))
    few = evaluation_set.first(count)
    if not layers or len(few.normal_samples) < 2:
        return Sensitivity(0.0, 0.0, (), 0.0, {}, len(few.normal_samples))
    exact = evaluate(model_fp32, manifest, few, threads)

    def damage(floating: Collection[str]) -> float:
        return evaluate(quantized_for_cpu(rounded or model_fp32, ranges, floating), manifest, few, threads).difference(
            exact
        )

    everything = damage(())
    if everything <= TOLERABLE:
        return Sensitivity(everything, everything, (), 0.0, {}, len(few.normal_samples))
    without = {}
    for done, layer in enumerate(layers):
        without[layer] = damage((layer,))
        progress(done + 1, len(layers))
    total = sum(macs.values())
    floating: tuple[str, ...] = ()
    current = everything
    for layer in sorted(layers, key=lambda name: without[name]):
        tried = (*floating, layer)
        if everything - without[layer] < _WORTH * everything:
            break
        if sum(macs[name] for name in tried) > _COST * total:
            continue
        reached = damage(tried)
        if current - reached >= _WORTH * everything:
            floating, current = tried, reached
        if current <= TOLERABLE:
            break
    return Sensitivity(
        everything, current, floating, sum(macs[name] for name in floating) / total, without, len(few.normal_samples)
    )
