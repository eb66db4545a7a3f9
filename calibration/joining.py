"""Held-out scores of an earlier calibration beside those of a new one: more good parts support a smaller budget."""

from __future__ import annotations

import math

import numpy as np

from calibration.adjust import with_scores
from edge.bundles.calibration import Calibration
from edge.core.datatypes import F32

# two samples of scores that differ this clearly are not of the same line
_SIGNIFICANT, _AGREEMENT = 0.1, 0.3


def joined(
    new: Calibration, earlier: Calibration, budget: float | None, review: float | None
) -> tuple[Calibration, str]:
    """The new calibration with the thresholds of both's scores, and in words what was done.

    Both are held-out scores of good parts under statistics of such parts. They join where the preprocessing is the
    same, it is known which parts they are of, and the two samples may well be of one distribution (Kolmogorov and
    Smirnov); a part that is in both counts once, with its new score. budget, review: see `fitted_threshold`.
    """
    count = len(earlier.scores)
    if earlier.preprocess_sha256 != new.preprocess_sha256:
        return new, f"the {count} earlier scores do not count: the preprocessing is another one"
    if len(earlier.part_names) != count or len(new.part_names) != len(new.scores):
        return new, f"the {count} earlier scores do not count: which parts they are of was not kept"
    others = ~np.isin(earlier.part_names, new.part_names)
    if not others.any():
        return new, f"the {count} earlier scores do not count: they are of the same parts"
    scores, names = earlier.scores[others], earlier.part_names[others]
    chance = same_distribution(new.scores, scores)
    if chance < _SIGNIFICANT:
        return new, f"the {len(scores)} earlier scores do not count: they differ from the new ones (p = {chance:.2g})"
    made = with_scores(
        new, np.concatenate([new.scores, scores]), np.concatenate([new.part_names, names]), budget, review
    )
    return made, f"the scores of {len(scores)} earlier good parts join: they do not differ (p = {chance:.2g})"


def same_distribution(one: F32, other: F32) -> float:
    """How often two samples of one distribution lie at least this far apart: the two-sample test of Smirnov.

    Asymptotic, with Stephens' correction for few.
    """
    values = np.sort(np.concatenate([one, other]))
    shares = [np.searchsorted(np.sort(each), values, "right") / len(each) for each in (one, other)]
    distance = float(np.abs(shares[0] - shares[1]).max())
    root = math.sqrt(len(one) * len(other) / (len(one) + len(other)))
    level = (root + 0.12 + 0.11 / root) * distance
    # the series of Kolmogorov does not converge where the samples agree
    if level < _AGREEMENT:
        return 1.0
    series = sum((1 if k % 2 else -1) * math.exp(-2 * (k * level) ** 2) for k in range(1, 20))
    return min(1.0, 2 * series)
