"""How sure a rate or a figure is, from as many samples as there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from edge.core.errors import UsageError
from edge.metrics.samples import split_classes

Figure = Callable[[ArrayLike, ArrayLike], float]


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a rate, 0..1."""

    low: float
    high: float


def rate_interval(count: int, trials: int, confidence: float = 0.95) -> Interval:
    """The Clopper-Pearson interval of a rate of which `count` in `trials` were seen; two-sided, exact, conservative.

    low solves P(X >= count) = (1 - confidence) / 2 and high P(X <= count) = (1 - confidence) / 2 for the binomial rate.
    """
    if trials < 1 or not 0 <= count <= trials:
        raise UsageError(f"no rate: {count} of {trials}", fix="give 0 <= count <= trials, and at least one trial")
    if not 0 < confidence < 1:
        raise UsageError(f"confidence {confidence} is not between 0 and 1", fix="give for example 0.95")
    tail = (1 - confidence) / 2
    # P(X >= count) at rate p is P(X <= trials - count) at rate 1 - p
    low = 0.0 if count == 0 else 1 - _rate_where_at_most(trials - count, trials, tail)
    high = 1.0 if count == trials else _rate_where_at_most(count, trials, tail)
    return Interval(low, high)


def bootstrap_intervals(
    labels: ArrayLike,
    scores: ArrayLike,
    figures: Sequence[Figure],
    resamples: int = 1000,
    seed: int = 0,
    confidence: float = 0.95,
) -> list[Interval]:
    """The percentile interval of each figure over images drawn again with replacement, within each class.

    Within each class, because how many good and bad images a test set has was decided, not found: a resample without
    one of them would have no figure. All figures see the same resamples.
    """
    positives, negatives = split_classes(labels, scores)
    fresh = np.repeat([1, 0], [positives.size, negatives.size])
    random = np.random.default_rng(seed)
    values = np.empty((resamples, len(figures)))
    for row in values:
        drawn = np.concatenate([random.choice(part, part.size) for part in (positives, negatives)])
        row[:] = [figure(fresh, drawn) for figure in figures]
    tail = (1 - confidence) / 2
    low, high = np.quantile(values, [tail, 1 - tail], axis=0)
    return [Interval(float(a), float(b)) for a, b in zip(low, high, strict=True)]


def _rate_where_at_most(count: int, trials: int, tail: float) -> float:
    """The rate p at which P(X <= count) = tail for X ~ Binomial(trials, p), by bisection: it falls as p grows."""
    k = np.arange(count + 1)
    log_choose = np.concatenate([[0.0], np.cumsum(np.log((trials - k[1:] + 1) / k[1:]))])
    low, high = 0.0, 1.0
    for _ in range(64):
        p = (low + high) / 2
        log_terms = log_choose + k * math.log(p) + (trials - k) * math.log1p(-p)
        if np.exp(log_terms).sum() > tail:
            low = p
        else:
            high = p
    return (low + high) / 2
