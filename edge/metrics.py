"""How good a detector is: threshold-free areas, operating points, intervals. Exact, ties included, nothing binned.

Everywhere: a label or mask value other than 0 means anomalous, a score at or above a threshold means flagged, and every
distinct score is a threshold. Scores must be finite, and both classes present: UsageError otherwise.
Masks and maps are sequences of (h, w) arrays, image by image; sizes may differ from image to image. They are read one
by one, and more than once, so a sequence that loads lazily keeps memory low.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from edge.errors import UsageError

Maps = Sequence[NDArray[Any]]
F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

# counts times a rate may miss a whole number by a rounding error: 0.07 * 100 > 7
_ROUNDING = 1e-9


@dataclass(frozen=True)
class Interval:
    """A confidence interval of a rate, 0..1."""

    low: float
    high: float


# --- image level


def image_auroc(labels: ArrayLike, scores: ArrayLike) -> float:
    """The probability that an anomalous image scores above a normal one; a tie counts one half.

    Equals the area under the ROC curve with linear interpolation between thresholds.
    """
    positives, negatives = _split(labels, scores)
    return _rank(positives, [negatives]).auroc()


def average_precision(labels: ArrayLike, scores: ArrayLike) -> float:
    """Precision averaged over recall: the sum of (R_n - R_n-1) P_n over all thresholds, without interpolation."""
    positives, negatives = _split(labels, scores)
    return _rank(positives, [negatives]).average_precision()


def fpr_at_recall(labels: ArrayLike, scores: ArrayLike, recall: float) -> float:
    """The smallest false-positive rate over all thresholds that find at least `recall` (0..1] of the anomalies."""
    _check_rate("recall", recall, zero_allowed=False)
    positives, negatives = _split(labels, scores)
    needed = math.ceil(recall * positives.size - _ROUNDING)
    threshold = np.sort(positives)[positives.size - needed]
    return float(np.mean(negatives >= threshold))


def recall_at_fpr(labels: ArrayLike, scores: ArrayLike, fpr: float) -> float:
    """The largest recall over all thresholds whose false-positive rate is at most `fpr` (0..1)."""
    _check_rate("fpr", fpr)
    positives, negatives = _split(labels, scores)
    allowed = math.floor(fpr * negatives.size + _ROUNDING)
    if allowed >= negatives.size:
        return 1.0
    # the threshold must lie above the first normal that may no longer be flagged
    first_kept = np.sort(negatives)[negatives.size - 1 - allowed]
    return float(np.mean(positives > first_kept))


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


# --- pixel level


def pixel_auroc(masks: Maps, maps: Maps) -> float:
    """image_auroc over the pixels of all images, pooled."""
    return _pixel_ranks(masks, maps).auroc()


def pixel_average_precision(masks: Maps, maps: Maps) -> float:
    """average_precision over the pixels of all images, pooled."""
    return _pixel_ranks(masks, maps).average_precision()


def aupro(masks: Maps, maps: Maps, fpr_limit: float = 0.3) -> float:
    """The area under the per-region-overlap curve up to a false-positive rate, divided by that rate: 0..1.

    At every threshold: PRO = the flagged fraction of each 8-connected ground-truth region, averaged over the regions of
    all images; FPR = the flagged fraction of all normal pixels of all images, those of anomalous images included. Equal
    scores are one threshold. The curve starts at (0, 0); trapezoids, linear interpolation at `fpr_limit` (0..1].
    Holds the score of every normal pixel at once, four bytes each for float32 maps.
    """
    _check_rate("fpr_limit", fpr_limit, zero_allowed=False)
    inside, weights, normals = _region_pixels(masks, maps)
    total = normals.size
    allowed = math.floor(fpr_limit * total + _ROUNDING)
    # at this normal score the rate first exceeds the limit; nothing below it can matter
    cut = -np.inf
    if allowed < total:
        place = total - 1 - allowed
        cut = np.partition(normals, place)[place]
    normals = np.sort(normals[normals >= cut])
    order = np.argsort(inside)
    inside, weights = inside[order], weights[order]
    thresholds = np.unique(np.concatenate([inside[inside >= cut], normals]))[::-1]
    fpr = (normals.size - np.searchsorted(normals, thresholds, "left")) / total
    # overlap[i]: what the pixels from the i-th lowest on cover together
    overlap = np.append(np.cumsum(weights[::-1])[::-1], 0.0)
    pro = overlap[np.searchsorted(inside, thresholds, "left")]
    return _area_up_to(np.append(0.0, fpr), np.append(0.0, pro), fpr_limit) / fpr_limit


# --- parts of the above


@dataclass(frozen=True)
class _Ranks:
    """Where the normals stand among the anomalous scores.

    positives: how many anomalous at each distinct anomalous score, ascending.
    below, at_or_below: how many normals, for each such score.
    """

    positives: I64
    below: I64
    at_or_below: I64
    normals: int

    def auroc(self) -> float:
        wins = self.positives @ (self.below + self.at_or_below) / 2
        return float(wins / (self.positives.sum() * self.normals))

    def average_precision(self) -> float:
        # recall changes at anomalous scores only, so no other threshold adds to the sum
        found = np.cumsum(self.positives[::-1])[::-1]
        precision = found / (found + self.normals - self.below)
        return float(self.positives @ precision / self.positives.sum())


def _rank(positives: NDArray[Any], normals_by_image: Iterable[NDArray[Any]]) -> _Ranks:
    """Count in chunks, so that the normals need never be in memory together."""
    scores, counts = np.unique(positives, return_counts=True)
    below, at_or_below = np.zeros(scores.size, np.int64), np.zeros(scores.size, np.int64)
    total = 0
    for normals in normals_by_image:
        ordered = np.sort(normals)
        below += np.searchsorted(ordered, scores, "left")
        at_or_below += np.searchsorted(ordered, scores, "right")
        total += ordered.size
    _check_classes(positives.size, total)
    return _Ranks(counts.astype(np.int64), below, at_or_below, total)


def _pixel_ranks(masks: Maps, maps: Maps) -> _Ranks:
    positives = [values[anomalous] for anomalous, values in _images(masks, maps)]
    return _rank(np.concatenate(positives), (values[~anomalous] for anomalous, values in _images(masks, maps)))


def _region_pixels(masks: Maps, maps: Maps) -> tuple[NDArray[Any], F64, NDArray[Any]]:
    """Scores inside regions, what each such pixel adds to the mean overlap, and the scores of all normal pixels."""
    inside, weights, normals = [], [], []
    regions = 0
    for anomalous, values in _images(masks, maps):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(anomalous.astype(np.uint8), connectivity=8)
        sizes = np.asarray(stats)[:, cv2.CC_STAT_AREA]
        inside.append(values[anomalous])
        weights.append(1.0 / sizes[np.asarray(labels)[anomalous]])
        normals.append(values[~anomalous])
        regions += count - 1
    scores, ordinary = np.concatenate(inside), np.concatenate(normals)
    _check_classes(scores.size, ordinary.size)
    return scores, np.concatenate(weights) / regions, ordinary


def _area_up_to(x: F64, y: F64, limit: float) -> float:
    """The trapezoid area under points with ascending x, from 0 to `limit`; y at the limit is interpolated."""
    end = int(np.searchsorted(x, limit, "right"))
    if end < x.size and x[end - 1] < limit:
        share = (limit - x[end - 1]) / (x[end] - x[end - 1])
        x = np.append(x[:end], limit)
        y = np.append(y[:end], y[end - 1] + share * (y[end] - y[end - 1]))
    else:
        x, y = x[:end], y[:end]
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1]) / 2))


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


def _images(masks: Maps, maps: Maps) -> Iterator[tuple[NDArray[np.bool_], NDArray[Any]]]:
    """(anomalous, scores) of each image, checked."""
    if len(masks) != len(maps) or len(masks) == 0:
        raise UsageError(f"{len(masks)} masks for {len(maps)} maps", fix="give one mask per map, and at least one")
    for index, (mask, values) in enumerate(zip(masks, maps, strict=True)):
        mask, values = np.asarray(mask), _floats(values, f"map {index}")
        if mask.shape != values.shape or mask.ndim != 2:
            raise UsageError(
                f"image {index}: mask {mask.shape}, map {values.shape}", fix="resize both to one (height, width)"
            )
        yield mask != 0, values


def _split(labels: ArrayLike, scores: ArrayLike) -> tuple[NDArray[Any], NDArray[Any]]:
    """Scores of the anomalous and of the normal images."""
    anomalous, values = np.asarray(labels) != 0, _floats(scores, "the scores")
    if anomalous.shape != values.shape or anomalous.ndim != 1:
        raise UsageError(f"labels {anomalous.shape}, scores {values.shape}", fix="give one label for every score")
    _check_classes(int(anomalous.sum()), int((~anomalous).sum()))
    return values[anomalous], values[~anomalous]


def _floats(values: ArrayLike, what: str) -> NDArray[Any]:
    array = np.asarray(values)
    # float32 stays float32: half the memory, and no comparison changes
    array = array if array.dtype == np.float32 else array.astype(np.float64)
    bad = array.size - int(np.count_nonzero(np.isfinite(array)))
    if bad:
        raise UsageError(
            f"{what}: {bad} of {array.size} values are NaN or infinite", fix="find out which step produced them"
        )
    return array


def _check_classes(anomalous: int, normal: int) -> None:
    if anomalous == 0 or normal == 0:
        raise UsageError(
            f"{anomalous} anomalous and {normal} normal samples: both kinds are needed",
            fix="add samples of the missing kind",
        )


def _check_rate(name: str, value: float, *, zero_allowed: bool = True) -> None:
    if not (0 < value <= 1 or (zero_allowed and value == 0)):
        raise UsageError(f"{name} {value} is not a rate", fix="give a number between 0 and 1, for example 0.05")
