"""Where normal samples stand among anomalous scores: AUROC and average precision need no more."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edge.metrics.samples import I64, check_classes


@dataclass(frozen=True)
class Ranks:
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


def rank(positives: NDArray[Any], normals_by_image: Iterable[NDArray[Any]]) -> Ranks:
    """Count in chunks, so that the normals need never be in memory together."""
    scores, counts = np.unique(positives, return_counts=True)
    below, at_or_below = np.zeros(scores.size, np.int64), np.zeros(scores.size, np.int64)
    total = 0
    for normals in normals_by_image:
        ordered = np.sort(normals)
        below += np.searchsorted(ordered, scores, "left")
        at_or_below += np.searchsorted(ordered, scores, "right")
        total += ordered.size
    check_classes(positives.size, total)
    return Ranks(counts.astype(np.int64), below, at_or_below, total)
