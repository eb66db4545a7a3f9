"""The moving picture of a line as MJPEG: one look at the file serves all browsers, and one that is gone is let go."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from starlette.concurrency import run_in_threadpool

from edge.core.files.private_files import FILE_MODE
from edge.core.files.safe_file import Stamp, read_safe, stamp
from edge.pages.pictures import picture_bytes
from edge.plant.preview import EVERY_S, PREVIEW_NAME, TOUCH_EVERY_S, WANTED_NAME, without_picture
from edge.web.line.view import view_of
from edge.web.page import Refusal, admitted, line_of
from edge.web.security.tokens import Role

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

    from edge.web.site.lines import WebLine

log = logging.getLogger("edge.web")

MOST_VIEWERS = 4
# also without a new picture, so that a browser that is gone is noticed; and how long one may take to accept a picture
AGAIN_S, SLOW_S = 2.0, 10.0
_LARGEST_BYTES = 4_000_000
_BOUNDARY = b"edge-inspect"
_NEXT = b"--" + _BOUNDARY + b"\r\nContent-Type: image/jpeg\r\n\r\n"


class Previews:
    """Of all lines. Its functions are called in the server's one thread."""

    def __init__(self) -> None:
        self._lines: dict[str, LinePreview] = {}

    def of(self, line: WebLine) -> LinePreview:
        return self._lines.setdefault(line.name, LinePreview(line))


class LinePreview:
    """The newest picture of a line, looked for while somebody views it."""

    def __init__(self, line: WebLine) -> None:
        self.viewers = 0
        self.picture: bytes | None = None
        self.news = asyncio.Event()
        self._line = line
        self._task: asyncio.Task[None] | None = None

    def admit(self) -> None:
        """One viewer more; raises Refusal where MOST_VIEWERS look already. Call `leave` for each."""
        if self.viewers >= MOST_VIEWERS:
            text = f"{MOST_VIEWERS} pages show this picture already."
            raise Refusal(503, "Too many viewers", text, "Close one of them.")
        self.viewers += 1

    def leave(self) -> None:
        """The last one ends the looking."""
        self.viewers -= 1
        if self.viewers == 0 and self._task is not None:
            self._task.cancel()
            self._task, self.picture = None, None

    async def pictures(self) -> AsyncGenerator[bytes, None]:
        """JPEG after JPEG; grey ones saying NO DATA while the line is not alive."""
        if self._task is None:
            self._task = asyncio.create_task(self._follow())
        while True:
            news = self.news
            if self.picture is not None:
                yield self.picture
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(news.wait(), AGAIN_S)

    async def _follow(self) -> None:
        folder = self._line.run_directory
        # one that is there is of this moment: a line removes it when nobody looks, and that of an earlier line
        seen: Stamp = None
        touched_s = looked_s = 0.0
        live = False
        while True:
            now_s, picture = time.monotonic(), None
            if folder is not None and now_s - touched_s >= TOUCH_EVERY_S:
                touched_s = now_s
                await run_in_threadpool(_touch, folder / WANTED_NAME)
            if now_s - looked_s >= 2 * EVERY_S:
                looked_s, live = now_s, (await run_in_threadpool(view_of, self._line)).live
            if not live or folder is None:
                # what comes after it is new, also where it is the same file
                picture, seen = _no_data(), None
            else:
                found = stamp(folder / PREVIEW_NAME)
                if found is not None and found != seen:
                    seen, picture = found, await run_in_threadpool(_read, folder)
            if picture is not None and picture != self.picture:
                self.picture = picture
                news, self.news = self.news, asyncio.Event()
                news.set()
            await asyncio.sleep(EVERY_S / 2)


def _touch(file: Path) -> None:
    """Tell the line that somebody looks. A folder that is not there belongs to a line that was never started."""
    with suppress(OSError):
        file.touch(FILE_MODE)


def _read(folder: Path) -> bytes | None:
    try:
        return read_safe(folder, PREVIEW_NAME, _LARGEST_BYTES)
    except OSError:
        # removed since, as nobody looked for a moment
        return None


@cache
def _no_data() -> bytes:
    return picture_bytes(without_picture("NO DATA"), ".jpg")


async def line_preview(request: Request) -> MjpegResponse:
    """The stream of /line/L/preview.mjpg. Raises Refusal where MOST_VIEWERS look already."""
    admitted(request, Role.VIEW)
    previews: Previews = request.app.state.previews
    preview = previews.of(line_of(request))
    preview.admit()
    return MjpegResponse(preview)


class MjpegResponse:
    """An answer that goes on until the browser goes, or takes no more for SLOW_S: its place is then another's."""

    def __init__(self, preview: LinePreview) -> None:
        self._preview = preview
        self.headers: dict[str, str] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        kind = b"multipart/x-mixed-replace; boundary=" + _BOUNDARY
        try:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", kind)]})
            async with anyio.create_task_group() as group:
                group.start_soon(self._until_gone, receive, group.cancel_scope)
                await self._send_all(send)
                group.cancel_scope.cancel()
        finally:
            self._preview.leave()

    async def _send_all(self, send: Send) -> None:
        pictures = self._preview.pictures()
        try:
            await send({"type": "http.response.body", "body": _NEXT, "more_body": True})
            async for picture in pictures:
                # with the head of the next one: Chromium shows a picture when it sees that another one begins
                body = picture + b"\r\n" + _NEXT
                with anyio.move_on_after(SLOW_S) as in_time:
                    await send({"type": "http.response.body", "body": body, "more_body": True})
                if in_time.cancel_called:
                    return
        except OSError:
            log.debug("a browser went away", exc_info=True)
        finally:
            await pictures.aclose()

    async def _until_gone(self, receive: Receive, scope: anyio.CancelScope) -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        scope.cancel()
