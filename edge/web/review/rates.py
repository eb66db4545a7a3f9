"""What quality engineers read about rates."""

from __future__ import annotations

import math
from functools import lru_cache

from edge.metrics import rate_interval
from edge.review.estimates import Estimate
from edge.review.quality import percent


def rate_sentence(estimate: Estimate, of: str, are: str, sample: str) -> str:
    """of: which parts; are: what the wrong ones among them are; sample: of what some were looked at."""
    if estimate.value is None:
        return f"Nobody has looked at {sample} yet."
    if not estimate.wrong:
        return (
            f"None of the {estimate.looked_at:,} {sample} that were looked at is wrong. With 95 % certainty, at most "
            f"{percent(estimate.at_most)} of {of} {are}."
        )
    return (
        f"About {percent(estimate.value)} of {of} {are}: with 95 % certainty between {percent(estimate.low)} and "
        f"{percent(estimate.high)}. Of the {estimate.looked_at:,} {sample} that were looked at, {estimate.wrong:,} "
        f"{'is' if estimate.wrong == 1 else 'are'} wrong."
    )


@lru_cache(200)
def parts_for(rate: float, wrong: int) -> int:
    """How many parts must be looked at, so many of them wrong, to say with 95 % confidence: it is no higher."""
    low, high = wrong, math.ceil((wrong + 1) * 5 / rate)
    while high - low > 1:
        middle = (low + high) // 2
        if rate_interval(wrong, middle, 0.9).high > rate:
            low = middle
        else:
            high = middle
    return high
