"""A new version of the bundle from parts that people found good: offered, started, watched and told."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from starlette.responses import HTMLResponse, Response

from edge.bundles.bundle import load_bundle
from edge.bundles.versions import SHORT
from edge.core.errors import UsageError
from edge.core.picture_names import owner_of, verdict_number
from edge.pages.kit import render
from edge.review.uses import FEWEST_SAMPLES, GoodParts, good_parts
from edge.web.engineer.changes import change_of
from edge.web.engineer.jobs import BUSY, Jobs
from edge.web.engineer.judging import bundle_path
from edge.web.page import Refusal, chosen_line, form_of, line_named, show, to, visitor_of
from edge.web.site.lines import WebLine
from edge.web.site.reading import records_of

if TYPE_CHECKING:
    from starlette.requests import Request

COMMAND = "recalibrate"
_MOST_SHOWN = 12


@dataclass(frozen=True)
class Offer:
    """What can be recalibrated from. missing: why nothing can, and what to do; None where it can.

    shown: numbers of some of the false rejects.
    """

    false_rejects: int = 0
    confirmed: int = 0
    shown: tuple[str, ...] = ()
    missing: UsageError | None = None


def recalibrate_page(request: Request) -> Response:
    """The parts that are offered, or how far the work is."""
    line = chosen_line(request)
    jobs: Jobs = request.app.state.jobs
    values: dict[str, Any] = {"line": line, "job": jobs.of(line.name, COMMAND)}
    if request.headers.get("x-part"):
        # asked again and again while it runs
        return HTMLResponse(render("job.html", "edge.web", csrf=visitor_of(request).csrf, **values))
    bundle = load_bundle(bundle_path(line))
    offer = _offer(line, bundle.path)
    return show(request, "recalibrate.html", offer=offer, version=bundle.sha256[:SHORT], **values)


def begin_recalibration(request: Request) -> Response:
    """Start the command with fixed words, beside the running line; or end it."""
    form = form_of(request)
    line = line_named(request, form.get("line", ""))
    jobs: Jobs = request.app.state.jobs
    if form.get("end"):
        jobs.end(line.name, COMMAND)
        return to(f"/engineer/recalibrate?line={line.name}")
    path = bundle_path(line)
    offer, records = _offer(line, path), line.records
    if offer.missing is not None or records is None:
        raise offer.missing or Refusal(409, "Nothing was changed", f"Line {line.name} keeps no records.")
    before = load_bundle(path).sha256
    samples = f"{offer.false_rejects} false rejects and {offer.confirmed} confirmed parts"

    def over(failed: bool) -> None:
        after = load_bundle(path).sha256
        said = "refused, " if failed else ""
        change_of(visitor, address, records, "recalibrate", before[:SHORT], f"{said}{after[:SHORT]}")

    visitor, address = visitor_of(request), request.client.host if request.client is not None else "?"
    words = [COMMAND, "--from-labels", "--bundle", str(path), "--record-dir", str(records)]
    if jobs.busy(line.name):
        raise BUSY
    # the audit first: what is not on record must not happen
    change_of(visitor, address, records, "recalibrate begun", before[:SHORT], samples)
    if not jobs.begin(line.name, COMMAND, words, before[:SHORT], over):
        raise BUSY
    return to(f"/engineer/recalibrate?line={line.name}")


def _offer(line: WebLine, bundle: Path) -> Offer:
    with records_of(line) as store:
        try:
            found = good_parts(store, bundle, FEWEST_SAMPLES)
        except UsageError as error:
            return Offer(missing=error)
    return Offer(len(found.false_rejects), len(found.confirmed), _numbers(found))


def _numbers(found: GoodParts) -> tuple[str, ...]:
    owners = [owner_of(path.name) for path in found.false_rejects[-_MOST_SHOWN:]]
    return tuple(verdict_number(int(owner.run), owner.frame_index) for owner in owners if owner and not owner.by_key)
