"""Another threshold for a bundle, from the scores of held-out good parts that the bundle carries."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibration.adjust import AUTO, with_budget, with_review, with_value
from calibration.findings.findings import Findings
from calibration.findings.what_if import what_if_lines
from calibration.threshold import same_budget
from calibration.tradeoff import choices, in_force, tradeoff_lines
from edge.bundles.bundle import ModelBundle
from edge.bundles.calibration import Calibration
from edge.bundles.history import Audit
from edge.bundles.signed_version import lacks_key, signer, wait_for_signature
from edge.bundles.threshold_report import rejected, statement
from edge.bundles.versions import SHORT, commit_version
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.progress import say


@dataclass(frozen=True)
class ThresholdChange:
    """What is asked for; everything left out stays as it is. Shares of good parts are 0..1.

    set: the threshold itself. false_reject: the budget that it is fitted anew to, AUTO: what the good parts support.
    review: the unsure band, no_review: none any more. precision: only this network's. note: for the history. sign_key:
    signs the new version.
    """

    set: float | None = None
    false_reject: float | None = None
    review: float | None = None
    no_review: bool = False
    precision: str | None = None
    note: str = ""
    sign_key: Path | None = None

    @property
    def changes_something(self) -> bool:
        return self.no_review or not (self.set is self.false_reject is self.review is None)


def change_threshold(bundle: ModelBundle, change: ThresholdChange, settings: Settings) -> dict[str, Calibration]:
    """The calibrations that were meant, by precision, as they are then; what changed is a new version of the bundle.

    Raises UsageError where nothing is calibrated, or the scores do not support what is asked for.
    """
    before = {precision: bundle.calibration(precision) for precision in _precisions(bundle, change)}
    if not before:
        raise UsageError(f"{bundle.path} is not calibrated", fix="run `edge-inspect calibrate` first")
    after = {precision: _changed(calibration, change) for precision, calibration in before.items()}
    changed = {precision: made for precision, made in after.items() if made is not before[precision]}
    if changed:
        _commit(bundle, changed, change, settings)
    return after


def threshold_json(calibration: Calibration, findings: Findings | None, mm_per_px: float | None) -> dict[str, Any]:
    """What the threshold promises, and what others would; see `threshold_lines`."""
    return {
        "threshold": calibration.threshold,
        "set_by_hand": calibration.set_by_hand,
        "extrapolated": calibration.extrapolated,
        "false_reject_budget": calibration.false_reject_budget,
        "false_reject_bound_95": calibration.false_reject_bound,
        "tail_interval_90": None if calibration.tail_low is None else [calibration.tail_low, calibration.tail_high],
        "review_threshold": calibration.review_threshold,
        "certain_threshold": calibration.certain_threshold,
        "budget_asked": calibration.budget_asked,
        "pixel_threshold": calibration.pixel_threshold,
        "held_out": len(calibration.scores),
        "held_out_rejected": rejected(calibration.scores, calibration.threshold),
        "statement": statement(calibration),
        "what_if": what_if_lines(calibration, findings, mm_per_px),
        "choices": [vars(choice) for choice in choices(calibration.scores, in_force(calibration))],
    }


def threshold_lines(calibration: Calibration, findings: Findings | None, mm_per_px: float | None) -> list[str]:
    """The same for a person; findings: what the bundle knows of defects. mm_per_px: in place of what they know."""
    table = tradeoff_lines(calibration.scores, calibration.ng_scores, in_force(calibration))
    words = what_if_lines(calibration, findings, mm_per_px)
    return [*(f"  {line}" for line in (*statement(calibration), *words)), *table]


def _precisions(bundle: ModelBundle, change: ThresholdChange) -> list[str]:
    """Which calibrations are meant; a value fits only the scores of the network that it was chosen for."""
    if change.precision is not None:
        return [change.precision]
    if change.set is not None:
        return [bundle.precision("auto")]
    return [name for name in ("int8", "fp32") if f"calibration_{name}" in bundle.manifest.files]


def _changed(calibration: Calibration, change: ThresholdChange) -> Calibration:
    """The calibration itself when nothing about it changes."""
    made = calibration
    if change.set is not None:
        made = with_value(made, change.set)
    if change.false_reject is not None:
        asked = None if change.false_reject == AUTO else change.false_reject
        # what is in force for this budget stays, whichever version of the program fitted it
        same = asked is not None and made.budget_asked and same_budget(asked, made.false_reject_budget)
        made = made if same and not made.set_by_hand else with_budget(made, asked)
    if change.review is not None or change.no_review:
        made = with_review(made, None if change.no_review else change.review)
    return calibration if made.to_bytes() == calibration.to_bytes() else made


def _commit(bundle: ModelBundle, changed: dict[str, Calibration], change: ThresholdChange, settings: Settings) -> None:
    parts = {
        f"calibration_{precision}": (f"calibration_{precision}.npz", made.to_bytes())
        for precision, made in changed.items()
    }
    audit = Audit("threshold", note=change.note)
    if lacks_key(bundle, settings, change.sign_key):
        wait_for_signature(bundle, bundle.manifest, parts, audit)
        return
    version = commit_version(bundle, bundle.manifest, parts, audit, signer(change.sign_key))
    say(
        f"{bundle.path}: version {version.sha256[:SHORT]} in place of {bundle.sha256[:SHORT]}; a running edge-inspect "
        "takes it between two frames, `edge-inspect rollback` undoes it"
    )
