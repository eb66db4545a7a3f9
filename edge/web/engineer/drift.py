"""How scores and verdicts of a line went, over a day or a week."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from starlette.responses import Response

from edge.core.datatypes import Decision
from edge.pages.chart import BLUE, OCHRE, RED, VIOLET, Chart
from edge.records.alarms import alarms_between
from edge.web.page import Refusal, chosen_line, show, site_of
from edge.web.site.reading import records_of
from edge.web.site.tally import Quarter, summed

if TYPE_CHECKING:
    from starlette.requests import Request

_SPANS = {"day": (timedelta(days=1), timedelta(hours=1)), "week": (timedelta(days=7), timedelta(hours=4))}


@dataclass(frozen=True)
class Step:
    """A stretch of time with what was judged in it."""

    start: datetime
    counts: Quarter


def drift_page(request: Request) -> Response:
    """Charts of scores and rejects, and the alarms; ?span= is day or week."""
    line, span = chosen_line(request), request.query_params.get("span", "day")
    if span not in _SPANS:
        raise Refusal(400, "No such span", f"{span!r} is neither day nor week.")
    whole, step = _SPANS[span]
    end = _next_hour(datetime.now(timezone.utc))
    start = end - whole
    steps = _steps(site_of(request).tallies[line.name].quarters(start, end), start, end, step)
    with records_of(line) as store:
        alarms = [entry.alarm for entry in alarms_between(store, start, None)]
    return show(
        request,
        "drift.html",
        line=line,
        span=span,
        spans=tuple(_SPANS),
        scores=_scores_chart(steps, step),
        rejects=_rejects_chart(steps, step),
        any=any(each.counts.counts for each in steps),
        alarms=list(reversed(alarms)),
    )


def _next_hour(moment: datetime) -> datetime:
    """In UTC; where local hours begin at half hours of UTC, the labels say so."""
    return moment.replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)


def _steps(quarters: dict[datetime, Quarter], start: datetime, end: datetime, step: timedelta) -> list[Step]:
    return [
        Step(at, summed(quarter for begin, quarter in quarters.items() if at <= begin < at + step))
        for at in (start + step * index for index in range((end - start) // step))
    ]


def _labels(steps: Sequence[Step], step: timedelta) -> dict[float, str]:
    """Hours of a day, days of a week, in local time."""
    form = "%H:%M" if step < timedelta(hours=4) else "%a %d"
    every = 3 if step < timedelta(hours=4) else 6
    return {index: f"{each.start.astimezone():{form}}" for index, each in enumerate(steps) if index % every == 0}


def _scores_chart(steps: Sequence[Step], step: timedelta) -> Chart:
    """The mean and the largest score of each step."""
    seen = [(index + 0.5, each.counts) for index, each in enumerate(steps) if each.counts.scored]
    top = max([0.1, *(counts.highest for _, counts in seen)])
    chart = Chart(
        (0, len(steps)), (0, top * 1.05), "", "score", x_labels=_labels(steps, step),
        key=((BLUE, "mean"), (VIOLET, "largest")), width=900, height=240,
    )  # fmt: skip
    for colour, values in (
        (VIOLET, [counts.highest for _, counts in seen]),
        (BLUE, [counts.scores / counts.scored for _, counts in seen]),
    ):
        places = [at for at, _ in seen]
        chart.line(places, values, colour)
        for at, value in zip(places, values, strict=True):
            chart.dot(at, value, colour, f"{value:.4f}")
    return chart


def _rejects_chart(steps: Sequence[Step], step: timedelta) -> Chart:
    """The shares of bad and not judged parts of each step, in percent."""
    shares = []
    for each in steps:
        total = sum(each.counts.counts.values())
        ng, invalid = each.counts.of(Decision.NG), each.counts.of(Decision.INVALID)
        shares.append((100 * ng / total, 100 * invalid / total) if total else (0.0, 0.0))
    top = max([1.0, *(sum(pair) for pair in shares)])
    chart = Chart(
        (0, len(steps)), (0, top * 1.05), "", "% of parts", x_labels=_labels(steps, step),
        key=((RED, "bad"), (OCHRE, "not judged")), width=900, height=220,
    )  # fmt: skip
    for index, (bad, unjudged) in enumerate(shares):
        for low, high, colour in ((0.0, bad, RED), (bad, bad + unjudged, OCHRE)):
            if high > low:
                chart.box((index + 0.1, index + 0.9), (low, high), colour, 0.85)
    return chart
