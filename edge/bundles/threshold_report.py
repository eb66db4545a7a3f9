"""What a threshold promises, in numbers and in words, from the scores of held-out good parts that lie beside it.

A good part is falsely rejected when its score is above the threshold. With `above` of `count` held-out parts above it,
the rate's upper bound at 95 % is that of Clopper and Pearson. For a threshold at one of the held-out scores that is
exact: the rate is Beta(above + 1, count - above) distributed, whatever the scores' distribution.
"""

from __future__ import annotations

import math
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from edge.core.datatypes import F32
from edge.kernels.statistics import MOST_IN_STATISTICS
from edge.metrics import rate_interval

if TYPE_CHECKING:
    from edge.bundles.calibration import Calibration

CONFIDENCE = 0.95
_LEAST_PERCENT = 0.001


def rejected(scores: F32, threshold: float) -> int:
    """How many of the scores are above the threshold."""
    # in double precision, as the inspector compares
    return int(np.count_nonzero(scores.astype(np.float64) > threshold))


@cache
def upper_bound(above: int, count: int) -> float:
    """One-sided 95 % upper bound of a rate of which `above` in `count` were seen: about 3 / count for none."""
    return rate_interval(above, count, confidence=2 * CONFIDENCE - 1).high


def normals_for_bound(rate: float) -> int:
    """How many good parts, none of them above the threshold, show a rate below this one with 95 % confidence."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log1p(-rate))


def statement(calibration: Calibration) -> list[str]:
    """The threshold and what it promises, a line each, for a person."""
    lines = [_threshold(calibration), *_rate(calibration), _more_normals(calibration), _pixels(calibration)]
    if calibration.odd_parts:
        lines.append(_odd(calibration))
    if calibration.certain_threshold is not None:
        lines.append(
            f"rejected up to {calibration.certain_threshold:.4f} is close: the most unusual good parts reach that far"
        )
    if calibration.review_threshold is not None:
        lines.append(_review(calibration, calibration.review_threshold))
    if len(calibration.ng_scores):
        found = recall_text(calibration.ng_scores, calibration.threshold)
        lines.append(f"known defective parts, on which nothing was fitted: {found}")
    return lines


def recall_text(ng_scores: F32, threshold: float) -> str:
    """How many known defective parts a threshold finds, with the 95 % interval."""
    found, count = rejected(ng_scores, threshold), len(ng_scores)
    interval = rate_interval(found, count)
    return f"{found} of {count} NG ({found / count:.0%}, 95 % interval {interval.low:.0%} to {interval.high:.0%})"


def share_text(rate: float) -> str:
    """A small share with two significant digits: 12 %, 0.75 %, 0.034 %."""
    percent = 100 * rate
    if 0 < percent < _LEAST_PERCENT:
        return f"under {_LEAST_PERCENT} %"
    digits = 0 if percent >= 10 or percent == 0 else 1 - math.floor(math.log10(percent))
    return f"{percent:.{digits}f} %"


def _threshold(calibration: Calibration) -> str:
    ground = f"{len(calibration.scores)} held-out good parts, largest score {calibration.scores.max():.4f}"
    budget = f"for a false-reject budget of {share_text(calibration.false_reject_budget)}"
    if calibration.set_by_hand:
        return f"threshold {calibration.threshold:.4f}, SET BY HAND, judged by {ground}"
    if calibration.extrapolated:
        return f"threshold {calibration.threshold:.4f} {budget}, EXTRAPOLATED from {ground}"
    if not calibration.budget_asked:
        budget += ", which is what they support"
    return f"threshold {calibration.threshold:.4f} {budget}, from {ground}"


def _rate(calibration: Calibration) -> list[str]:
    above, count = rejected(calibration.scores, calibration.threshold), len(calibration.scores)
    bound = share_text(calibration.false_reject_bound)
    shown = f"{above} of the {count} are above it: the rate is below {bound} with 95 % confidence"
    if calibration.set_by_hand or not calibration.extrapolated:
        if calibration.set_by_hand:
            return [shown]
        ordinary = "of good parts like the others" if calibration.odd_parts else "of good parts"
        budget = share_text(calibration.false_reject_budget)
        return [f"it rejects at most {budget} {ordinary} on average; {shown}"]
    lines = [f"so few only show a false-reject rate below {bound} with 95 % confidence"]
    if calibration.tail_low is not None and calibration.tail_high is not None:
        span = f"{share_text(calibration.tail_low)} to {share_text(calibration.tail_high)}"
        lines.append(f"if good parts go on as the tail of theirs (generalised Pareto): {span}, 90 % interval")
    return lines


def _more_normals(calibration: Calibration) -> str:
    """What the threshold above all scores would promise now, and with more good parts."""
    count, budget = len(calibration.scores), calibration.false_reject_budget
    best = upper_bound(0, count)
    wanted = [rate for rate in (budget, budget / 5, budget / 25) if rate < best][:2]
    bought = [f"{normals_for_bound(rate) - count:,} more would give {share_text(rate)}" for rate in wanted]
    text = f"with {count} held-out good parts, none above the threshold, the 95 % bound is {share_text(best)}"
    return "; ".join([text, *bought])


def _pixels(calibration: Calibration) -> str:
    text = f"pixel threshold {calibration.pixel_threshold:.4f}"
    if calibration.pixel_share is None or calibration.pixel_share_largest is None:
        return text
    parts = share_text(upper_bound(0, min(len(calibration.scores), MOST_IN_STATISTICS)))
    return (
        f"{text}: {share_text(calibration.pixel_share)} of good parts' area lies above it, at most "
        f"{share_text(calibration.pixel_share_largest)} of one part; fewer than {parts} of good parts have more "
        "(95 % confidence)"
    )


def _odd(calibration: Calibration) -> str:
    count = int(calibration.odd_parts)
    apart = f"{count} of the held-out good parts stand{'s' if count == 1 else ''} apart from the others"
    return f"{apart}, and set nothing: look at them; if they are good, parts like them are rejected"


def _review(calibration: Calibration, review_threshold: float) -> str:
    above, count = rejected(calibration.scores, review_threshold), len(calibration.scores)
    bound = share_text(upper_bound(above, count))
    return (
        f"review from {review_threshold:.4f} up to the threshold: {above} of the {count} good parts are above it, "
        f"fewer than {bound} of all with 95 % confidence"
    )
