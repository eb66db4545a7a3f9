"""Do thresholds keep what they state? Many draws of held-out scores, each judged by a million later ones."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.program import Values, program
from calibration.threshold import FittedThreshold, fitted_threshold
from edge.core.datatypes import F32
from edge.core.progress import say

Shape = int | tuple[int, ...]
Draw = Callable[[np.random.Generator, Shape], NDArray[np.float64]]

# evidence of good parts: bunched, exponential, light, bounded, heavy, and heavier than the tail's prior expects
DISTRIBUTIONS: dict[str, Draw] = {
    "gamma": lambda random, shape: random.gamma(6.0, 0.02, shape),
    "exponential": lambda random, shape: random.exponential(0.1, shape),
    "half normal": lambda random, shape: np.abs(random.normal(0, 0.2, shape)),
    "bounded": lambda random, shape: random.uniform(0, 0.3, shape),
    "lognormal": lambda random, shape: 0.1 * np.exp(random.normal(0, 0.5, shape)),
    "wide lognormal": lambda random, shape: 0.05 * np.exp(random.normal(0, 1, shape)),
}
COUNTS = (8, 24, 60, 120, 199, 400, 1000, 3000)
BUDGET, DRAWS, POPULATION, SEED = 0.005, 400, 1_000_000, 0
# none, one, and one in fifty or in thirteen of the good parts are odd; their scores lie above all ordinary ones
ODD_SHARES = (0.0, 1e-6, 0.02, 0.08)
_ODD_SCORES = (0.97, 1.0)


def draw_scores(distribution: str, random: np.random.Generator, shape: Shape) -> F32:
    """Scores as a line gives them, in 0..1: evidence adds up in -log(1 - score)."""
    return -np.expm1(-DISTRIBUTIONS[distribution](random, shape)).astype(np.float32)


def population(distribution: str) -> F32:
    """A million sorted scores: the truth that rates are measured against."""
    return np.sort(draw_scores(distribution, np.random.default_rng(SEED), POPULATION))


def rate_above(sorted_scores: F32, threshold: float) -> float:
    return 1 - float(np.searchsorted(sorted_scores, np.float32(threshold), side="right")) / len(sorted_scores)


def with_odd_parts(scores: F32, odd: float, random: np.random.Generator) -> F32:
    """Draws (draws, n), each with this share of odd parts among the good ones, at least one where there are any."""
    count = math.ceil(odd * scores.shape[1])
    spoilt: F32 = scores.copy()
    spoilt[:, :count] = random.uniform(*_ODD_SCORES, (len(scores), count))
    return spoilt


def simulated(
    distribution: str, count: int, truth: F32, budget: float | None = BUDGET, odd: float = 0.0
) -> dict[str, Any]:
    """Realised false-reject rates of `DRAWS` thresholds from `count` scores each, beside what was stated of them.

    budget None: the default of so many scores. odd: share of them that are odd parts. truth: of ordinary good parts.
    """
    random = np.random.default_rng((SEED, count))
    good = draw_scores(distribution, random, (DRAWS, count))
    fitted = [fitted_threshold(scores, budget) for scores in with_odd_parts(good, odd, random)]
    rates = np.array([rate_above(truth, each.threshold) for each in fitted])
    held = [rate <= each.false_reject_bound for rate, each in zip(rates, fitted, strict=True)]
    row = {
        "distribution": distribution,
        "held_out": count,
        "odd_parts": math.ceil(odd * count),
        "odd_parts_found": float(np.mean([each.odd_parts for each in fitted])),
        "budget": round(float(np.median([each.false_reject_budget for each in fitted])), 6),
        "extrapolated": fitted[0].extrapolated,
        "rate_mean": round(float(rates.mean()), 6),
        "rate_median": round(float(np.median(rates)), 6),
        "stated_bound": round(float(np.median([each.false_reject_bound for each in fitted])), 6),
        "bound_held": float(np.mean(held)),
        # an odd part set it, above every ordinary one: the line is blind up to there
        "above_all_good": float(
            np.mean([each.threshold > scores.max() for each, scores in zip(fitted, good, strict=True)])
        ),
    }
    tails = list(_tail_checks(rates, fitted))
    if tails:
        row["tail_upper_end_held"] = float(np.mean([upper for upper, _ in tails]))
        row["tail_interval_held"] = float(np.mean([within for _, within in tails]))
    return row


def _tail_checks(rates: NDArray[np.float64], fitted: Sequence[FittedThreshold]) -> Iterator[tuple[bool, bool]]:
    for rate, each in zip(rates, fitted, strict=True):
        if each.tail_low is not None and each.tail_high is not None:
            yield rate <= each.tail_high, each.tail_low <= rate <= each.tail_high


@program(show=lambda values: "\n\n".join(table(values[name]) for name in ("cases", "default_budget")))
def main(options: argparse.Namespace) -> Values:
    """Simulate every distribution and number of samples."""
    rows, defaults = [], []
    for distribution in DISTRIBUTIONS:
        say(f"thresholds of samples that are distributed as {distribution}")
        truth = population(distribution)
        rows += [simulated(distribution, count, truth) for count in COUNTS]
        defaults += [simulated(distribution, count, truth, None, odd) for odd in ODD_SHARES for count in COUNTS]
    return {"budget": BUDGET, "draws": DRAWS, "population": POPULATION, "cases": rows, "default_budget": defaults}


def table(cases: Sequence[dict[str, Any]]) -> str:
    """A line for each case."""
    return "\n".join("  ".join(f"{name} {value}" for name, value in case.items()) for case in cases)


if __name__ == "__main__":
    raise SystemExit(main())
