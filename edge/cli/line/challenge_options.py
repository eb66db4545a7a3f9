"""Options of `challenge`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.options import add_backend, add_bundle, add_records, positive_int


def add_challenge(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--camera",
        help="judge a golden part that lies under it: any source that `run` takes "
        "(default: camera.source of the settings, unless pictures are named)",
    )
    parser.add_argument("--frames", type=positive_int, default=3, help="pictures to take of it (default: 3)")
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of pictures: good/ must come out OK, every other folder NG (default: challenge.pictures)",
    )
    parser.add_argument("--show", action="store_true", help="judge nothing: trend, and whether the line is ready")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write every picture with what was said about it")
    add_bundle(parser)
    add_backend(parser)
    add_records(parser)
