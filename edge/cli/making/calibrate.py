"""calibrate: statistics and threshold through the backend that will run, and the gate."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.options import BACKENDS, share
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--bundle", required=True, help="model bundle directory")
    share(parser, "--data")
    parser.add_argument("--backend", choices=BACKENDS, help="backend to calibrate on; a GPU's engines are built for it")
    share(parser, "--align", "--false-reject", "--compute-capability", "--engines", "--review", "--mm-per-px")
    parser.add_argument("--ng", type=Path, help="folder of known defective parts: show what thresholds find of them")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from calibration.pipeline.calibrate import calibrate_bundle
    from calibration.pipeline.calibrator import Goal
    from edge.capture.images.image_reader import line_reader

    goal = Goal(options.false_reject, options.review, options.ng)
    calibrate_bundle(options.bundle, options.data, goal, settings, line_reader(settings), options.capabilities)
    return 0
