"""demo: `run` on the shipped sample line; with --web, its pages in a browser."""

from __future__ import annotations

import argparse
import sys

from edge.cli.line import run
from edge.core.config import Settings
from edge.system.extras import require


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(camera="demo")
    parser.add_argument(
        "--web", action="store_true",
        help="show the line in a browser instead, with a recorded shift (needs the extra `web`); nothing of it is kept",
    )  # fmt: skip
    run.add_inspection(parser)


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """As of `run`; with --web 0 after a signal, which alone ends it."""
    if not options.web:
        return run.execute(options, settings)
    require("web")
    from edge.cli.teach.page_samples import PageSamples
    from edge.web.demo.serve import serve_demo

    def say(what: str) -> None:
        print(f"edge-inspect: {what}", file=sys.stderr, flush=True)

    serve_demo(settings, lambda what: say(f"{what}; Ctrl-C ends it" if what.startswith("pages") else what), PageSamples)
    return 0
