"""Log in and out."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import Response

from edge.web.page import Refusal, form_of, keep_session, show, site_of, to
from edge.web.security.attempts import Attempts
from edge.web.security.visitors import COOKIE

if TYPE_CHECKING:
    from starlette.requests import Request


def login_address(path: str) -> str:
    """Of the page that asks for a token, and then goes on to `path`."""
    return f"/login?{urlencode({'next': path})}"


def login_page(request: Request) -> Response:
    """Asks for a token."""
    return show(request, "login.html", next=_own_path(request.query_params.get("next", "/")), wrong=False)


def log_in(request: Request) -> Response:
    """Begin a session with a role's token. Raises Refusal for who tries too often."""
    form, attempts = form_of(request), _attempts(request)
    address = request.client.host if request.client is not None else ""
    wait_s = attempts.wait_s(address)
    if wait_s > 0:
        raise Refusal(429, "Too many attempts", "Wrong tokens were given too often.", f"Wait {wait_s:.0f} seconds.")
    visitor = site_of(request).visitors.log_in(form.get("token", ""))
    if visitor is None:
        attempts.failed(address)
        return show(request, "login.html", 401, next=_own_path(form.get("next", "/")), wrong=True)
    response = to(_own_path(form.get("next", "/")))
    keep_session(request, response, visitor)
    return response


def log_out(request: Request) -> Response:
    """Forget the session of this browser."""
    response = to("/login")
    response.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return response


def _attempts(request: Request) -> Attempts:
    attempts: Attempts = request.app.state.attempts
    return attempts


def _own_path(path: str) -> str:
    """A page of this site; what leads elsewhere leads to the first page."""
    return path if path.startswith("/") and not path.startswith(("//", "/\\")) and path.isprintable() else "/"
