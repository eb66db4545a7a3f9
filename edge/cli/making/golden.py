"""golden: compare each picture with a defect-free one too; good parts say from where on a difference counts."""

from __future__ import annotations

import argparse

from edge.cli.options import share
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--bundle", required=True, help="model bundle directory")
    share(parser, "--data")
    share(
        parser, "--reference", required=True,
        help="golden picture, which becomes part of the bundle; or a folder with one for each picture at the same path",
    )  # fmt: skip
    share(parser, "--false-reject")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from calibration.pipeline.golden import add_golden
    from edge.capture.images.image_reader import line_reader

    add_golden(options.bundle, options.data, options.reference, options.false_reject, line_reader(settings))
    return 0
