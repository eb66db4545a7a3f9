"""Another threshold for a calibration that is there, from the held-out scores in it: nothing is measured again."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from calibration.outliers import odd_parts
from calibration.threshold import fitted_threshold, review_threshold
from edge.bundles.calibration import Calibration, Names
from edge.bundles.threshold_report import rejected, share_text, upper_bound
from edge.core.datatypes import F32
from edge.core.errors import UsageError

# a budget that asks for what the held-out good parts support
AUTO = 0.0

_SHOW = "see `edge-inspect threshold --bundle BUNDLE --show` for what other thresholds promise"


def with_budget(calibration: Calibration, budget: float | None) -> Calibration:
    """The threshold that the held-out good parts give for this false-reject budget; None: for what they support.

    An unsure band that a person asked for stays, as far as it lies below.
    """
    fitted = fitted_threshold(calibration.scores, budget)
    kept = None if band_is_automatic(calibration) else calibration.review_threshold
    changed = replace(calibration, **vars(fitted), set_by_hand=False)
    if kept is not None and kept < changed.threshold:
        changed = replace(changed, review_threshold=kept)
    return _sensible(_fitting(changed))


def with_scores(
    calibration: Calibration, scores: F32, part_names: Names, budget: float | None, review: float | None
) -> Calibration:
    """The thresholds that other held-out scores give, under the same statistics; see `fitted_threshold`."""
    fitted = fitted_threshold(scores, budget, review)
    changed = replace(calibration, scores=scores, part_names=part_names, **vars(fitted))
    return _sensible(_fitting(changed))


def band_is_automatic(calibration: Calibration) -> bool:
    """Whether the unsure band came with the budget, so that it goes with it."""
    band = calibration.review_threshold
    if band is None or calibration.set_by_hand or not calibration.budget_asked:
        return False
    automatic = fitted_threshold(calibration.scores, calibration.false_reject_budget).review_threshold
    return automatic is not None and np.float32(band) == np.float32(automatic)


def with_value(calibration: Calibration, value: float) -> Calibration:
    """This threshold, with what it promises; raises UsageError when no line could run with it."""
    if not 0 < value < 1:
        raise UsageError(
            f"{value:g} cannot be a threshold: scores lie between 0 and 1; from 1 on no part would ever be NG",
            fix=_SHOW,
        )
    changed = replace(
        calibration,
        threshold=value,
        false_reject_bound=upper_bound(rejected(calibration.scores, value), len(calibration.scores)),
        extrapolated=value > float(calibration.scores.max()),
        tail_low=None,
        tail_high=None,
        certain_threshold=None,
        set_by_hand=True,
    )
    return _sensible(_fitting(changed))


def with_review(calibration: Calibration, share: float | None) -> Calibration:
    """An unsure band for this share of good parts, or none; raises UsageError when there is no room for it."""
    if share is None:
        return replace(calibration, review_threshold=None)
    ordinary = np.sort(calibration.scores)[: len(calibration.scores) - odd_parts(calibration.scores)]
    found = review_threshold(ordinary, share, calibration.threshold)
    if found is None:
        raise UsageError(
            f"{share_text(share)} of good parts for review leave no band below the threshold "
            f"{calibration.threshold:.4f}",
            fix="give --review a larger share, well above the false-reject budget",
        )
    return replace(calibration, review_threshold=found)


def _fitting(calibration: Calibration) -> Calibration:
    """The thresholds beside the new one: an NG part must have a place, and the unsure band ends at the threshold."""
    threshold, band = calibration.threshold, calibration.review_threshold
    if calibration.pixel_threshold > threshold:
        calibration = replace(calibration, pixel_threshold=threshold, pixel_share=None, pixel_share_largest=None)
    return replace(calibration, review_threshold=band if band is not None and band < threshold else None)


def _sensible(calibration: Calibration) -> Calibration:
    above, count = rejected(calibration.scores, calibration.threshold), len(calibration.scores)
    if 2 * above > count:
        raise UsageError(
            f"threshold {calibration.threshold:.4f} would reject {above} of the {count} held-out good parts",
            fix=_SHOW,
        )
    return calibration
