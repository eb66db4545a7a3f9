"""Do thresholds keep what they state? Many draws of held-out scores, each judged by a million later ones."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.results_file import write_result
from calibration.threshold import Threshold, image_threshold
from edge.core.datatypes import F32

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


def draw_scores(distribution: str, random: np.random.Generator, shape: Shape) -> F32:
    """Scores as a line gives them, in 0..1: evidence adds up in -log(1 - score)."""
    return -np.expm1(-DISTRIBUTIONS[distribution](random, shape)).astype(np.float32)


def population(distribution: str) -> F32:
    """A million sorted scores: the truth that rates are measured against."""
    return np.sort(draw_scores(distribution, np.random.default_rng(SEED), POPULATION))


def rate_above(sorted_scores: F32, threshold: float) -> float:
    return 1 - float(np.searchsorted(sorted_scores, np.float32(threshold), side="right")) / len(sorted_scores)


def simulated(distribution: str, count: int, truth: F32) -> dict[str, Any]:
    """Realised false-reject rates of `DRAWS` thresholds from `count` scores each, beside what was stated of them."""
    random = np.random.default_rng((SEED, count))
    fitted = [image_threshold(scores, BUDGET) for scores in draw_scores(distribution, random, (DRAWS, count))]
    rates = np.array([rate_above(truth, each.value) for each in fitted])
    held = [rate <= each.bound for rate, each in zip(rates, fitted, strict=True)]
    row = {
        "distribution": distribution,
        "held_out": count,
        "extrapolated": fitted[0].extrapolated,
        "rate_mean": round(float(rates.mean()), 6),
        "rate_median": round(float(np.median(rates)), 6),
        "stated_bound": round(fitted[0].bound, 6),
        "bound_held": float(np.mean(held)),
    }
    tails = list(_tail_checks(rates, fitted))
    if tails:
        row["tail_upper_end_held"] = float(np.mean([upper for upper, _ in tails]))
        row["tail_interval_held"] = float(np.mean([within for _, within in tails]))
    return row


def _tail_checks(rates: NDArray[np.float64], fitted: Sequence[Threshold]) -> Iterator[tuple[bool, bool]]:
    for rate, each in zip(rates, fitted, strict=True):
        if each.tail is not None:
            yield rate <= each.tail.rate_high, each.tail.rate_low <= rate <= each.tail.rate_high


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print a line for each case, write --out."""
    given = sys.argv[1:] if arguments is None else list(arguments)
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.studies.thresholds", description=str(__doc__).splitlines()[0]
    )
    parser.add_argument("--out", type=Path, help="write a result file, for example to benchmarks/results/DEVICE/")
    options = parser.parse_args(given)
    rows = []
    for distribution in DISTRIBUTIONS:
        truth = population(distribution)
        for count in COUNTS:
            rows.append(simulated(distribution, count, truth))
            print("  ".join(f"{name} {value}" for name, value in rows[-1].items()), flush=True)
    if options.out is not None:
        values = {"budget": BUDGET, "draws": DRAWS, "population": POPULATION, "cases": rows}
        write_result(options.out, " ".join(["python -m benchmarks.studies.thresholds", *given]), values)
    return 0


if __name__ == "__main__":
    sys.exit(main())
