"""What every request must pass, and what every answer carries, whichever page it is for."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

# pages bring their own style, script and pictures, and nothing is fetched from elsewhere; no style or script stands in
# the text of a page, where a name of a file could become one
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self' data:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # with no-referrer Chromium sends `Origin: null` along with forms
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}
MOST_FORM_BYTES = 65536


def trusted_hosts(address: str, named: Iterable[str]) -> frozenset[str]:
    """Under which names the pages may be asked for: another site's name that leads here by DNS is none of them."""
    hosts = {name.lower() for name in named} | {"localhost", "127.0.0.1", "::1", address.lower()}
    if not is_loopback(address):
        name = socket.gethostname().lower()
        hosts |= {name, f"{name}.local"}
    return frozenset(hosts)


def is_loopback(address: str) -> bool:
    """Whether only this machine reaches it."""
    if address == "localhost":
        return True
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


class Gate:
    """Refuses hosts that nobody named, and adds the headers that tell the browser what a page may do."""

    def __init__(self, app: ASGIApp, hosts: frozenset[str]) -> None:
        self._app, self._hosts = app, hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
                # what a shift sees now is of no use to the next one; style and script are asked for by their version
                kept = scope["path"].startswith("/static/")
                headers.setdefault("cache-control", "no-cache" if kept else "no-store")
            await send(message)

        host = _host_name(Headers(scope=scope).get("host", ""))
        if host not in self._hosts:
            text = (
                "This name is not one of this page's names. Ask for it as the settings say: web.address or web.hosts.\n"
            )
            await PlainTextResponse(text, 400)(scope, receive, send_with_headers)
            return
        await self._app(scope, receive, send_with_headers)


def _host_name(host: str) -> str:
    """Without the port; empty for what is no host."""
    try:
        return (urlsplit(f"//{host}").hostname or "") if "@" not in host and "/" not in host else ""
    except ValueError:
        return ""


def comes_from_here(headers: Headers) -> bool:
    """Whether a form was sent by a page of this site, as the browser says; one that says nothing is not believed.

    By the host alone: behind a proxy with TLS the browser's scheme is another one than this server's.
    """
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if site is not None and site != "same-origin":
        return False
    if origin is None:
        return site is not None
    try:
        return urlsplit(origin.lower()).netloc == headers.get("host", "").lower()
    except ValueError:
        return False
