"""Scores of good parts that stand apart from the others: odd parts, which must not say what is usual."""

from __future__ import annotations

import math

import numpy as np

from edge.core.datatypes import F32

# median deviation → standard deviation of a normal distribution
TO_SIGMA = 1.4826
# evidence of good parts has an exponential tail at worst: one of 1,000 lies this many upper median deviations out.
# Good parts that are set aside lower the threshold, so the limit is far; few samples know their spread badly
_FAR, _FAR_OF_FEW = 6.0, 4.0
# a spread of evidence below this share of its median is no spread but luck
_LEAST_SPREAD = 0.1
# evidence of a score of 1 is infinite
_LARGEST_SCORE = 1 - 1e-6
# where more than this share stands apart, good parts come in two kinds, and none of them is odd
_MOST_ODD = 0.1


def outlier_limit(scores: F32) -> float:
    """The score above which a sample is unlike the others; from the half of them with the higher scores.

    On the scale -log(1 - score), in which evidence adds up. What lies above is left out and the limit found again,
    until nothing more does: defects among the samples would widen what is usual.
    """
    evidence = np.sort(-np.log1p(-np.minimum(scores.astype(np.float64), _LARGEST_SCORE)))
    count = 0
    while count != len(evidence):
        count = len(evidence)
        middle = float(np.median(evidence))
        spread = max(TO_SIGMA * float(np.median(evidence[evidence >= middle] - middle)), _LEAST_SPREAD * middle)
        limit = middle + _FAR * (1 + _FAR_OF_FEW / count) * spread
        evidence = evidence[evidence <= limit]
    return -math.expm1(-limit)


def odd_parts(scores: F32) -> int:
    """How many of the largest scores stand apart; none where these are more than a tenth."""
    apart = int(np.count_nonzero(scores.astype(np.float64) > outlier_limit(scores)))
    return apart if apart <= _MOST_ODD * len(scores) else 0
