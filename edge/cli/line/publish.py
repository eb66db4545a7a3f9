"""publish: a line's verdicts, alarms and state to an MQTT broker, and over OPC UA, from its records."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.exit_codes import INTERRUPTED
from edge.cli.options import share
from edge.core.config import Settings
from edge.core.errors import ConfigError
from edge.system.extras import require
from edge.system.stop_signals import stop_requests

if TYPE_CHECKING:
    from edge.plant.opcua.server import OpcUaServer


def add_options(parser: argparse.ArgumentParser) -> None:
    share(parser, "--line", "--run-directory", "--record-dir")
    parser.add_argument(
        "--from-beginning",
        action="store_true",
        help="MQTT, where these records were never published: begin with the oldest, not with what comes from now on",
    )
    parser.add_argument(
        "--opcua-user",
        metavar="NAME",
        help="make a password for a user of OPC UA, in place of an earlier one, show it once, and end",
    )


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """130 after a signal, which alone ends it."""
    if options.opcua_user is not None:
        return _add_user(options.opcua_user, settings)
    mqtt, opcua = settings.mqtt.host is not None, settings.opcua.port is not None
    if not mqtt and not opcua:
        raise ConfigError(
            "mqtt.host and opcua.port are null: there is nobody to publish to",
            fix="name a broker, or give OPC UA a port, in the settings file",
        )
    for extra in ("mqtt",) * mqtt + ("opcua",) * opcua:
        require(extra)

    def say(what: str) -> None:
        print(f"edge-inspect: {what}", file=sys.stderr, flush=True)

    with stop_requests() as requests:
        with _served(settings, requests.stop, say) if opcua else nullcontext() as server:
            if mqtt:
                from edge.plant.mqtt.publish import publish

                begin, to = options.from_beginning, lambda what: say(f"{what}; Ctrl-C ends it")
                count = publish(settings, requests.stop, to, from_beginning=begin)
                print(f"edge-inspect: {count} verdicts published", file=sys.stderr)
            else:
                requests.stop.wait()
        if server is not None:
            print(f"edge-inspect: OPC UA told {server.told} results", file=sys.stderr)
    return INTERRUPTED


def _served(
    settings: Settings, stop: threading.Event, say: Callable[[str], None]
) -> AbstractContextManager[OpcUaServer]:
    from edge.plant.opcua.publish import opcua_server

    return opcua_server(settings, stop, say)


def _add_user(name: str, settings: Settings) -> int:
    from edge.plant.opcua.certificates import new_user

    if settings.opcua.folder is None:
        raise ConfigError("opcua.folder is null: users are kept there", fix="name it in the settings file")
    password = new_user(Path(settings.opcua.folder), name)
    print(f"edge-inspect: the password of {name}, shown this once:", file=sys.stderr)
    print(password)
    return 0
