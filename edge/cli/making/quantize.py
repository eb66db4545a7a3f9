"""quantize: the INT8 network of a bundle."""

from __future__ import annotations

import argparse

from edge.cli.options import GOOD_PARTS, add_bundle, add_data
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, required=True)
    add_data(parser, GOOD_PARTS)


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from calibration.pipeline.calibrate import quantize_bundle
    from edge.capture.images.image_reader import line_reader

    quantize_bundle(options.bundle, options.data, settings, line_reader(settings))
    return 0
