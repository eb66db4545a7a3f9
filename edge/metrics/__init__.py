"""How good a detector is: threshold-free areas, operating points, intervals. Exact, ties included, nothing binned.

Everywhere: a label or mask value other than 0 means anomalous, a score at or above a threshold means flagged, and every
distinct score is a threshold. Scores must be finite, and both classes present: UsageError otherwise.
Masks and maps are sequences of (h, w) arrays, image by image; sizes may differ from image to image. They are read one
by one, and more than once, so a sequence that loads lazily keeps memory low. docs/figures/evaluation.md defines all.
"""

from edge.metrics.images import (
    F1Max,
    RocCurve,
    average_precision,
    f1_max,
    fpr_at_recall,
    image_auroc,
    recall_at_fpr,
    roc_curve,
)
from edge.metrics.intervals import (
    Interval,
    bootstrap_intervals,
    product_interval,
    rate_interval,
    weighted_interval,
)
from edge.metrics.pixels import DefectChannel, au_spro, aupro, pixel_auroc, pixel_average_precision, region_overlaps

__all__ = [
    "DefectChannel",
    "F1Max",
    "Interval",
    "RocCurve",
    "au_spro",
    "aupro",
    "average_precision",
    "bootstrap_intervals",
    "f1_max",
    "fpr_at_recall",
    "image_auroc",
    "pixel_auroc",
    "pixel_average_precision",
    "product_interval",
    "rate_interval",
    "recall_at_fpr",
    "region_overlaps",
    "roc_curve",
    "weighted_interval",
]
