"""publish: a line's verdicts, alarms and state to an MQTT broker, and over OPC UA, from its records."""

from __future__ import annotations

import argparse
import logging
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from edge.cli.exit_codes import INTERRUPTED
from edge.cli.options import share
from edge.core.config import Settings
from edge.core.errors import ConfigError, EdgeInspectError
from edge.system.extras import require
from edge.system.stop_signals import stop_requests

log = logging.getLogger("edge.plant")


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
    """130 after a signal, which alone ends it; where one of the two fails, the other goes on until then."""
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
    failures: list[Exception] = []
    with stop_requests() as requests, ExitStack() as serving:

        def fail(what: str, error: Exception) -> None:
            failures.append(error)
            if len(failures) == mqtt + opcua:
                requests.stop.set()
            else:
                log.error("%s has failed, and is not tried again; the rest goes on: %s", what, error)

        server = None
        if opcua:
            from edge.plant.opcua.publish import opcua_server

            try:
                server = serving.enter_context(opcua_server(settings, requests.stop, _say, partial(fail, "OPC UA")))
            except ConfigError as error:
                fail("OPC UA", error)
        if mqtt:
            from edge.plant.mqtt.publish import publish

            begin, to = options.from_beginning, lambda what: _say(f"{what}; Ctrl-C ends it")
            try:
                _say(f"{publish(settings, requests.stop, to, from_beginning=begin)} verdicts published")
            except EdgeInspectError as error:
                fail("MQTT", error)
        requests.stop.wait()
        serving.close()
        if server is not None:
            _say(f"OPC UA told {server.told} results")
    if failures:
        # an earlier one was told then
        raise failures[-1]
    return INTERRUPTED


def _say(what: str) -> None:
    print(f"edge-inspect: {what}", file=sys.stderr, flush=True)


def _add_user(name: str, settings: Settings) -> int:
    from edge.plant.opcua.certificates import new_user

    if settings.opcua.folder is None:
        raise ConfigError("opcua.folder is null: users are kept there", fix="name it in the settings file")
    password = new_user(Path(settings.opcua.folder), name)
    print(f"edge-inspect: the password of {name}, shown this once:", file=sys.stderr)
    print(password)
    return 0
