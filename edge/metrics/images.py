"""Figures of image scores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from edge.metrics.ranks import rank
from edge.metrics.samples import F64, ROUNDING, check_rate, split_classes


def image_auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The probability that an anomalous image scores above a normal one; a tie counts one half.

    Equals the area under the ROC curve with linear interpolation between thresholds.
    """
    positives, negatives = split_classes(labels, scores)
    return rank(positives, [negatives]).auroc()


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Precision averaged over recall: the sum of (R_n - R_n-1) P_n over all thresholds, without interpolation."""
    positives, negatives = split_classes(labels, scores)
    return rank(positives, [negatives]).average_precision()


def fpr_at_recall(labels: ArrayLike, scores: ArrayLike, recall: float) -> float:
    """The smallest false-positive rate over all thresholds that find at least `recall` (0..1] of the anomalies."""
    check_rate("recall", recall, zero_allowed=False)
    positives, negatives = split_classes(labels, scores)
    needed = math.ceil(recall * positives.size - ROUNDING)
    threshold = np.sort(positives)[positives.size - needed]
    return float(np.mean(negatives >= threshold))


def recall_at_fpr(labels: ArrayLike, scores: ArrayLike, fpr: float) -> float:
    """The largest recall over all thresholds whose false-positive rate is at most `fpr` (0..1)."""
    check_rate("fpr", fpr)
    positives, negatives = split_classes(labels, scores)
    allowed = math.floor(fpr * negatives.size + ROUNDING)
    if allowed >= negatives.size:
        return 1.0
    # the threshold must lie above the first normal that may no longer be flagged
    first_kept = np.sort(negatives)[negatives.size - 1 - allowed]
    return float(np.mean(positives > first_kept))


@dataclass(frozen=True)
class F1Max:
    """The largest F1 over all thresholds, and the threshold: both look at the labels, so neither may be deployed."""

    value: float
    threshold: float


def f1_max(labels: ArrayLike, scores: ArrayLike) -> F1Max:
    """The threshold with the largest 2 P R / (P + R), the highest of them in a tie; a diagnostic."""
    positives, negatives = split_classes(labels, scores)
    thresholds = np.unique(positives)
    found = _at_or_above(positives, thresholds)
    flagged = found + _at_or_above(negatives, thresholds)
    # 2 P R / (P + R) = 2 found / (flagged + anomalous); between anomalous scores it only falls
    values = 2 * found / (flagged + positives.size)
    best = values.size - 1 - int(np.argmax(values[::-1]))
    return F1Max(float(values[best]), float(thresholds[best]))


@dataclass(frozen=True)
class RocCurve:
    """False-positive rate and recall from the highest threshold, above every score, to the lowest."""

    fpr: F64
    recall: F64


def roc_curve(labels: ArrayLike, scores: ArrayLike) -> RocCurve:
    """Every point of the ROC curve; (0, 0) first, (1, 1) last."""
    positives, negatives = split_classes(labels, scores)
    thresholds = np.unique(np.concatenate([positives, negatives]))[::-1]
    fpr = _at_or_above(negatives, thresholds) / negatives.size
    recall = _at_or_above(positives, thresholds) / positives.size
    return RocCurve(np.append(0.0, fpr), np.append(0.0, recall))


def _at_or_above(scores: F64, thresholds: F64) -> F64:
    """How many scores each threshold flags."""
    flagged: F64 = scores.size - np.searchsorted(np.sort(scores), thresholds, "left").astype(np.float64)
    return flagged
