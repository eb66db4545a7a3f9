"""Options of `teach`."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.options import CPU_BACKENDS, METHODS, add_false_reject, percent, positive, positive_int, whole_number

MINUTES = 8.0


def add_teach(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--camera",
        help="where good parts are seen: what `run` takes, or a folder of pictures, or a video "
        "(default: camera.source of the settings)",
    )
    parser.add_argument("--product", required=True, help="name of the part, shown on the line")
    parser.add_argument("--out", type=Path, help="the bundle to make; an older one is kept (default: bundles/PRODUCT)")
    parser.add_argument(
        "--samples",
        type=Path,
        help="folder where samples are kept; a second call goes on there (default: teach/PRODUCT)",
    )
    parser.add_argument(
        "--count", type=positive_int, help="how many samples (default: 60 from a camera, all from files)"
    )
    parser.add_argument("--auto", action="store_true", help="take a picture each time a new part lies still")
    parser.add_argument("--interval", type=positive, metavar="SECONDS", help="take a picture so often instead")
    parser.add_argument("--trust", action="store_true", help="keep samples that are unlike the others, too")
    parser.add_argument("--yes", action="store_true", help="go on without questions: suspicious samples are left out")
    parser.add_argument("--start", action="store_true", help="start inspecting the same source when all is done")
    parser.add_argument(
        "--minutes",
        type=positive,
        default=MINUTES,
        help="time from the last sample to the bundle, also on a busy machine: training takes what fits (default: 8)",
    )
    parser.add_argument("--steps", type=positive_int, help="optimiser steps, whatever time they take")
    parser.add_argument("--method", choices=METHODS, default="isstad", help="default: isstad")
    parser.add_argument("--variant", default="tiny", help="size of the network, as for `train` (default: tiny)")
    parser.add_argument("--seed", type=whole_number, default=0)
    parser.add_argument("--layout", choices=("aligned", "free"), help="as for `train`; default: found out")
    parser.add_argument(
        "--smallest-defect", type=percent, metavar="PERCENT", help="smallest defect that matters, as for `train`"
    )
    parser.add_argument("--fresh", action="store_true", help="train anew, instead of going on where it was cut off")
    parser.add_argument("--details", action="store_true", help="show the figures behind what the end says")
    parser.add_argument("--fps", type=positive, help="ask the camera for this rate")
    parser.add_argument("--backend", choices=CPU_BACKENDS, help="backend to calibrate on")
    add_false_reject(parser)
