"""Figures of anomaly maps against masks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.errors import UsageError
from edge.metrics.ranks import Ranks, rank
from edge.metrics.samples import F64, ROUNDING, Maps, check_classes, check_rate, checked_images


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
    inside, weights, normals = [], [], []
    regions = 0
    for anomalous, values in checked_images(masks, maps):
        count, labels, stats, _ = cv2.connectedComponentsWithStats(anomalous.astype(np.uint8), connectivity=8)
        sizes = np.asarray(stats)[:, cv2.CC_STAT_AREA]
        inside.append(values[anomalous])
        weights.append(1.0 / sizes[np.asarray(labels)[anomalous]])
        normals.append(values[~anomalous])
        regions += count - 1
    return _overlap_areas(inside, weights, normals, regions, [fpr_limit])[0]


def region_overlaps(masks: Maps, maps: Maps, fpr_limit: float = 0.3) -> list[F64]:
    """What each region adds to aupro: for every image the areas of its regions, 0..1; their mean is aupro.

    But for the trapezoids between two normal scores, which here are steps: a difference of less than one normal pixel's
    share of the limit.
    """
    check_rate("fpr_limit", fpr_limit, zero_allowed=False)
    pairs = list(checked_images(masks, maps))
    normals = np.sort(np.concatenate([values[~anomalous].ravel() for anomalous, values in pairs]))
    check_classes(sum(int(anomalous.sum()) for anomalous, _ in pairs), normals.size)
    found = []
    for anomalous, values in pairs:
        count, labels, stats, _ = cv2.connectedComponentsWithStats(anomalous.astype(np.uint8), connectivity=8)
        fpr = 1 - np.searchsorted(normals, values[anomalous], "left") / normals.size
        area = np.maximum(0.0, 1 - fpr / fpr_limit)
        sums = np.bincount(np.asarray(labels)[anomalous], weights=area, minlength=count)
        found.append(sums[1:] / np.asarray(stats)[1:, cv2.CC_STAT_AREA])
    return found


@dataclass(frozen=True)
class DefectChannel:
    """One defect of an image: where it is, bool (h, w), and how many of its pixels are enough to have found it.

    A missing screw is found by a mark of a screw's size anywhere in the place where it could be: its mask is the place,
    its saturation the screw. 0 < saturation_px <= the mask's area.
    """

    mask: NDArray[np.bool_]
    saturation_px: float


def au_spro(channels: Sequence[Sequence[DefectChannel]], maps: Maps, fpr_limits: Sequence[float]) -> list[float]:
    """The area under the saturated per-region-overlap curve up to each false-positive rate, divided by that rate.

    channels: for every image its defects, none for a good one. As aupro, but a region is a channel, connected or not,
    its overlap is min(flagged pixels / saturation, 1), and a pixel is normal where no channel of its image covers it.
    With saturation_px equal to the area of connected masks this is aupro.
    """
    masks = [
        np.any([channel.mask for channel in image], axis=0) if image else np.zeros(np.shape(values), np.bool_)
        for image, values in zip(channels, maps, strict=True)
    ]
    inside, weights, normals = [], [], []
    for image, (anomalous, values) in zip(channels, checked_images(masks, maps), strict=True):
        normals.append(values[~anomalous])
        for channel in image:
            scores = np.sort(values[channel.mask])[::-1]
            if not 0 < channel.saturation_px <= scores.size:
                raise UsageError(
                    f"a defect of {scores.size} pixels cannot be found by {channel.saturation_px} of them",
                    fix="saturation_px must lie above 0 and not exceed the mask's area",
                )
            # what the k-th highest pixel adds: nothing beyond saturation
            covered = np.minimum(np.arange(scores.size + 1) / channel.saturation_px, 1.0)
            inside.append(scores)
            weights.append(np.diff(covered))
    return _overlap_areas(inside, weights, normals, sum(map(len, channels)), fpr_limits)


# --- parts of the above


def _pixel_ranks(masks: Maps, maps: Maps) -> Ranks:
    positives = [values[anomalous] for anomalous, values in checked_images(masks, maps)]
    return rank(np.concatenate(positives), (values[~anomalous] for anomalous, values in checked_images(masks, maps)))


def _overlap_areas(
    inside_parts: Sequence[NDArray[Any]],
    weight_parts: Sequence[F64],
    normal_parts: Sequence[NDArray[Any]],
    regions: int,
    limits: Sequence[float],
) -> list[float]:
    """Area under the overlap curve up to each limit, over that limit.

    inside, weights: scores inside regions, and what each adds to its region's overlap; normals: all other scores.
    """
    for limit in limits:
        check_rate("fpr_limit", limit, zero_allowed=False)
    check_classes(sum(map(len, inside_parts)), sum(map(len, normal_parts)))
    inside, weights = np.concatenate(inside_parts), np.concatenate(weight_parts) / regions
    normals = np.concatenate(normal_parts)
    total = normals.size
    allowed = math.floor(max(limits) * total + ROUNDING)
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
    x, y = np.append(0.0, fpr), np.append(0.0, pro)
    return [_area_up_to(x, y, limit) / limit for limit in limits]


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
