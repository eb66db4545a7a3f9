"""Scores of good parts that stand apart from the others: odd parts, which must not say what is usual."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32

F64 = NDArray[np.float64]

# median deviation → standard deviation of a normal distribution
TO_SIGMA = 1.4826
# evidence of good parts has an exponential tail at worst: one of 1,000 lies this many upper median deviations out.
# Good parts that are set aside lower the threshold, so the limit is far; few samples know their spread badly
_FAR, _FAR_OF_FEW = 6.0, 4.0
# a spread of evidence below this share of its median is no spread but luck
_LEAST_SPREAD = 0.1
# evidence of a score of 1 is infinite
_LARGEST_SCORE = 1 - 1e-6
# so many times as far from the median as the last of the others: tails heavier than exponential seldom get there
# (benchmarks/studies/thresholds.py)
_GAP = 3.0
# where more than this share stands apart, good parts come in two kinds, and none of them is odd
_MOST_ODD = 0.1


def outlier_limit(scores: F32) -> float:
    """The score above which a sample is unlike the others; from the half of them with the higher scores.

    On the scale -log(1 - score), in which evidence adds up. What lies above is left out and the limit found again,
    until nothing more does: defects among the samples would widen what is usual.
    """
    return -math.expm1(-_limit(np.sort(_evidence(scores))))


def odd_parts(scores: F32) -> int:
    """How many of the largest scores stand apart: beyond the limit, and with a gap below them.

    A heavy tail goes beyond the limit too, but has no gap. None where more than a tenth stand apart.
    """
    evidence = np.sort(_evidence(scores))
    usual = evidence[evidence <= _limit(evidence)]
    middle = float(np.median(evidence))
    apart = (evidence > usual[-1]) & (evidence - middle >= _GAP * (usual[-1] - middle))
    count = int(np.count_nonzero(apart))
    return count if count <= _MOST_ODD * len(scores) else 0


def _evidence(scores: F32) -> F64:
    return np.asarray(-np.log1p(-np.minimum(scores.astype(np.float64), _LARGEST_SCORE)))


def _limit(evidence: F64) -> float:
    """Of sorted evidence."""
    count = 0
    while count != len(evidence):
        count = len(evidence)
        middle = float(np.median(evidence))
        spread = max(TO_SIGMA * float(np.median(evidence[evidence >= middle] - middle)), _LEAST_SPREAD * middle)
        limit = middle + _FAR * (1 + _FAR_OF_FEW / count) * spread
        evidence = evidence[evidence <= limit]
    return limit
