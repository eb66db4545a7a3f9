"""quantize: the INT8 network of a bundle."""

from __future__ import annotations

import argparse

from edge.cli.options import share
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--bundle", required=True, help="model bundle directory")
    share(parser, "--data")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from calibration.pipeline.calibrate import quantize_bundle
    from edge.capture.images.image_reader import line_reader

    quantize_bundle(options.bundle, options.data, settings, line_reader(settings))
    return 0
