"""recalibrate: new good parts in, a new version of the bundle out, as one checked transaction."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.keyboard import Keyboard, at_terminal
from edge.cli.options import CPU_BACKENDS, NORMAL_SAMPLES, percent, percent_or_auto, positive_int, request_from, share
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "samples", nargs="*", metavar="SAMPLES", help=f"{NORMAL_SAMPLES}, or a pattern such as 'new/*.png'"
    )
    parser.add_argument("--bundle", type=Path, help="model bundle directory (default: the setting)")
    records = parser.add_argument_group("samples from the records, instead of folders")
    records.add_argument("--from-records", action="store_true", help="stored pictures of parts that were accepted (OK)")
    records.add_argument(
        "--from-labels",
        action="store_true",
        help="parts that a person found good (`edge-inspect review`): false rejects and as many accepted ones",
    )
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
        "--false-reject", type=percent_or_auto, metavar="PERCENT",
        help="share of good parts that may be rejected, or auto: what their number supports (default: auto, but what "
        "was asked for stays)",
    )  # fmt: skip
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
    share(made, "--mm-per-px")
    switch = parser.add_argument_group("when it becomes live")
    switch.add_argument(
        "--shadow",
        type=positive_int,
        metavar="N",
        help="run beside the live version for N frames of a running edge-inspect first",
    )
    switch.add_argument(
        "--shadow-limit", type=percent, default=0.01, metavar="PERCENT",
        help="disagreements up to which it then becomes live by itself (default: 1)",
    )  # fmt: skip
    switch.add_argument("--sign-key", type=Path, metavar="KEY", help="private key to sign the new version with")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """0 when the new version is live, or waits for its signature; 1 when a gate or the trial kept it from that."""
    from calibration.pipeline.new_samples import SampleRequest
    from calibration.pipeline.recalibrate import RecalibrationRequest, bundle_to_recalibrate, recalibrate_bundle
    from edge.capture.images.image_reader import line_reader

    bundle = bundle_to_recalibrate(settings)
    sheet = options.sheet or bundle.path.with_name(bundle.path.name + ".refused.png")
    samples = request_from(SampleRequest, options, samples=tuple(options.samples), sheet=sheet)
    request = request_from(RecalibrationRequest, options, samples=samples)
    ask = _ask_to_keep if at_terminal() else None
    return 0 if recalibrate_bundle(bundle, request, settings, line_reader(settings), ask) else 1


def _ask_to_keep(threshold: str) -> bool:
    return Keyboard().ask(f"{threshold}. Keep it? No fits it anew.", "give --threshold")
