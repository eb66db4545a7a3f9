"""The pages put together: which address is answered by what, for whom."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from anyio.to_thread import current_default_thread_limiter
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.responses import Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from edge.core.errors import EdgeInspectError
from edge.pages.kit import render
from edge.web.engineer.audit import audit_page
from edge.web.engineer.bundles import bundles_page, go_back
from edge.web.engineer.disk import disk_page
from edge.web.engineer.drift import drift_page
from edge.web.engineer.jobs import Jobs
from edge.web.engineer.recalibrate import begin_recalibration, recalibrate_page
from edge.web.engineer.recipes import change_recipe, recipes_page
from edge.web.engineer.teach import teach, teach_page
from edge.web.engineer.teaching import SamplesOf, Teachings
from edge.web.engineer.threshold import change_threshold, threshold_page
from edge.web.line.events import Fragments, line_events, overview_events
from edge.web.line.pages import health, line_page, overview
from edge.web.line.preview import Previews, line_preview
from edge.web.login import log_in, log_out, login_address, login_page
from edge.web.page import LoginNeeded, Page, Refusal, endpoint, refusal_of, show, to
from edge.web.records.gallery import gallery, verdict_page
from edge.web.records.pictures import SmallPictures, overlay_picture, plain_picture
from edge.web.records.report import shift_csv, shift_report
from edge.web.review.quality import quality_page
from edge.web.review.queues import Queues
from edge.web.review.review import WINDOW, answer_part, label_of_part, review_page
from edge.web.security.attempts import Attempts
from edge.web.security.gate import Gate
from edge.web.security.tokens import Role
from edge.web.site.site import Site

if TYPE_CHECKING:
    from starlette.requests import Request

# requests that are worked on at a time: the processor belongs to the inspection
_THREADS = 4

PAGES = (
    Page("/", overview, Role.VIEW, "Lines", "line"),
    Page("/line/{line}", line_page, Role.VIEW),
    Page("/gallery", gallery, Role.OPERATOR, "Pictures", "records"),
    Page("/verdict/{line}/{number}", verdict_page, Role.OPERATOR),
    Page("/picture/{line}/{number}", overlay_picture, Role.OPERATOR),
    Page("/picture/{line}/{number}/plain", plain_picture, Role.OPERATOR),
    Page("/verdict/{line}/{number}/label", label_of_part, Role.OPERATOR, changes=True),
    Page("/review", review_page, Role.OPERATOR, "Review", "records"),
    Page("/review/{line}/{number}", answer_part, Role.OPERATOR, changes=True),
    Page("/report", shift_report, Role.OPERATOR, "Shift", "records"),
    Page("/report.csv", shift_csv, Role.OPERATOR),
    Page("/quality", quality_page, Role.ENGINEER, "Quality", "engineer"),
    Page("/engineer/threshold", threshold_page, Role.ENGINEER, "Threshold", "engineer"),
    Page("/engineer/threshold", change_threshold, Role.ENGINEER, changes=True),
    Page("/engineer/drift", drift_page, Role.ENGINEER, "Drift", "engineer"),
    Page("/engineer/bundles", bundles_page, Role.ENGINEER, "Bundles", "engineer"),
    Page("/engineer/bundles", go_back, Role.ENGINEER, changes=True),
    Page("/engineer/recipes", recipes_page, Role.ENGINEER, "Recipes", "engineer"),
    Page("/engineer/recipes", change_recipe, Role.ENGINEER, changes=True),
    Page("/engineer/recalibrate", recalibrate_page, Role.ENGINEER, "Recalibrate", "engineer"),
    Page("/engineer/recalibrate", begin_recalibration, Role.ENGINEER, changes=True),
    Page("/engineer/teach", teach_page, Role.ENGINEER, "Teach", "engineer"),
    Page("/engineer/teach", teach, Role.ENGINEER, changes=True),
    Page("/engineer/disk", disk_page, Role.ENGINEER, "Disk", "engineer"),
    Page("/engineer/audit", audit_page, Role.ENGINEER, "Audit", "engineer"),
    Page("/login", login_page, None),
    Page("/login", log_in, None, changes=True),
    Page("/logout", log_out, None, changes=True),
    Page("/healthz", health, None),
)


def make_app(site: Site, hosts: frozenset[str], samples_of: SamplesOf) -> Starlette:
    """hosts: names under which the pages may be asked for. samples_of: where pages collect samples of a product."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        current_default_thread_limiter().total_tokens = _THREADS
        yield

    routes = [
        *(Route(page.path, endpoint(page), methods=["POST"] if page.changes else ["GET"]) for page in PAGES),
        Route("/events", overview_events),
        Route("/line/{line}/events", line_events),
        Route("/line/{line}/preview.mjpg", line_preview),
        Route("/static/style.css", _style),
        Mount("/static", StaticFiles(directory=Path(__file__).parent / "static")),
    ]
    app = Starlette(
        routes=routes,
        middleware=[Middleware(Gate, hosts=hosts)],
        exception_handlers={
            Refusal: _refused, EdgeInspectError: _failed, HTTPException: _not_answered, Exception: _broken,
        },
        lifespan=lifespan,
    )  # fmt: skip
    app.state.site, app.state.pages = site, PAGES
    app.state.fragments, app.state.attempts, app.state.previews = Fragments(), Attempts(), Previews()
    app.state.small_pictures, app.state.jobs, app.state.queues = SmallPictures(), Jobs(), Queues(WINDOW)
    app.state.teachings = Teachings(samples_of)
    return app


def _style(request: Request) -> Response:
    """The style that all pages of the program have."""
    return Response(render("style.css"), media_type="text/css", headers={"cache-control": "no-cache"})


def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    if isinstance(error, LoginNeeded) and request.method == "GET" and "text/html" in request.headers.get("accept", ""):
        return to(login_address(error.path))
    return show(request, "refusal.html", error.status, refusal=error)


def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, EdgeInspectError)
    return _refused(request, refusal_of(error))


def _not_answered(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    words = {404: ("No such page", "There is nothing at this address."),
             405: ("Not this way", "This address is not asked for like that.")}  # fmt: skip
    title, text = words.get(error.status_code, ("That did not work", str(error.detail)))
    return _refused(request, Refusal(error.status_code, title, text, "Begin at the first page."))


def _broken(request: Request, error: Exception) -> Response:
    # the server logs it
    return _refused(request, Refusal(500, "This page failed", "The log of `edge-inspect web` says why.", "Try again."))
