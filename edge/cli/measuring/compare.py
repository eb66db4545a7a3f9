"""compare: every method trained on the same parts, beside what works without a network."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edge.cli.options import CPU_BACKENDS, positive_int, request_from, share, whole_number
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.progress import say, working


def add_options(parser: argparse.ArgumentParser) -> None:
    share(
        parser,
        "--data",
        help="folder with train/good/, test/good/, test/<defect>/ and, for pixel metrics, ground_truth/<defect>/",
    )
    parser.add_argument("--methods", default="all", help="method names separated by commas (default: all)")
    parser.add_argument("--variant", default="tiny", help="size of the networks, as for `train` (default: tiny)")
    parser.add_argument("--seeds", type=_seeds, default=[0], help="separated by commas (default: 0)")
    parser.add_argument("--steps", type=positive_int, help="optimiser steps (default: the variant's)")
    parser.add_argument("--out", type=Path, required=True, help="bundles, compare.html and compare.json go here")
    parser.add_argument("--backend", choices=CPU_BACKENDS, help="backend to calibrate and measure on")
    share(parser, "--false-reject")
    parser.add_argument("--json", action="store_true", help="print the figures as JSON")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from benchmarks.quality.compare_methods import PAGE, ComparisonRequest, compare_methods
    from benchmarks.quality.comparison_page import comparison_text
    from calibration.pipeline.train import TrainingRequest, on_the_processor, train_bundle
    from edge.capture.images.image_reader import line_reader

    with working("loading the libraries"):
        from training.defects.defective_pictures import defective_pictures
        from training.run.preparation import Recipe

    settings, reader = on_the_processor(settings), line_reader(settings)
    rectangle, polygon = settings.roi.as_tuples

    def train(method: str, seed: int, out: Path) -> None:
        recipe = Recipe(
            method, options.variant, seed, steps=options.steps, align=settings.align,
            rectangle=rectangle, polygon=polygon,
        )  # fmt: skip
        request = TrainingRequest(options.data, out, recipe, options.false_reject, product=options.data.name)
        train_bundle(request, settings, reader)
        say(f"the bundle is ready: edge-inspect --camera 0 --bundle {out}")

    request = request_from(ComparisonRequest, options, methods=_methods(options.methods, options.variant))
    made = compare_methods(request, settings, reader, train, defective_pictures)
    text = comparison_text(made.contenders, made.recommendation)
    print(json.dumps(made.result, indent=1) if options.json else text)
    say(f"tables, maps and curves: {options.out / PAGE}")
    return 0


def _methods(wanted: str, variant: str) -> list[str]:
    """Names of registered methods that have the variant; raises UsageError for a name that is not registered."""
    from training.methods import METHODS, find_method

    names = [name for name, method in METHODS.items() if variant in method.variants]
    if wanted != "all":
        names = wanted.split(",")
        for name in names:
            find_method(name, variant)
    if not names:
        raise UsageError(f"no method has the variant {variant!r}", fix="choose tiny or edge")
    return names


def _seeds(text: str) -> list[int]:
    """0,1,2 → [0, 1, 2]."""
    found = [whole_number(part) for part in text.split(",")]
    if min(found) < 0 or len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text}: give different numbers, 0 or more")
    return found
