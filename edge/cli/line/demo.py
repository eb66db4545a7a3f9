"""demo: `run` on the shipped sample line."""

from __future__ import annotations

import argparse

from edge.cli.line.run import add_inspection, execute

__all__ = ["add_options", "execute"]


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(camera="demo")
    add_inspection(parser)
