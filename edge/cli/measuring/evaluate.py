"""evaluate: metrics of a bundle on labelled pictures, in one precision or in both."""

from __future__ import annotations

import argparse
import json

from edge.cli.options import share
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--bundle")
    share(
        parser, "--data", help="folder with test/good/, test/<defect>/ and, for pixel metrics, ground_truth/<defect>/"
    )
    share(parser, "--reference", help="golden picture, or folder of them (default: DATA/reference, else the bundle's)")
    share(parser, "--backend", "--precision", "--engines")
    parser.add_argument("--compare-precisions", action="store_true", help="INT8 and FP32 side by side")
    parser.add_argument("--json", action="store_true", help="print the metrics as JSON")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from benchmarks.quality.accuracy import compare_precisions, differences_text, evaluate_bundle, metrics_text
    from edge.bundles.bundle import load_bundle
    from edge.capture.images.image_reader import line_reader
    from edge.inspection.inspectors import bundle_path

    bundle, reader = load_bundle(bundle_path(settings)), line_reader(settings)
    if options.compare_precisions:
        compared = compare_precisions(bundle, options.data, settings, reader)
        print(json.dumps(compared, indent=1) if options.json else differences_text(compared))
    else:
        _, metrics = evaluate_bundle(bundle, options.data, settings, reader)
        print(json.dumps(metrics, indent=1) if options.json else metrics_text(metrics))
    return 0
