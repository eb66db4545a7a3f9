"""Thresholds from the scores of held-out good parts alone: split-conformal, or a continued tail where they are few.

The default budget is what so many scores support with one odd part among them, or a few (`default_budget`).

With n scores and a budget b, the k-th smallest score, k = ceil((n + 1)(1 - b)), rejects at most b of good parts on
average over draws of the n; its rate is Beta(n + 1 - k, k) distributed. For k > n there is no such score. Then the
excesses over a high score are taken for generalised Pareto distributed (peaks over threshold), and the level where the
rate is b is estimated with its uncertainty: a posterior over shape and scale on a grid, and over the share above.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.outliers import odd_parts
from edge.bundles.threshold_report import upper_bound
from edge.core.datatypes import F32
from edge.metrics.samples import ROUNDING

PIXEL_QUANTILE = 0.999
# the interval of an extrapolation, two-sided: its upper end is a 95 % bound, as the one without assumptions is
TAIL_QUANTILES = (0.05, 0.95)

# what the default budget falls to; and its share of 1 / sqrt(n + 1)
FINEST_BUDGET, _ROOT_SHARE = 0.005, 0.3
# one odd part among those taught must not set the threshold: one score lies above it. That is spared where it would
# reject more than this share of good parts
_SPARED, _MOST = 2.0, 0.1

F64 = NDArray[np.float64]

# the tail is fitted to the upper third: fewer say nothing of a shape, more are no tail
_TAIL_SHARE, _LEAST_EXCESSES = 3, 4
# an even number of shapes, so that none is zero; scales relative to the mean excess
_SHAPES: F64 = np.linspace(-0.75, 0.75, 30)[:, None]
_SCALES: F64 = np.exp(np.linspace(math.log(0.15), math.log(6.0), 48))[None, :]
# few scores cannot tell the shape: that of an exponential tail is expected, within this much
_SHAPE_SPREAD = 0.25
_DRAWS, _SEED = 4000, 0
# evidence of a score of 1 is infinite
_LARGEST_SCORE = 1 - 1e-6


@dataclass(frozen=True)
class Tail:
    """What an extrapolation is worth: 90 % intervals of the rate at the threshold, and of the score at the budget."""

    rate_low: float
    rate_high: float
    level_low: float
    level_high: float


@dataclass(frozen=True)
class Threshold:
    """An image threshold and what is known about it.

    bound: 95 % upper confidence bound of the false-reject rate, without assumptions on the scores' distribution. tail:
    there exactly when the budget asks for a score beyond the held-out ones, and the value is extrapolated.
    """

    value: float
    bound: float
    tail: Tail | None = None

    @property
    def extrapolated(self) -> bool:
        return self.tail is not None


@dataclass(frozen=True)
class PixelThreshold:
    """share: of all good parts' area above the value; largest_share: of the one part that has most above it."""

    value: float
    share: float
    largest_share: float


@dataclass(frozen=True)
class FittedThreshold:
    """What a calibration says of a fitted threshold, under the names of edge/bundles/calibration.py."""

    threshold: float
    false_reject_budget: float
    budget_asked: bool
    false_reject_bound: float
    extrapolated: bool
    tail_low: float | None
    tail_high: float | None
    review_threshold: float | None
    certain_threshold: float | None
    odd_parts: float


def default_budget(count: int) -> float:
    """The false-reject budget that so many held-out scores support, with an odd part or a few among them.

    With m = count + 1: 2 / m, at most 10 %; at least 1 / m, 0.3 / sqrt(m) and 0.5 %. It never rises with the count, and
    asks for no score beyond those held out. From 19 scores on one of them lies above the threshold, of hundreds about
    0.3 sqrt(m): so many odd parts do not set it, even where they do not stand apart.
    """
    places = count + 1
    return max(min(_SPARED / places, _MOST), 1 / places, _ROOT_SHARE / math.sqrt(places), FINEST_BUDGET)


def fitted_threshold(scores: F32, budget: float | None, review: float | None = None) -> FittedThreshold:
    """The threshold of this budget with what belongs to it; budget None: what the scores support.

    Scores that stand apart (calibration/outliers.py) set nothing; the bound counts them as rejected, so that it holds
    if they are good parts after all. review: share of good parts that a person may be asked to look at; None: where the
    budget asks for a threshold beyond the scores, what lies between that and the supported one. It passes, but not
    unseen. certain_threshold: see Calibration.
    """
    odd = odd_parts(scores)
    ordinary = np.sort(scores)[: len(scores) - odd]
    supported = default_budget(len(ordinary))
    asked = supported if budget is None else budget
    fitted = image_threshold(ordinary, asked)
    above = int(np.count_nonzero(scores.astype(np.float64) > fitted.value))
    if review is None and fitted.extrapolated:
        review = supported
    band = None if review is None else review_threshold(ordinary, review, fitted.value)
    far = image_threshold(ordinary, FINEST_BUDGET).value
    return FittedThreshold(
        threshold=fitted.value,
        false_reject_budget=asked,
        budget_asked=budget is not None,
        false_reject_bound=upper_bound(above, len(scores)),
        extrapolated=fitted.extrapolated,
        tail_low=fitted.tail.rate_low if fitted.tail else None,
        tail_high=fitted.tail.rate_high if fitted.tail else None,
        review_threshold=band,
        certain_threshold=far if far > fitted.value else None,
        odd_parts=float(odd),
    )


