"""calibrate: statistics and threshold through the backend that will run, and the gate."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.options import (
    BACKENDS,
    GOOD_PARTS,
    add_align,
    add_bundle,
    add_compute_capabilities,
    add_data,
    add_engines,
    add_false_reject,
    add_review,
)
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, required=True)
    add_data(parser, GOOD_PARTS)
    parser.add_argument("--backend", choices=BACKENDS, help="backend to calibrate on; a GPU's engines are built for it")
    add_align(parser)
    add_false_reject(parser)
    add_compute_capabilities(parser)
    add_engines(parser)
    add_review(parser)
    parser.add_argument("--ng", type=Path, help="folder of known defective parts: show what thresholds find of them")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from calibration.pipeline.calibrate import calibrate_bundle
    from calibration.pipeline.calibrator import Goal
    from edge.capture.images.image_reader import line_reader

    goal = Goal(options.false_reject, options.review, options.ng)
    calibrate_bundle(options.bundle, options.data, goal, settings, line_reader(settings), options.capabilities)
    return 0
