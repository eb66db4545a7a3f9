"""Recall and false rejects at the thresholds of several budgets, each from the same held-out good parts.

Beside them what labels would allow: the recall of the best threshold that rejects the same share of these test parts.
It looks at the labels, so no line can have it; what a threshold finds of it says what choosing it blindly costs.
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np

from benchmarks.quality.predictions import Predictions
from calibration.threshold import fitted_threshold
from edge.core.datatypes import F32
from edge.metrics import rate_interval, recall_at_fpr

# None: the default, which is what the good parts support
BUDGETS: tuple[float | None, ...] = (None, 0.005, 0.02, 0.05)
_OVER_SEEDS = (
    "false_reject_budget", "false_reject_rate", "recall", "recall_with_labels", "recall_with_labels_at_rate",
    "recall_with_review", "good_with_review",
)  # fmt: skip


def figures_at_budgets(predictions: Predictions, held_out: F32) -> list[dict[str, Any]]:
    """A row for each of BUDGETS; held_out: scores of the good parts that thresholds are fitted to."""
    labels, scores = predictions.labels, predictions.scores
    good, defective = scores[labels == 0], scores[labels == 1]
    rows = []
    for budget in BUDGETS:
        fitted = fitted_threshold(held_out, budget)
        count = int(np.count_nonzero(good > fitted.threshold))
        realised = count / len(good)
        interval = rate_interval(count, len(good))
        marked = scores > (fitted.threshold if fitted.review_threshold is None else fitted.review_threshold)
        rows.append({
            "budget": "default" if budget is None else f"{budget:g}",
            "false_reject_budget": fitted.false_reject_budget,
            "false_reject_bound": fitted.false_reject_bound,
            "extrapolated": fitted.extrapolated,
            "threshold": fitted.threshold,
            "false_reject_rate": realised,
            "false_reject_interval_95": [interval.low, interval.high],
            "recall": float(np.mean(defective > fitted.threshold)),
            "recall_with_labels": recall_at_fpr(labels, scores, fitted.false_reject_budget),
            "recall_with_labels_at_rate": recall_at_fpr(labels, scores, realised),
            "recall_with_review": float(marked[labels == 1].mean()),
            "good_with_review": float(marked[labels == 0].mean()),
        })  # fmt: skip
    return rows


def budgets_text(rows: list[dict[str, Any]]) -> list[str]:
    """The same for a person, a line each."""
    lines = []
    for row in rows:
        name = "default budget" if row["budget"] == "default" else "budget"
        guess = ", extrapolated" if row["extrapolated"] else ""
        lines.append(
            f"{name} {row['false_reject_budget']:.1%}{guess}: {row['recall']:.1%} of defects found, "
            f"{row['false_reject_rate']:.1%} of good parts rejected; with labels in hand the same budget would find "
            f"{row['recall_with_labels']:.1%}"
        )
    return lines


def budgets_over_seeds(seeds: Sequence[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """Of each budget the mean and standard deviation over seeds; thresholds and bounds differ and are left out."""
    rows = []
    for same in zip(*seeds, strict=True):
        row: dict[str, Any] = {"budget": same[0]["budget"], "extrapolated": any(each["extrapolated"] for each in same)}
        for name in _OVER_SEEDS:
            values = [each[name] for each in same]
            row[name] = {
                "mean": statistics.fmean(values), "std": statistics.stdev(values) if len(values) > 1 else 0.0
            }  # fmt: skip
        rows.append(row)
    return rows


def budgets_table(rows: list[dict[str, Any]]) -> list[str]:
    """The same in Markdown."""
    lines = ["| budget | false rejects | recall | with labels | its share |", "|---|---|---|---|---|"]
    for row in rows:
        rate, recall, best = (row[name]["mean"] for name in ("false_reject_rate", "recall", "recall_with_labels"))
        budget = f"{row['false_reject_budget']['mean']:.1%}{' (default)' if row['budget'] == 'default' else ''}"
        guess = ", extrapolated" if row["extrapolated"] else ""
        share = f"{recall / best:.2f}" if best else "–"
        lines.append(f"| {budget}{guess} | {rate:.1%} | {recall:.3f} | {best:.3f} | {share} |")
    return lines
