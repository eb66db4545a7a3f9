"""fit: train a network, the first step of `train`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.making.train import add_training, recipe_of
from edge.cli.options import METHODS, share
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--method", choices=METHODS, required=True)
    add_training(parser)
    share(parser, "--mm-per-px")
    parser.add_argument("--run-dir", dest="run_directory", type=Path, required=True, help="where the run is written")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from edge.preprocessing.normal_samples import normal_samples_folder

    normal_samples_folder(options.data)
    from calibration.pipeline.train import fit_network
    from edge.capture.images.image_reader import line_reader

    recipe = recipe_of(options, settings)
    fit_network(
        options.data, options.run_directory, recipe, line_reader(settings), options.numbers, fresh=options.fresh
    )
    return 0
