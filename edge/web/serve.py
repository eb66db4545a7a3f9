"""The work of `edge-inspect web`: the server, as the settings allow it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import uvicorn

from edge.core.config import Settings
from edge.core.errors import ConfigError
from edge.core.sections import WebSettings
from edge.web.app import make_app
from edge.web.engineer.teaching import SamplesOf
from edge.web.security.gate import is_loopback, trusted_hosts
from edge.web.security.visitors import Visitors
from edge.web.site.lines import lines_of
from edge.web.site.shifts import Shifts
from edge.web.site.site import Site
from edge.web.site.tally import Tally

if TYPE_CHECKING:
    from starlette.applications import Starlette

log = logging.getLogger("edge.web")

# streams end with their browser; what is left when the program is told to end is not waited for
_CLOSE_S = 1
_MOST_CONNECTIONS = 512


def site_from(settings: Settings) -> Site:
    """Raises ConfigError for a useless file of tokens."""
    web, lines = settings.web, lines_of(settings)
    file = None if web.tokens_file is None else Path(web.tokens_file)
    tallies = {name: Tally(line) for name, line in lines.items()}
    return Site(lines, tallies, Shifts(web.shifts), Visitors(file))


def require_safe(web: WebSettings) -> None:
    """Raise ConfigError where others than this machine's users would reach pages that ask for no token."""
    if is_loopback(web.address):
        return
    missing = [
        key for key in ("tokens_file", "certificate_file", "key_file") if getattr(web, key) is None
    ]  # fmt: skip
    if missing:
        raise ConfigError(
            f"web.address is {web.address}, which other machines reach, and web.{', web.'.join(missing)} are not set",
            fix="set them (docs/line/web.md), or leave web.address at 127.0.0.1",
        )


def app_from(settings: Settings, samples_of: SamplesOf) -> Starlette:
    """The pages of these settings. Raises ConfigError."""
    require_safe(settings.web)
    return make_app(site_from(settings), trusted_hosts(settings.web.address, settings.web.hosts), samples_of)


def serve(
    settings: Settings,
    say: Callable[[str], None],
    samples_of: SamplesOf,
    ready: Callable[[str], None] = lambda address: None,
) -> None:
    """Answer browsers until a signal. say: told where; ready: given the address. Raises ConfigError."""
    web = settings.web
    config = uvicorn.Config(
        app_from(settings, samples_of), host=web.address, port=web.port,
        ssl_certfile=web.certificate_file, ssl_keyfile=web.key_file,
        log_config=None, access_log=False, server_header=False, proxy_headers=False, http="h11", ws="none",
        limit_concurrency=_MOST_CONNECTIONS, timeout_keep_alive=5, timeout_graceful_shutdown=_CLOSE_S,
    )  # fmt: skip
    try:
        config.load()
        listening = _listening(config)
    except OSError as error:
        why = error.strerror or error
        raise ConfigError(
            f"port {web.port} of {web.address}: {why}", fix="change web.port, or stop the program that has it"
        ) from error
    host = f"[{web.address}]" if ":" in web.address else web.address
    address = f"{'https' if web.certificate_file else 'http'}://{host}:{web.port}"
    # before it is said, so that nobody comes in vain
    listening.listen()
    say(f"pages at {address}")
    ready(address)
    uvicorn.Server(config).run([listening])


def _listening(config: uvicorn.Config) -> socket.socket:
    """Bound here, because the server itself would end the process where the port is taken."""
    family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
    # asyncio sends small answers at once only where it knows that the socket is TCP's
    made = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind((config.host, config.port))
    except OSError:
        made.close()
        raise
    return made
