"""The overview of all lines, and the page of one line that is read from three metres away."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from starlette.responses import Response

from edge.core.datatypes import Decision
from edge.core.errors import RecordError
from edge.pages.kit import render
from edge.web.line.view import LineView, view_of
from edge.web.page import line_of, show, site_of
from edge.web.site.lines import WebLine
from edge.web.site.site import Site

if TYPE_CHECKING:
    from starlette.requests import Request


@dataclass(frozen=True)
class LineNow:
    """A line with what it counted. counted: good, bad, not judged; None where nothing is known. since: in words."""

    view: LineView
    counted: tuple[int, int, int] | None
    since: str


def line_now(site: Site, line: WebLine) -> LineNow:
    """The line as it is, with the counts of this shift; without records those since its start."""
    view, shift = view_of(line), site.shifts.at(datetime.now(timezone.utc))
    if line.records is not None:
        try:
            whole = site.tallies[line.name].total(shift.start, shift.end)
        # there are none yet, or they cannot be read: other pages say why
        except RecordError:
            pass
        else:
            counted = whole.of(Decision.OK), whole.of(Decision.NG), whole.of(Decision.INVALID)
            return LineNow(view, counted, f"this shift, since {shift.start.astimezone():%H:%M}")
    return LineNow(view, view.counts, "since the line started")


def overview(request: Request) -> Response:
    """A tile for each line."""
    return show(request, "overview.html", fragment=overview_fragment(site_of(request)))


def overview_fragment(site: Site) -> Fragment:
    """What changes of the overview."""
    return Fragment(render("tiles.html", "edge.web", nows=[line_now(site, line) for line in site.lines.values()]))


def line_page(request: Request) -> Response:
    """The verdict, large."""
    line = line_of(request)
    return show(request, "line.html", line=line, fragment=line_fragment(site_of(request), line))


def line_fragment(site: Site, line: WebLine) -> Fragment:
    """What changes of a line's page."""
    now = line_now(site, line)
    return Fragment(render("live.html", "edge.web", now=now, view=now.view), now.view.live)


@dataclass(frozen=True)
class Fragment:
    """A part of a page, which is HTML already. live: whether the line's picture may be shown beside it."""

    html: str
    live: bool = True

    def __html__(self) -> str:
        return self.html


def health(request: Request) -> Response:
    """200 only if every line is alive; for programs, so without a login."""
    lines = site_of(request).lines.values()
    alive = {line.name: line.run_directory is not None and _alive(line) for line in lines}
    status = 200 if alive and all(alive.values()) else 503
    return Response(json.dumps({"lines": alive}), status, media_type="application/json")


def _alive(line: WebLine) -> bool:
    return view_of(line).live
