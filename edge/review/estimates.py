"""How many parts get a wrong verdict, from those that people looked at: rates with their 95 % intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from edge.metrics import product_interval, rate_interval, weighted_interval


@dataclass(frozen=True)
class Stratum:
    """Parts that had the same chance to be looked at. parts: all of them. wrong: of those looked at."""

    parts: int
    looked_at: int
    wrong: int


@dataclass(frozen=True)
class Estimate:
    """A rate with its 95 % interval; all None where nobody looked at a part.

    at_most: the rate is not higher with 95 % confidence, which says a little more than the interval's upper end.
    wrong, looked_at: what it was estimated from. parts: of how many it is the rate.
    """

    wrong: int
    looked_at: int
    parts: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    at_most: float | None = None


def escape_estimate(strata: Sequence[Stratum]) -> Estimate:
    """The share of accepted parts that are defective. strata: by the probability with which parts were drawn.

    Each part looked at stands for as many as its stratum has for each of them. A stratum of which nobody looked at any
    part says nothing of its rate, so all of it could be defective: that is in the upper end.
    """
    some = [each for each in strata if each.looked_at]
    wrong, looked_at = sum(each.wrong for each in some), sum(each.looked_at for each in some)
    parts = sum(each.parts for each in strata)
    if not some:
        return Estimate(wrong, looked_at, parts)
    seen = sum(each.parts for each in some)
    value = sum(each.parts * each.wrong / each.looked_at for each in some) / seen
    if len(some) == 1:
        interval, bound = (rate_interval(wrong, looked_at, confidence) for confidence in (0.95, 0.9))
    else:
        counts, weights = [each.wrong for each in some], [each.parts / seen / each.looked_at for each in some]
        interval, bound = (weighted_interval(counts, weights, confidence) for confidence in (0.95, 0.9))
    unseen = 1 - seen / parts
    low, high, at_most = (
        interval.low * (1 - unseen),
        *(min(1.0, end * (1 - unseen) + unseen) for end in (interval.high, bound.high)),
    )
    return Estimate(wrong, looked_at, parts, value, low, high, at_most)


def overkill_estimate(inspected: int, rejects: Stratum) -> Estimate:
    """The share of inspected parts that are good and were rejected. inspected: accepted and rejected ones."""
    wrong, looked_at = rejects.wrong, rejects.looked_at
    if not inspected or (rejects.parts and not looked_at):
        return Estimate(wrong, looked_at, inspected)
    if not rejects.parts:
        interval, bound = (rate_interval(0, inspected, confidence) for confidence in (0.95, 0.9))
        return Estimate(0, 0, inspected, 0.0, 0.0, interval.high, bound.high)
    value = rejects.parts / inspected * wrong / looked_at
    interval, bound = (
        product_interval((rejects.parts, inspected), (wrong, looked_at), confidence) for confidence in (0.95, 0.9)
    )
    return Estimate(wrong, looked_at, inspected, value, interval.low, interval.high, bound.high)
