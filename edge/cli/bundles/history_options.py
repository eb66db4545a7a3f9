"""Options of the commands about a bundle's versions."""

from __future__ import annotations

import argparse

from edge.cli.options import add_bundle


def add_rollback(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, required=True)
    parser.add_argument(
        "--to",
        metavar="VERSION",
        help="first digits of a version that `history` shows (default: the one before)",
    )


def add_history(parser: argparse.ArgumentParser) -> None:
    add_bundle(parser, required=True)
    parser.add_argument("--json", action="store_true", help="print every change and every kept version as JSON")
