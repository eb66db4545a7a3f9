"""How sure a rate or a figure is, from as many samples as there are."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache

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


@lru_cache(1000)
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


def weighted_interval(counts: Sequence[int], weights: Sequence[float], confidence: float = 0.95) -> Interval:
    """The interval of sum(weight x expected count), of strata in each of which `count` rare events were seen.

    Fay and Feuer, Confidence intervals for directly standardized rates, Statistics in Medicine 16 (1997) 791-801: of
    Poisson counts; with equal weights exact, else conservative. Weights are above zero.
    """
    if not counts or len(counts) != len(weights) or min(weights) <= 0 or min(counts) < 0:
        raise UsageError(
            f"no weighted rate: counts {list(counts)}, weights {list(weights)}",
            fix="give a count and a weight above zero for each stratum",
        )
    tail = (1 - confidence) / 2
    mean = sum(weight * count for count, weight in zip(counts, weights, strict=True))
    variance = sum(weight**2 * count for count, weight in zip(counts, weights, strict=True))
    low = 0.0 if mean == 0 else variance / mean * _gamma_quantile(mean**2 / variance, tail)
    # as if one more event had been seen, where it weighs most
    mean, variance = mean + max(weights), variance + max(weights) ** 2
    return Interval(low, variance / mean * _gamma_quantile(mean**2 / variance, 1 - tail))


def product_interval(first: tuple[int, int], second: tuple[int, int], confidence: float = 0.95) -> Interval:
    """The interval of the product of two rates; each a count and its trials, of independent samples.

    The distances of both Clopper-Pearson intervals are joined on the scale of logarithms, where the product is a sum:
    Zou and Donner, Construction of confidence limits about effect measures, Statistics in Medicine 27 (2008) 1693-1702.
    Where one rate is known well, it is the interval of the other.
    """
    ends = [rate_interval(count, trials, confidence) for count, trials in (first, second)]
    # not the rates that were seen: of none in many there is no logarithm
    rates = [(count + 0.5) / (trials + 1) for count, trials in (first, second)]
    product = rates[0] * rates[1]
    below = [math.log(rate / end.low) if end.low else math.inf for rate, end in zip(rates, ends, strict=True)]
    above = [math.log(end.high / rate) for rate, end in zip(rates, ends, strict=True)]
    return Interval(product * math.exp(-math.hypot(*below)), min(1.0, product * math.exp(math.hypot(*above))))


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


def _gamma_quantile(shape: float, probability: float) -> float:
    """The x at which P(X <= x) = probability for X ~ Gamma(shape, 1), by bisection."""
    low, high = 0.0, shape + 12 * math.sqrt(shape) + 30
    while high - low > 1e-10 * high:
        x = (low + high) / 2
        if _gamma_share(shape, x) > probability:
            high = x
        else:
            low = x
    return (low + high) / 2


def _gamma_share(shape: float, x: float) -> float:
    """P(X <= x) for X ~ Gamma(shape, 1): the series of the lower incomplete gamma function, whose terms are positive.

    Abramowitz and Stegun, Handbook of Mathematical Functions, 6.5.29.
    """
    term = math.exp(shape * math.log(x) - x - math.lgamma(shape + 1)) if x > 0 else 0.0
    total, divisor = 0.0, shape
    while term > total * 1e-17:
        total += term
        divisor += 1
        term *= x / divisor
    return min(total, 1.0)
