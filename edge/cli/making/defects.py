"""defects: a contact sheet of artificial defects on good parts, to judge a preset before training with it."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.options import positive_int, share, whole_number
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.progress import say, working


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--data")
    parser.add_argument("--preset", default="surface", help="which mixture of defects (default: surface)")
    parser.add_argument("--size", type=positive_int, default=256, help="side of each picture in px (default: 256)")
    parser.add_argument("--count", type=positive_int, default=32, help="how many defects (default: 32)")
    parser.add_argument("--seed", type=whole_number, default=0)
    parser.add_argument("--out", type=Path, required=True, help="the sheet to write, a .png file")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    if options.out.suffix.lower() != ".png":
        raise UsageError(f"{options.out} is not a .png file", fix="give --out a name that ends in .png")
    with working("loading the libraries"):
        from training.run.defect_sheet import defect_sheet

    from edge.capture.images.image_reader import line_reader
    from edge.core.files.atomic_file import write_atomic
    from edge.pages.pictures import picture_bytes
    from edge.preprocessing.preprocess import Preprocess

    preprocess = Preprocess(options.size, options.size, *settings.roi.as_tuples)
    reader = line_reader(settings)
    sheet, counts = defect_sheet(options.data, options.preset, preprocess, options.count, options.seed, reader)
    write_atomic(options.out, picture_bytes(sheet))
    say(", ".join(f"{name} {count}" for name, count in counts.most_common()))
    say(f"{options.count} artificial defects of {options.preset}: {options.out}")
    return 0
