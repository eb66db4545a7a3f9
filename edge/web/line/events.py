"""Server-sent events: the changing part of a page, again as soon as it is another one."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any

from starlette.concurrency import run_in_threadpool
from starlette.responses import StreamingResponse

from edge.web.line.pages import Fragment, line_fragment, overview_fragment
from edge.web.page import Refusal, admitted, line_of, site_of
from edge.web.security.tokens import Role

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

LOOK_EVERY_S = 0.25
# also without news, so that a page knows that it is not cut off
SAY_EVERY_S = 1.0
MOST_READERS = 64


class Fragments:
    """What many browsers look at is made once for all of them. Its functions are called in the server's one thread."""

    def __init__(self) -> None:
        self.readers = 0
        self._made: dict[str, tuple[float, Fragment]] = {}
        self._making: dict[str, asyncio.Lock] = {}

    async def newest(self, key: str, make: Callable[[], Fragment]) -> Fragment:
        """Not older than LOOK_EVERY_S."""
        async with self._making.setdefault(key, asyncio.Lock()):
            made = self._made.get(key)
            if made is None or time.monotonic() - made[0] >= LOOK_EVERY_S * 0.9:
                made = time.monotonic(), await run_in_threadpool(make)
                self._made[key] = made
            return made[1]


async def line_events(request: Request) -> Response:
    """Those of /line/L/events."""
    admitted(request, Role.VIEW)
    site, line = site_of(request), line_of(request)
    return _stream(request, f"line {line.name}", lambda: line_fragment(site, line))


async def overview_events(request: Request) -> Response:
    """Those of /events."""
    admitted(request, Role.VIEW)
    site = site_of(request)
    return _stream(request, "overview", lambda: overview_fragment(site))


def _stream(request: Request, key: str, make: Callable[[], Fragment]) -> Response:
    fragments: Fragments = request.app.state.fragments
    if fragments.readers >= MOST_READERS:
        raise Refusal(503, "Too many open pages", f"{MOST_READERS} pages follow a line already.", "Close some of them.")

    async def events() -> AsyncIterator[bytes]:
        fragments.readers += 1
        try:
            said, said_s = "", 0.0
            while True:
                fragment = await fragments.newest(key, make)
                if fragment.html != said or time.monotonic() - said_s >= SAY_EVERY_S:
                    values: dict[str, Any] = {"live": fragment.live}
                    if fragment.html != said:
                        values["html"] = fragment.html
                    said, said_s = fragment.html, time.monotonic()
                    yield f"data: {json.dumps(values)}\n\n".encode()
                await asyncio.sleep(LOOK_EVERY_S)
        finally:
            fragments.readers -= 1

    return StreamingResponse(events(), media_type="text/event-stream", headers={"x-accel-buffering": "no"})
