"""publish: a line's verdicts, alarms and state to an MQTT broker, from its records."""

from __future__ import annotations

import argparse
import sys

from edge.cli.exit_codes import INTERRUPTED
from edge.cli.options import share
from edge.core.config import Settings
from edge.system.stop_signals import stop_requests


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--line", "--run-directory", "--record-dir")
    parser.add_argument(
        "--from-beginning",
        action="store_true",
        help="where these records were never published: begin with the oldest, not with what is recorded from now on",
    )


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """130 after a signal, which alone ends it."""
    from edge.plant.mqtt.publish import publish

    def say(what: str) -> None:
        print(f"edge-inspect: {what}; Ctrl-C ends it", file=sys.stderr, flush=True)

    with stop_requests() as requests:
        count = publish(settings, requests.stop, say, from_beginning=options.from_beginning)
    print(f"edge-inspect: {count} verdicts published", file=sys.stderr)
    return INTERRUPTED
