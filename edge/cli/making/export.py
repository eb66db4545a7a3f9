"""export: a run into a bundle, a bundle into what its target runs, or both in one go."""

from __future__ import annotations

import argparse
from pathlib import Path

from edge.cli.options import NORMAL_SAMPLES, share
from edge.core.config import Settings
from edge.core.errors import UsageError

TARGETS = ("tensorrt", "tensorrt-rtx", "openvino", "onnxruntime")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--run-dir", dest="run_directory", type=Path, help="a run made by `fit`, to make a bundle of")
    share(parser, "--product")
    parser.add_argument(
        "--data", type=Path, help=f"{NORMAL_SAMPLES}, to choose the score and check the graph (default: the run's own)"
    )
    parser.add_argument("--report", action="store_true", help="print how every operator runs on every target")
    parser.add_argument("--out", type=Path, help="the bundle to make")
    parser.add_argument("--bundle", type=Path, help="a bundle that is there already, to prepare for a target")
    parser.add_argument(
        "--target", choices=TARGETS, help="what will run the network: an engine is built, or a trial run"
    )
    parser.add_argument(
        "--precision",
        # what is built, and no setting of what runs
        dest="candidate",
        choices=("auto", "int8", "int8_float_ends", "fp16", "fp32"),
        default="auto",
        help="auto: what the bundle says, for engines the first of these that can be built (default)",
    )
    share(parser, "--compute-capability", "--engines")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from calibration.pipeline.engines import prepare_for_target
    from edge.bundles.bundle import load_bundle

    if (options.run_directory is None) == (options.bundle is None) or (options.run_directory and options.out is None):
        raise UsageError(
            "export makes a bundle of a run, or prepares a bundle that is there",
            fix="give --run-dir RUN --out BUNDLE, or --bundle BUNDLE --target TARGET",
        )
    if options.bundle is not None and options.target is None:
        raise UsageError("what shall run the bundle?", fix="add --target, one of tensorrt, tensorrt-rtx, openvino, ...")
    if options.run_directory is not None:
        _export_run(options, settings)
    if options.target is not None:
        bundle = load_bundle(options.bundle or options.out)
        prepare_for_target(bundle, options.target, options.candidate, options.capabilities, settings)
    return 0


def _export_run(options: argparse.Namespace, settings: Settings) -> None:
    from calibration.pipeline.train import bundle_from_run, on_the_processor
    from edge.bundles.bundle import load_bundle
    from edge.capture.images.image_reader import line_reader
    from export.operators import operator_report

    product = options.product or options.out.name
    draft = bundle_from_run(
        options.run_directory, options.out, product, options.data, line_reader(settings), on_the_processor(settings)
    )
    if options.report:
        print("\n".join(operator_report(load_bundle(draft.path).read("model_fp32")).summary()))
