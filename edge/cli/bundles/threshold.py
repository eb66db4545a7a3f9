"""threshold: what it promises, and another one, as a new version of the bundle that a running edge-inspect takes up."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edge.cli.options import number, percent_or_auto, request_from, share
from edge.core.config import Settings
from edge.core.errors import UsageError


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--bundle", required=True, help="model bundle directory")
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--set", type=number, metavar="VALUE", help="the threshold itself, a score between 0 and 1")
    change.add_argument(
        "--false-reject", type=percent_or_auto, metavar="PERCENT",
        help="fit it anew to this false-reject budget, or auto: what the held-out good parts support",
    )  # fmt: skip
    change.add_argument("--show", action="store_true", help="change nothing (default): what this and others promise")
    band = parser.add_mutually_exclusive_group()
    share(band, "--review")
    band.add_argument("--no-review", action="store_true", help="no unsure band any more")
    parser.add_argument(
        "--precision", choices=("int8", "fp32"), help="change only this network's (default for --set: what runs)"
    )
    parser.add_argument("--sign-key", type=Path, metavar="KEY", help="private key to sign the new version with")
    parser.add_argument("--note", default="", help="why, for `edge-inspect history`")
    share(parser, "--mm-per-px")
    parser.add_argument("--json", action="store_true", help="print what the thresholds promise as JSON")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from calibration.findings.findings import findings_of
    from calibration.pipeline.threshold_change import ThresholdChange, change_threshold, threshold_json, threshold_lines
    from edge.bundles.bundle import load_bundle

    change = request_from(ThresholdChange, options)
    if options.show and change.changes_something:
        raise UsageError("--show changes nothing, and a change was asked for too", fix="leave --show out")
    bundle = load_bundle(options.bundle)
    calibrations = change_threshold(bundle, change, settings)
    # of a version that waits for its signature, nothing but the threshold differs
    made, mm_per_px = load_bundle(bundle.path), settings.camera.mm_per_px
    found = {precision: findings_of(made, precision) for precision in calibrations}
    if options.json:
        thresholds = {name: threshold_json(each, found[name], mm_per_px) for name, each in calibrations.items()}
        print(json.dumps({"bundle": made.sha256, "thresholds": thresholds}, indent=1))
        return 0
    for name, each in calibrations.items():
        print("\n".join((name, *threshold_lines(each, found[name], mm_per_px))))
    return 0
