"""rollback: the way back to an earlier version of a bundle."""

from __future__ import annotations

import argparse

from edge.cli.options import share
from edge.core.config import Settings
from edge.core.progress import say


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--bundle", required=True, help="model bundle directory")
    parser.add_argument(
        "--to", metavar="VERSION", help="first digits of a version that `history` shows (default: the one before)"
    )


def execute(options: argparse.Namespace, settings: Settings) -> int:
    from edge.bundles.signature import is_signed
    from edge.bundles.versions import SHORT, roll_back

    bundle = roll_back(options.bundle, options.to)
    say(f"{options.bundle}: now version {bundle.sha256[:SHORT]}; a running edge-inspect takes it between two frames")
    if settings.inspection.signed_by is not None and not is_signed(bundle):
        say(f"it is not signed, and inspection.signed_by is set: {settings.inspection.signed_by} must sign it to run")
    return 0