def same_budget(one: float, other: float) -> bool:
    """Whether two false-reject budgets are the same: bundles keep them with the precision of their format."""
    return math.isclose(one, other, rel_tol=1e-5)


def image_threshold(scores: F32, budget: float) -> Threshold:
    """The threshold on held-out scores (0..1) that rejects the share `budget` of good parts.

    Never below the largest score where it is extrapolated.
    """
    count = len(scores)
    ordered = np.sort(scores.astype(np.float64))
    # 2 / (n + 1) of n + 1 are two, whatever the rounding
    rank = math.ceil((count + 1) * (1 - budget) - ROUNDING)
    if rank <= count:
        return Threshold(float(ordered[rank - 1]), upper_bound(count - rank, count))
    value, tail = _extrapolated(ordered, budget)
    return Threshold(value, upper_bound(0, count), tail)


def review_threshold(scores: F32, share: float, threshold: float) -> float | None:
    """Where the unsure band below `threshold` begins, for this share of good parts; None when that leaves no band."""
    value = image_threshold(scores, share).value
    return value if value < threshold else None


def pixel_threshold(maps: F32, image_level: float) -> PixelThreshold:
    """The 0.999 quantile of good parts' map values (n, pixels); at most image_level, so that NG parts have a place."""
    value = min(float(np.quantile(maps, PIXEL_QUANTILE)), image_level)
    # compared as the runtime does it: a float32 map against the threshold
    shares = (maps > np.float32(value)).mean(axis=1)
    return PixelThreshold(value, float(shares.mean()), float(shares.max()))


def _extrapolated(ordered: F64, budget: float) -> tuple[float, Tail]:
    """The median of what the level at this budget may be, on the scale -log(1 - score), in which evidence adds up."""
    count = len(ordered)
    evidence = -np.log1p(-np.minimum(ordered, _LARGEST_SCORE))
    excesses = min(count - 1, max(_LEAST_EXCESSES, count // _TAIL_SHARE))
    start = evidence[count - excesses - 1]
    over = evidence[count - excesses :] - start
    unit = max(float(over.mean()), 1e-12)
    random = np.random.default_rng(_SEED)
    shape, scale = _posterior_draws(over / unit, random)
    # how many of all parts lie above `start`, itself one of the scores
    share = random.beta(excesses + 1, count - excesses, _DRAWS)
    levels = start + unit * scale / shape * np.expm1(shape * np.log(share / budget))
    level = max(float(np.median(levels)), float(evidence[-1]))
    rates = share * _survival((level - start) / unit, shape, scale)
    rate_low, rate_high = np.quantile(rates, TAIL_QUANTILES)
    level_low, level_high = -np.expm1(-np.maximum(np.quantile(levels, TAIL_QUANTILES), 0))
    return float(-math.expm1(-level)), Tail(float(rate_low), float(rate_high), float(level_low), float(level_high))


def _posterior_draws(excesses: F64, random: np.random.Generator) -> tuple[F64, F64]:
    """Shapes and scales of generalised Pareto distributions that may have given these excesses, of mean 1.

    Prior: normal for the shape, flat for the logarithm of the scale.
    """
    stretched = 1 + _SHAPES[..., None] * excesses / _SCALES[..., None]  # (shapes, scales, excesses)
    possible = (stretched > 0).all(axis=-1)
    logs = np.log(np.where(stretched > 0, stretched, 1.0)).sum(axis=-1)
    likelihood = -(1 + 1 / _SHAPES) * logs - len(excesses) * np.log(_SCALES)
    posterior = np.where(possible, likelihood - 0.5 * (_SHAPES / _SHAPE_SPREAD) ** 2, -np.inf)
    weight = np.exp(posterior - posterior.max()).ravel()
    drawn = random.choice(weight.size, _DRAWS, p=weight / weight.sum())
    rows, columns = np.unravel_index(drawn, posterior.shape)
    return _SHAPES[rows, 0], _SCALES[0, columns]


def _survival(excess: float, shape: F64, scale: F64) -> F64:
    """The share of a generalised Pareto distribution above an excess."""
    stretched = 1 + shape * excess / scale
    return np.where(stretched > 0, np.exp(-np.log(np.where(stretched > 0, stretched, 1.0)) / shape), 0.0)
