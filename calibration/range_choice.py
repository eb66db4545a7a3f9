"""Which ranges: every estimator is tried on held-out normals and artificial defects, and the best one is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from calibration.ranges import Activations, entropy_ranges, max_ranges, percentile_ranges
from edge.core.manifest import Manifest
from export.evaluation_set import EvaluationSet, evaluate
from export.qdq import quantized_for_cpu
from export.tensor_ranges import Ranges

ESTIMATORS: dict[str, Callable[[Activations], Ranges]] = {
    "max": max_ranges,
    "percentile 99.99": partial(percentile_ranges, share=0.9999),
    "percentile 99.9": partial(percentile_ranges, share=0.999),
    "entropy": entropy_ranges,
}
RULE = (
    "highest mean of image and pixel average precision of artificial defects on held-out normals; within 0.005 of the "
    "best, maps nearest to those of FP32"
)
_EQUAL_PRECISION = 0.005
# with fewer held-out normals than this there is nothing to choose by
MINIMUM_NORMAL_SAMPLES = 5


@dataclass(frozen=True)
class RangeChoice:
    """The ranges taken, and what every estimator was worth; without a trial the figures are empty.

    damage: mean difference of INT8 and FP32 maps, as a share of the mean FP32 map.
    """

    estimator: str
    ranges: Ranges
    precision: dict[str, float]
    damage: dict[str, float]
    precision_fp32: float | None

    def as_dict(self) -> dict[str, Any]:
        """The choice without the ranges, which have a file of their own."""
        return {
            "chosen": self.estimator, "rule": RULE, "precision": self.precision, "damage": self.damage,
            "precision_fp32": self.precision_fp32,
        }  # fmt: skip

    def summary(self) -> str:
        """One line for a person."""
        if not self.precision:
            return f"{self.estimator}, untried: fewer than {MINIMUM_NORMAL_SAMPLES} held-out good parts"
        tried = ", ".join(f"{name} {value:.4f}" for name, value in self.precision.items())
        return f"{self.estimator} (average precision of artificial defects: {tried}; FP32 {self.precision_fp32:.4f})"


def choose_ranges(
    model_fp32: bytes,
    manifest: Manifest,
    activations: Activations,
    evaluation_set: EvaluationSet,
    threads: int | None = None,
    rounded: bytes | None = None,
) -> RangeChoice:
    """Quantise with each estimator's ranges, judge, and take the best; `max` when too few normals were held out.

    rounded: the FP32 network that is quantised, where its memory is another one; None: the same.
    """
    if len(evaluation_set.normal_samples) < MINIMUM_NORMAL_SAMPLES or not len(evaluation_set.altered):
        return RangeChoice("max", max_ranges(activations), {}, {}, None)
    exact = evaluate(model_fp32, manifest, evaluation_set, threads)
    ranges = {name: estimate(activations) for name, estimate in ESTIMATORS.items()}
    evaluated = {
        name: evaluate(quantized_for_cpu(rounded or model_fp32, found), manifest, evaluation_set, threads)
        for name, found in ranges.items()
    }
    precision = {name: maps.precision(evaluation_set) for name, maps in evaluated.items()}
    damage = {name: maps.difference(exact) for name, maps in evaluated.items()}
    limit = max(precision.values()) - _EQUAL_PRECISION
    best = min((name for name in ranges if precision[name] >= limit), key=lambda name: damage[name])
    return RangeChoice(best, ranges[best], precision, damage, exact.precision(evaluation_set))
