"""The new version of a bundle against the live one: the same good and defective parts, judged by both."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np

from calibration.pipeline.calibrator import TARGET, CalibrationSession, Goal, now_utc
from calibration.pipeline.sample_cache import normal_samples
from calibration.threshold import image_threshold
from edge.backends import open_backend
from edge.bundles.bundle import ModelBundle
from edge.bundles.calibration import Calibration
from edge.bundles.threshold_report import rejected
from edge.core.config import Settings
from edge.core.datatypes import F32
from edge.core.latency import StageClock
from edge.core.progress import say, working
from export.gate import GateReport, gate_report
from export.paired_scores import ScoredModel, score_pairs

# artificial defects are told from these parts this much worse than from those that the bundle was made with
_LOST_AUROC = 0.1
# good parts that vary more than before rightly widen the statistics, and the map tells less there
_PIXEL_LEEWAY = 5
_NOT_BY_CHANCE = 0.99
# earlier good parts that are judged, at most
_EARLIER = 48


def live_model(
    bundle: ModelBundle, precision: str, live: Calibration, new_scores: F32, goal: Goal, settings: Settings
) -> ScoredModel:
    """The live version, with its threshold raised to where it would keep the budget on the new samples.

    As it stands it might reject them all, and every defect with them: nothing could then be missed less. new_scores:
    its scores of the new samples. The caller closes the backend.
    """
    share = _accepted(live, goal, live.false_reject_budget)
    fitted = image_threshold(new_scores, share)
    inspection = settings.inspection
    backend = open_backend(bundle, inspection.backend, precision, inspection.threads)
    return ScoredModel(backend, max(live.threshold, fitted.value))


def versions_compared(
    session: CalibrationSession,
    old: ScoredModel,
    new: ScoredModel,
    live: Calibration,
    earlier: Path | None,
    *,
    budget: float,
    scene_changed: bool,
) -> GateReport:
    """The gate between two versions. live: the calibration of the old one. budget: false rejects of the new one.

    earlier: folder of earlier good parts, which must still pass, unless the scene that they show is gone.
    """
    gate_samples, gate = session.gate_samples, session.settings.gate
    with working("judging good and defective parts with the old version and the new one"):
        pairs = score_pairs(gate_samples, old, new)
    good = sum(not part.defective for part in pairs)
    accepted = _accepted(live, session.goal, budget)
    share = gate.flip_share if gate.flip_share is not None else _by_chance(good, accepted) / good
    limits = gate.model_copy(update={"flip_share": share, "aupro_drop": min(1.0, _PIXEL_LEEWAY * gate.aupro_drop)})
    report = gate_report(
        pairs, old, new, limits, budget=budget, target=TARGET, precision="new version",
        defects=gate_samples.defects, created_utc=now_utc(),
    )  # fmt: skip
    exceeded = [*report.exceeded, *_auroc_lost(session.parts.bundle, report)]
    if earlier is not None:
        more, count = _earlier_newly_rejected(session, old, new, earlier)
        if not scene_changed and more > report.flips_allowed:
            exceeded.append(f"{more} of {count} earlier good parts newly rejected")
    return replace(report, exceeded=tuple(exceeded))


def _accepted(live: Calibration, goal: Goal, budget: float) -> float:
    """The share of good parts that may be rejected: what the person accepted who set the threshold, else the budget."""
    if goal.kept is None:
        return budget
    return max(budget, (rejected(live.scores, goal.kept) + 1) / (len(live.scores) + 1))


def _by_chance(count: int, budget: float) -> int:
    """How many of so many good parts a threshold that keeps its budget may reject: more in one of a hundred draws."""
    chance, allowed = 0.0, -1
    while chance < _NOT_BY_CHANCE:
        allowed += 1
        chance += math.comb(count, allowed) * budget**allowed * (1 - budget) ** (count - allowed)
    return allowed


def _auroc_lost(bundle: ModelBundle, report: GateReport) -> list[str]:
    """Whether the network still tells defects apart on these parts as it did when the bundle was last gated."""
    if "gate_cpu" not in bundle.manifest.files or report.auroc is None:
        return []
    try:
        before = float(json.loads(bundle.read("gate_cpu"))[-1]["auroc"][1])
    except (IndexError, KeyError, TypeError, ValueError):
        return []
    now = report.auroc[1]
    if before - now <= _LOST_AUROC:
        return []
    return [
        f"image AUROC {now:.4f} of artificial defects on these parts, {before:.4f} when the bundle was last gated: "
        "another product, or a scene that the network must be trained on"
    ]


def _earlier_newly_rejected(
    session: CalibrationSession, old: ScoredModel, new: ScoredModel, folder: Path
) -> tuple[int, int]:
    """How many more of them the new version rejects, and of how many."""
    reader = session.parts.reader
    frames = [
        reader.read(part.path) for part in normal_samples(session.parts.bundle, folder, _EARLIER, reader).held_out
    ]
    before, after = (
        int(np.count_nonzero([model.backend.score(f, StageClock(0)).score > model.threshold for f in frames]))
        for model in (old, new)
    )
    say(f"{len(frames)} earlier good parts of {folder}: the old version rejects {before}, the new {after}")
    return after - before, len(frames)
