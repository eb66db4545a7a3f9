"""Options of `recalibrate`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.options import CPU_BACKENDS, GOOD_PARTS, percent, positive_int


def add_recalibrate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("samples", nargs="*", metavar="SAMPLES", help=f"{GOOD_PARTS}, or a pattern such as 'new/*.png'")
    parser.add_argument("--bundle", type=Path, help="model bundle directory (default: the setting)")
    records = parser.add_argument_group("samples from the records, instead of folders")
    records.add_argument("--from-records", action="store_true", help="stored pictures of parts that were accepted (OK)")
    records.add_argument("--since", metavar="TIME", help="ISO time, or an age such as 8h, 30m, 7d")
    records.add_argument("--until", metavar="TIME", help="ISO time, or an age")
    records.add_argument("--record-dir", type=Path, help="where the records lie (default: ./records)")
    trust = parser.add_argument_group("which samples to believe")
    trust.add_argument(
        "--scene-changed",
        action="store_true",
        help="light, focus or position changed, and all samples are good although the live version rejects them",
    )
    trust.add_argument("--keep-suspicious", action="store_true", help="use suspicious samples too")
    trust.add_argument(
        "--sheet", type=Path, metavar="FILE", help="contact sheet of refused samples (default: BUNDLE.refused.png)"
    )
    made = parser.add_argument_group("what is made")
    made.add_argument(
        "--false-reject", type=percent, metavar="PERCENT", help="false-reject budget (default: the live version's)"
    )
    made.add_argument(
        "--threshold",
        choices=("keep", "refit"),
        help="a threshold that was set by hand: keep it, or fit it anew (default: asks at a terminal, else keep)",
    )
    made.add_argument("--review", type=percent, metavar="PERCENT", help="unsure band (default: as the live version's)")
    made.add_argument("--ng", type=Path, help="folder of known defective parts, to show recall; not fitted on")
    made.add_argument("--old", type=Path, help="earlier good parts that must still pass, unless --scene-changed")
    made.add_argument("--backend", choices=CPU_BACKENDS, help="backend to calibrate on")
    made.add_argument(
        "--choose-again", action="store_true", help="try every INT8 estimator and layer again, which takes longer"
    )
    switch = parser.add_argument_group("when it becomes live")
    switch.add_argument(
        "--shadow",
        type=positive_int,
        metavar="N",
        help="run beside the live version for N frames of a running edge-inspect first",
    )
    switch.add_argument(
        "--shadow-limit", type=percent, default=1.0, metavar="PERCENT",
        help="disagreements up to which it then becomes live by itself (default: 1)",
    )  # fmt: skip
    switch.add_argument("--sign-key", type=Path, metavar="KEY", help="private key to sign the new version with")
