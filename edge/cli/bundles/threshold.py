"""threshold: what it promises, and another one, as a new version of the bundle that a running edge-inspect takes up."""

from __future__ import annotations

import argparse
import json
from typing import Any

from edge.bundles.bundle import Calibration, ModelBundle, load_bundle
from edge.bundles.history import Audit
from edge.bundles.threshold_report import rejected, statement
from edge.bundles.versions import SHORT, commit_version
from edge.cli.bundles.signed_version import lacks_key, signer, wait_for_signature
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.progress import say
from edge.system.extras import needs


def threshold(options: argparse.Namespace, settings: Settings) -> int:
    """Show the thresholds, or change them from the scores of held-out good parts that the bundle carries."""
    bundle = load_bundle(options.bundle)
    before = {precision: bundle.calibration(precision) for precision in _precisions(bundle, options)}
    if not before:
        raise UsageError(f"{bundle.path} is not calibrated", fix="run `edge-inspect calibrate` first")
    asked = options.set is not None or options.false_reject is not None or options.review is not None
    if options.show and (asked or options.no_review):
        raise UsageError("--show changes nothing, and a change was asked for too", fix="leave --show out")
    after = {precision: _changed(calibration, options) for precision, calibration in before.items()}
    changed = {precision: made for precision, made in after.items() if made is not before[precision]}
    if changed:
        _commit(bundle, changed, options, settings)
    _tell(bundle, after, options)
    return 0


def _precisions(bundle: ModelBundle, options: argparse.Namespace) -> list[str]:
    """Which calibrations are meant; a value fits only the scores of the network that it was chosen for."""
    if options.precision is not None:
        return [options.precision]
    if options.set is not None:
        return [bundle.precision("auto")]
    return [name for name in ("int8", "fp32") if f"calibration_{name}" in bundle.manifest.files]


def _changed(calibration: Calibration, options: argparse.Namespace) -> Calibration:
    """The calibration itself when nothing about it changes."""
    adjust = needs("calibration.adjust", "cpu")
    made = calibration
    if options.set is not None:
        made = adjust.with_value(made, options.set)
    if options.false_reject is not None:
        budget = options.false_reject / 100
        # what is in force for this budget stays, whichever version of the program fitted it
        same = needs("calibration.threshold", "cpu").same_budget(budget, made.false_reject_budget)
        made = made if same and not made.set_by_hand else adjust.with_budget(made, budget)
    if options.review is not None or options.no_review:
        made = adjust.with_review(made, None if options.no_review else options.review / 100)
    return calibration if made.to_bytes() == calibration.to_bytes() else made


def _commit(
    bundle: ModelBundle, changed: dict[str, Calibration], options: argparse.Namespace, settings: Settings
) -> None:
    parts = {
        f"calibration_{precision}": (f"calibration_{precision}.npz", made.to_bytes())
        for precision, made in changed.items()
    }
    audit = Audit("threshold", note=options.note)
    if lacks_key(bundle, settings, options.sign_key):
        wait_for_signature(bundle, bundle.manifest, parts, audit)
        return
    version = commit_version(bundle, bundle.manifest, parts, audit, signer(options.sign_key))
    say(
        f"{bundle.path}: version {version.sha256[:SHORT]} in place of {bundle.sha256[:SHORT]}; a running edge-inspect "
        "takes it between two frames, `edge-inspect rollback` undoes it"
    )


def _tell(bundle: ModelBundle, calibrations: dict[str, Calibration], options: argparse.Namespace) -> None:
    tradeoff = needs("calibration.tradeoff", "cpu")
    if options.json:
        promises = {precision: _as_json(calibration, tradeoff) for precision, calibration in calibrations.items()}
        print(json.dumps({"bundle": load_bundle(bundle.path).sha256, "thresholds": promises}, indent=1))
        return
    for precision, calibration in calibrations.items():
        print(f"{precision}")
        for line in statement(calibration):
            print(f"  {line}")
        for line in tradeoff.tradeoff_lines(calibration.scores, calibration.ng_scores, tradeoff.in_force(calibration)):
            print(line)


def _as_json(calibration: Calibration, tradeoff: Any) -> dict[str, Any]:
    return {
        "threshold": calibration.threshold,
        "set_by_hand": calibration.set_by_hand,
        "extrapolated": calibration.extrapolated,
        "false_reject_budget": calibration.false_reject_budget,
        "false_reject_bound_95": calibration.false_reject_bound,
        "tail_interval_90": None if calibration.tail_low is None else [calibration.tail_low, calibration.tail_high],
        "review_threshold": calibration.review_threshold,
        "pixel_threshold": calibration.pixel_threshold,
        "held_out": len(calibration.scores),
        "held_out_rejected": rejected(calibration.scores, calibration.threshold),
        "statement": statement(calibration),
        "choices": [vars(choice) for choice in tradeoff.choices(calibration.scores, tradeoff.in_force(calibration))],
    }
