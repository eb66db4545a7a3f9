"""Detectors side by side on one data set, and which of them to use (docs/figures/evaluation.md says why)."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.quality.predictions import BOOTSTRAP_RESAMPLES, Detector, Predictions
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.metrics import Interval, image_auroc

NETWORK, TRIVIAL = "network", "trivial"
# methods closer than this on artificial defects are equal, and the faster one is taken
EQUAL_AUROC = 0.005
SUMMARISED = (
    "image_auroc", "image_ap", "pixel_auroc", "pixel_ap", "aupro_30", "aupro_05", "fpr_at_95", "fpr_at_99",
    "recall_at_fpr_05", "recall", "false_reject_rate", "f1_max_diagnostic", "score_ms_p50",
)  # fmt: skip


@dataclass(frozen=True)
class Contender:
    """One detector: its group, figures of every seed, and what its first seed predicted of each test picture.

    artificial_auroc: of each seed, artificial defects against held-out good parts.
    """

    name: str
    group: str
    figures: tuple[dict[str, Any], ...]
    artificial_auroc: tuple[float, ...]
    predictions: Predictions

    def mean(self, figure: str) -> float | None:
        """Over seeds; None where the figure does not exist."""
        values = [figures[figure] for figures in self.figures]
        return None if None in values else statistics.fmean(values)

    def deviation(self, figure: str) -> float | None:
        """Standard deviation over seeds; None for a single one, or where the figure does not exist."""
        values = [figures[figure] for figures in self.figures]
        return None if None in values or len(values) < 2 else statistics.stdev(values)

    @property
    def auroc(self) -> float:
        return statistics.fmean(figures["image_auroc"] for figures in self.figures)

    @property
    def artificial(self) -> float:
        return statistics.fmean(self.artificial_auroc)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "group": self.group,
            "mean": {figure: self.mean(figure) for figure in SUMMARISED},
            "std": {figure: self.deviation(figure) for figure in SUMMARISED},
            "artificial_auroc": list(self.artificial_auroc),
            "seeds": list(self.figures),
        }


@dataclass(frozen=True)
class Recommendation:
    """name: of the detector to use, None for none. bar: the best detector without a network.

    lead: interval of the recommended network's image AUROC minus the bar's; None where no network is recommended.
    """

    name: str | None
    bar: str
    lead: Interval | None
    text: str

    def as_json(self) -> dict[str, Any]:
        lead = None if self.lead is None else [self.lead.low, self.lead.high]
        return {"use": self.name, "best_without_network": self.bar, "lead_interval_95": lead, "text": self.text}


def artificial_auroc(detector: Detector, normals: Sequence[U8], defective: Sequence[U8]) -> float:
    """Image AUROC of artificial defects against held-out good parts."""
    scores = [detector(picture, None).score for picture in (*normals, *defective)]
    return image_auroc(np.repeat([0, 1], [len(normals), len(defective)]), np.array(scores))


def recommend(contenders: Sequence[Contender]) -> Recommendation:
    """Test pictures only exclude networks that do not beat what needs none; artificial defects rank the rest."""
    networks = [contender for contender in contenders if contender.group == NETWORK]
    others = [contender for contender in contenders if contender.group != NETWORK]
    if not networks or not others:
        raise UsageError(
            f"{len(networks)} methods and {len(others)} baselines: nothing to compare", fix="name at least one method"
        )
    bar = max(others, key=lambda contender: contender.auroc)
    better = [contender for contender in networks if contender.auroc > bar.auroc]
    if not better:
        return _none_is_better(networks, bar)
    limit = max(contender.artificial for contender in better) - EQUAL_AUROC
    equals = [contender for contender in better if contender.artificial >= limit]
    chosen = min(equals, key=lambda contender: float(contender.mean("score_ms_p50") or 0.0))
    lead = lead_interval(chosen.predictions, bar.predictions)
    text = (
        f"Use {chosen.name}: image AUROC {chosen.auroc:.3f} on the test pictures, {bar.auroc:.3f} for {bar.name}, the "
        f"best detector without a network. Of {_counted(len(better), 'method')} that beat it, this one is "
        f"{'the best' if len(equals) == 1 else 'as good as the best, and the fastest,'} on artificial defects "
        f"({chosen.artificial:.3f}). {_at_threshold(chosen)}"
    )
    if lead.low <= 0:
        text += (
            f" The lead may be chance (95 % interval {lead.low:+.3f} to {lead.high:+.3f}): "
            "collect more labelled pictures before relying on it."
        )
    return Recommendation(chosen.name, bar.name, lead, text)


def _none_is_better(networks: Sequence[Contender], bar: Contender) -> Recommendation:
    best = max(networks, key=lambda contender: contender.auroc)
    figures = f"image AUROC {bar.auroc:.3f}; the best method, {best.name}, {best.auroc:.3f}"
    if bar.group == TRIVIAL:
        text = (
            f"None of the methods beats {bar.name}, one number per picture ({figures}): nothing is recommended. "
            "Make sure that good and bad parts were photographed the same way; then collect more good parts."
        )
        return Recommendation(None, bar.name, None, text)
    text = (
        f"None of the methods beats {bar.name} ({figures}): use {bar.name}, or collect more pictures of good parts and "
        f"train longer. {_at_threshold(bar)}"
    )
    return Recommendation(bar.name, bar.name, None, text)


def _at_threshold(contender: Contender) -> str:
    recall, rejected = contender.mean("recall"), contender.mean("false_reject_rate")
    if recall is None or rejected is None:
        return "It has no threshold yet."
    return f"At its threshold it finds {recall:.0%} of the defects and rejects {rejected:.0%} of the good parts."


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'s' * (count != 1)}"


def lead_interval(one: Predictions, other: Predictions, seed: int = 0) -> Interval:
    """The 95 % bootstrap interval of one's image AUROC minus the other's, on the same resampled pictures."""
    if [picture.path for picture in one.pictures] != [picture.path for picture in other.pictures]:
        raise UsageError("the detectors saw different test pictures", fix="evaluate both on one folder")
    labels = one.labels
    random = np.random.default_rng(seed)
    classes = [np.flatnonzero(labels == label) for label in (0, 1)]
    leads = np.empty(BOOTSTRAP_RESAMPLES)
    for index in range(BOOTSTRAP_RESAMPLES):
        rows = np.concatenate([random.choice(members, members.size) for members in classes])
        leads[index] = image_auroc(labels[rows], one.scores[rows]) - image_auroc(labels[rows], other.scores[rows])
    low, high = np.quantile(leads, [0.025, 0.975])
    return Interval(float(low), float(high))
