"""train: good parts in, a calibrated bundle out. Its options are those of `fit` too."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.options import (
    AUTO,
    AUTO_MINUTES,
    CPU_BACKENDS,
    METHODS,
    NORMAL_SAMPLES,
    PRETRAINED,
    field_sides,
    length,
    percent,
    positive,
    positive_int,
    request_from,
    share,
    whole_number,
)
from edge.core.config import Settings
from edge.core.progress import say, working

if TYPE_CHECKING:
    from training.run.preparation import Recipe

BLENDS = ("product", "wsum", "max", "noisy_or", "gate", "sum")


def add_options(parser: argparse.ArgumentParser) -> None:
    add_method(parser)
    add_training(parser)
    parser.add_argument(
        "--minutes",
        type=positive,
        help="time from here to the bundle: training takes what fits (default: 10 for `auto`, else what it takes)",
    )
    parser.add_argument("--run-dir", dest="run_directory", type=Path, help="checkpoint and losses (default: OUT.run)")
    share(
        parser, "--reference",
        help="compare each picture with a golden one too (default: DATA/reference, where it has train/good)",
    )  # fmt: skip
    share(parser, "--product")
    parser.add_argument("--out", type=Path, required=True, help="the bundle to make; an older one is kept")
    parser.add_argument("--backend", choices=CPU_BACKENDS, help="backend to calibrate on")
    share(parser, "--false-reject", "--mm-per-px")


def add_method(parser: argparse.ArgumentParser) -> None:
    """For commands that may choose by themselves."""
    parser.add_argument(
        "--method",
        choices=(AUTO, *METHODS),
        default=AUTO,
        help="auto (default): trains what --minutes allow, judges all on the same parts, and takes the best",
    )


def add_training(parser: argparse.ArgumentParser) -> None:
    share(parser, "--data", help=f"{NORMAL_SAMPLES}; optional: train/weak/<kind>/, rules.yaml, textures/")
    share(parser, "--align")
    parser.add_argument(
        "--fit",
        choices=("letterbox", "stretch", "native"),
        help="how a picture comes to the field: with its aspect kept, stretched, or pixel by pixel (default: chosen "
        "from the good parts)",
    )
    parser.add_argument(
        "--variant",
        default=PRETRAINED,
        help="pretrained (an encoder that learned from ImageNet, default); from nothing: edge (256 px, at most "
        "2 GMAC), tiny (128 px, minutes on a CPU), full (a GPU), smoke (to try out)",
    )
    parser.add_argument(
        "--layout",
        choices=("aligned", "free"),
        help="do parts always lie the same way, or vary (textures)? default: found out from the good parts",
    )
    parser.add_argument(
        "--rules",
        metavar="FILE",
        help="what experts know of defects: a rules file, or the name of a starter (default: DATA/rules.yaml if there)",
    )
    parser.add_argument(
        "--smallest-defect",
        type=percent,
        metavar="PERCENT",
        help="smallest defect that matters, in percent of the inspected area (default: 0.03); decides the score path",
    )
    parser.add_argument(
        "--tiles",
        type=length,
        metavar="LENGTH",
        help="inspect large frames in tiles; LENGTH of the smallest defect that matters, such as 12px of the frame, or "
        "0.5mm with --mm-per-px, decides about scale and tiles (default: the whole frame at once)",
    )
    parser.add_argument("--seed", type=whole_number, default=0)
    parser.add_argument("--fresh", action="store_true", help="start anew instead of going on with an interrupted run")
    advanced = parser.add_argument_group("advanced", "for research; the defaults are chosen for inspection")
    advanced.add_argument("--steps", type=positive_int, help="optimiser steps of all stages (default: the variant's)")
    advanced.add_argument(
        "--field",
        type=field_sides,
        metavar="PX|WxH",
        help="the inspected field, such as 512x256, for variants with the pre-trained encoder (default: the parts' "
        "aspect, the variant's area); one side: kist and isstad learn parts of a free layout from crops of a larger "
        "field (default: the variant's, tiny with a free layout 256)",
    )
    advanced.add_argument(
        "--weights",
        metavar="FILE",
        help="checkpoint of the encoder instead of the package's: an EfficientNet-Lite0 for `pretrained`, "
        "a ResNet-18 for slsg full",
    )
    advanced.add_argument(
        "--defects", metavar="PRESET", help="artificial defects to learn from (see `defects`; default: the method's)"
    )
    advanced.add_argument(
        "--numbers",
        choices=("float32", "bfloat16"),
        help="compute in these; the same seed and numbers give the same network (default: timed, the quicker ones)",
    )
    advanced.add_argument(
        "--ablate", dest="ablations", action="append", default=[], metavar="PART",
        help="leave a part of the method out, to see its worth",
    )  # fmt: skip
    advanced.add_argument("--blend", choices=BLENDS, help="how error and probability maps join (default: the best)")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from edge.preprocessing.normal_samples import normal_samples_folder

    # a mistyped name is told before the libraries are loaded
    normal_samples_folder(options.data)
    from calibration.auto.auto import make_bundle
    from calibration.pipeline.train import TrainingRequest
    from edge.capture.images.image_reader import line_reader

    request = request_from(TrainingRequest, options, recipe=recipe_of(options, settings))
    make_bundle(request, settings, line_reader(settings), say)
    say(f"the bundle is ready: edge-inspect --camera 0 --bundle {request.out}")
    return 0


def recipe_of(options: argparse.Namespace, settings: Settings) -> Recipe:
    """What the options of `train` or `teach` ask training for."""
    with working("loading the libraries"):
        from training.run.preparation import Recipe

    rectangle, polygon = settings.roi.as_tuples
    sides = getattr(options, "field", None)
    minutes = getattr(options, "minutes", None)
    tiles = getattr(options, "tiles", None)
    # in tiles nothing is trained, and what is left out for lack of time is INT8, which halves the time of a frame
    if minutes is None and options.method == AUTO and tiles is None:
        minutes = AUTO_MINUTES
    return request_from(
        Recipe, options, tiles=None if tiles is None else tiles.in_px(settings.camera.mm_per_px),
        ablations=frozenset(getattr(options, "ablations", ())),
        # a number of steps is kept whatever time it takes
        minutes=minutes if options.steps is None else None,
        field=sides if isinstance(sides, int) else None, shape=sides if isinstance(sides, tuple) else None,
        align=settings.align, rectangle=rectangle, polygon=polygon,
    )  # fmt: skip
