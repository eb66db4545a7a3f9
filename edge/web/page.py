"""One page: who may see it, how it is answered, and what it shows around its own content."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import parse_qsl, quote

from starlette.concurrency import run_in_threadpool
from starlette.responses import HTMLResponse, RedirectResponse, Response

from edge.core.errors import EdgeInspectError, RecordError
from edge.pages.kit import render
from edge.web.security.gate import MOST_FORM_BYTES, comes_from_here
from edge.web.security.tokens import Role
from edge.web.security.visitors import COOKIE, LASTS_S, Visitor
from edge.web.site.lines import WebLine
from edge.web.site.site import Site

if TYPE_CHECKING:
    from starlette.requests import Request


class Refusal(Exception):
    """A request that gets a page with these words instead of an answer. fix: what to do, empty where nothing helps."""

    def __init__(self, status: int, title: str, text: str, fix: str = "") -> None:
        super().__init__(title)
        self.status, self.title, self.text, self.fix = status, title, text, fix


@dataclass(frozen=True)
class Page:
    """A page, or what a form of one is sent to.

    answer: called in a thread, so it may read files and databases. role: that a visitor needs at least; None: nobody
    has to log in. title: of its place in the navigation; empty where it has none. group: of the navigation. changes:
    it is sent forms, which must come from a page of this site; `form` gives their fields.
    """

    path: str
    answer: Callable[[Request], Response]
    role: Role | None
    title: str = ""
    group: str = ""
    changes: bool = False


def endpoint(page: Page) -> Callable[[Request], Any]:
    """What the server calls: it lets in who may, checks forms, and calls the page's answer in a thread."""

    async def call(request: Request) -> Response:
        visitor = admitted(request, page.role)
        if page.changes:
            await _read_form(request, visitor)
        response = await run_in_threadpool(page.answer, request)
        if request.cookies.get(COOKIE) != visitor.cookie and COOKIE not in response.headers.get("set-cookie", ""):
            keep_session(request, response, visitor)
        return response

    return call


def admitted(request: Request, role: Role | None) -> Visitor:
    """Who asks. Raises Refusal where that one must log in first, or may not."""
    visitor = site_of(request).visitors.of(request.cookies.get(COOKIE))
    request.state.visitor = visitor
    if role is not None and visitor.role is None:
        raise LoginNeeded(request.url.path)
    if role is not None and visitor.role is not None and visitor.role < role:
        raise Refusal(
            403, "Not for this role", f"You are logged in as {visitor.name}; this page needs {role.word}.",
            "Log in with the token of that role.",
        )  # fmt: skip
    return visitor


class LoginNeeded(Refusal):
    """path: where the visitor wanted to go."""

    def __init__(self, path: str) -> None:
        super().__init__(401, "Log in first", "")
        self.path = path


async def _read_form(request: Request, visitor: Visitor) -> None:
    """request.state.form: its fields. Raises Refusal for a form that no page of this site sent for this visitor."""
    again = "Open the page anew, and try again."
    if not comes_from_here(request.headers):
        raise Refusal(403, "Not from this site", "The request was made by a page of another site.", again)
    body = b""
    async for piece in request.stream():
        body += piece
        if len(body) > MOST_FORM_BYTES:
            raise Refusal(413, "Too much", "The form is too large.")
    try:
        form = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=100))
    except ValueError:
        raise Refusal(400, "Not a form", "The request holds no form that can be read.") from None
    if form.pop("csrf", "") != visitor.csrf:
        raise Refusal(
            403, "The page is out of date",
            "It was opened before the last login, or before this program was started anew. Nothing was changed.", again,
        )  # fmt: skip
    request.state.form = form


def form_of(request: Request) -> Mapping[str, str]:
    """The fields of a form that was sent to a page that `changes`."""
    return cast("Mapping[str, str]", request.state.form)


def visitor_of(request: Request) -> Visitor:
    return cast(Visitor, request.state.visitor)


def site_of(request: Request) -> Site:
    return cast(Site, request.app.state.site)


def line_of(request: Request) -> WebLine:
    """The line that the address names. Raises Refusal for one that is not here."""
    return line_named(request, str(request.path_params["line"]))


def line_named(request: Request, name: str) -> WebLine:
    """The line of this name. Raises Refusal."""
    lines = site_of(request).lines
    line = lines.get(name)
    if line is None:
        listed = ", ".join(lines)
        raise Refusal(404, "No such line", f"This box has no line {name!r}. Its lines: {listed}.")
    return line


def chosen_line(request: Request) -> WebLine:
    """The line of the query's `line`, else the first one. Raises Refusal."""
    name = request.query_params.get("line")
    return next(iter(site_of(request).lines.values())) if name is None else line_named(request, name)


def show(request: Request, template: str, status: int = 200, **values: Any) -> HTMLResponse:
    """The page of a template of edge/web, with navigation."""
    visitor: Visitor | None = getattr(request.state, "visitor", None)
    site = site_of(request)
    pages: tuple[Page, ...] = request.app.state.pages
    role = None if visitor is None else visitor.role
    shown = [page for page in pages if page.title and role is not None and page.role is not None and role >= page.role]
    groups = dict.fromkeys(page.group for page in shown)
    text = render(
        template,
        "edge.web",
        **values,
        path=request.url.path,
        groups={group: [each for each in shown if each.group == group] for group in groups},
        lines=list(site.lines.values()),
        visitor=visitor,
        role=role,
        open_to_all=site.visitors.open_to_all,
        csrf="" if visitor is None else visitor.csrf,
        line_path=lambda name: f"/line/{quote(name, safe='')}",
    )
    return HTMLResponse(text, status)


def to(path: str) -> RedirectResponse:
    """Go there; for the answer to a form, so that a reload does not send it again."""
    return RedirectResponse(path, 303)


def keep_session(request: Request, response: Response, visitor: Visitor) -> None:
    """Give the browser its cookie, which no script reads and no other site's request brings along."""
    response.set_cookie(
        COOKIE, visitor.cookie, max_age=LASTS_S.get(visitor.role), httponly=True, samesite="strict",
        secure=request.url.scheme == "https",
    )  # fmt: skip


def refusal_of(error: EdgeInspectError) -> Refusal:
    """What a page says where our own code refused: what happened, and what to do."""
    if isinstance(error, RecordError):
        return Refusal(503, "The records cannot be read", error.message, error.fix)
    return Refusal(409, "That did not work", error.message, error.fix)
