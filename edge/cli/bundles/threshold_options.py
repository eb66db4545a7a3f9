"""Options of `threshold`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.options import add_bundle, add_review, number, percent


def add_threshold(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, required=True)
    change = parser.add_mutually_exclusive_group()
    change.add_argument("--set", type=number, metavar="VALUE", help="the threshold itself, a score between 0 and 1")
    change.add_argument(
        "--false-reject", type=percent, metavar="PERCENT", help="fit it anew to this false-reject budget"
    )
    change.add_argument("--show", action="store_true", help="change nothing (default): what this and others promise")
    band = parser.add_mutually_exclusive_group()
    add_review(band)
    band.add_argument("--no-review", action="store_true", help="no unsure band any more")
    parser.add_argument(
        "--precision", choices=("int8", "fp32"), help="change only this network's (default for --set: what runs)"
    )
    parser.add_argument("--sign-key", type=Path, metavar="KEY", help="private key to sign the new version with")
    parser.add_argument("--note", default="", help="why, for `edge-inspect history`")
    parser.add_argument("--json", action="store_true", help="print what the thresholds promise as JSON")
