"""gate: do the verdicts of what runs survive on a site's own parts?"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from edge.cli.options import share
from edge.core.config import Settings


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--bundle", required=True, help="model bundle directory")
    share(parser, "--data")
    share(parser, "--backend", "--precision", "--engines")
    parser.add_argument("--ng", type=Path, help="folder of defective parts to replay (default: artificial defects)")
    parser.add_argument("--json", action="store_true", help="print the gate's report as JSON")
    parser.add_argument("--page", type=Path, metavar="FILE", help="write the gate's picture page, an .html file")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """1 when the gate refuses what runs."""
    from calibration.pipeline.gate import gate_bundle
    from edge.capture.images.image_reader import line_reader

    report = gate_bundle(options.bundle, options.data, options.ng, settings, line_reader(settings), options.page)
    print(json.dumps(report.as_dict(), indent=1) if options.json else "\n".join(report.summary()))
    return 0 if report.passed else 1
