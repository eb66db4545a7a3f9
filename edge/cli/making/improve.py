"""improve: learn a better network for a bundle beside the line that it runs."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.making.train import add_method, recipe_of
from edge.cli.options import AUTO_MINUTES, PRETRAINED, percent, positive, request_from, share, whole_number
from edge.core.config import Settings

_SHADOW, _LIMIT = 200, 0.05


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle that inspects")
    share(parser, "--data", help="the samples that it was taught from")
    parser.add_argument("--run-dir", dest="run_directory", type=Path, help="where training is kept (default: DATA/run)")
    add_method(parser)
    parser.add_argument("--layout", choices=("aligned", "free"), help="as for `train`; default: found out")
    parser.add_argument("--minutes", type=positive, default=AUTO_MINUTES, help="time for training (default: 10)")
    parser.add_argument(
        "--shadow", type=whole_number, default=_SHADOW, metavar="N",
        help="frames of the running line that both versions judge before the new one is live (default: 200); "
        "0 where no line runs: the new version waits for `rollback --to`",
    )  # fmt: skip
    parser.add_argument(
        "--shadow-limit", type=percent, default=_LIMIT, metavar="PERCENT",
        help="share of these frames that may be judged differently (default: 5)",
    )  # fmt: skip
    parser.add_argument("--seed", type=whole_number, default=0)
    share(parser, "--false-reject")
    parser.set_defaults(variant=PRETRAINED, steps=None)


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """0 when a better version is live, or nothing better was found; 1 when one waits for a person."""
    from calibration.auto.improve import ImprovementRequest, improve_bundle
    from edge.capture.images.image_reader import line_reader

    options.run_directory = options.run_directory or options.data / "run"
    request = request_from(ImprovementRequest, options, recipe=recipe_of(options, settings))
    improve_bundle(request, settings, line_reader(settings))
    return 0
