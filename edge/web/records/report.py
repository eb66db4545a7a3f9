"""The report of a shift, for the screen and for paper, and its verdicts as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING

from starlette.responses import Response, StreamingResponse

from edge.core.datatypes import Decision
from edge.core.local_time import local_iso
from edge.core.picture_names import verdict_number
from edge.pages.chart import GREEN, OCHRE, RED, Chart
from edge.records.alarms import alarms_between
from edge.records.store import utc_text
from edge.web.page import Refusal, chosen_line, show, site_of
from edge.web.records.gallery import Filter, pictured
from edge.web.site.lines import WebLine
from edge.web.site.reading import records_of
from edge.web.site.shifts import Shift
from edge.web.site.tally import Quarter, summed
from edge.web.site.words import reason_words

if TYPE_CHECKING:
    from starlette.requests import Request

_MOST_PICTURES = 12
_BLOCK = 5000
_COLUMNS = ("number", "time", "decision", "reason", "review", "score", "threshold", "picture")


@dataclass(frozen=True)
class ReasonCount:
    """How many verdicts had this reason, as (kind, words, count, share)."""

    kind: str
    words: str
    count: int
    share: float


def shift_report(request: Request) -> Response:
    """Counts, hours, reasons, alarms and rejects of one shift of one line; ?shift= names it, else the one of now."""
    line, shift = chosen_line(request), _shift(request)
    quarters = site_of(request).tallies[line.name].quarters(shift.start, shift.end)
    whole = summed(quarters.values())
    with records_of(line) as store:
        alarms = alarms_between(store, shift.start, shift.end)
        newest = pictured(store, Filter(Decision.NG, since=shift.start), _MOST_PICTURES + 20)
    shifts = site_of(request).shifts
    return show(
        request,
        "report.html",
        line=line,
        shift=shift,
        earlier=shifts.before(shift),
        later=None if shift.end > datetime.now(timezone.utc) else shifts.after(shift),
        counts=tuple(whole.of(decision) for decision in Decision),
        total=sum(whole.counts.values()),
        review=whole.review,
        reasons=_reasons(whole),
        chart=hours_chart(quarters, shift),
        alarms=[entry.alarm for entry in alarms],
        rejects=[verdict for verdict in newest if shift.start <= verdict.utc < shift.end][:_MOST_PICTURES],
        written=datetime.now().astimezone(),
    )


def _shift(request: Request) -> Shift:
    """Raises Refusal for a name that no shift has."""
    shifts, name = site_of(request).shifts, request.query_params.get("shift")
    if not name:
        return shifts.at(datetime.now(timezone.utc))
    shift = shifts.named(name)
    if shift is None:
        raise Refusal(404, "No such shift", f"There is no shift {name!r}.", "Write it as 2026-03-14-1: day and number.")
    return shift


def _reasons(whole: Quarter) -> list[ReasonCount]:
    total = sum(whole.counts.values())
    return [
        ReasonCount(decision.lower(), reason_words(reason).what, count, count / total)
        for (decision, reason), count in whole.counts.most_common()
    ]


def hours_chart(quarters: Mapping[datetime, Quarter], shift: Shift) -> Chart:
    """Bars of good, bad and not judged parts in each hour of the shift."""
    hours: list[Quarter] = []
    starts = []
    at = shift.start
    while at < shift.end:
        until = min(at + timedelta(hours=1), shift.end)
        hours.append(summed(quarter for begin, quarter in quarters.items() if at <= begin < until))
        starts.append(at)
        at = until
    most = max([1, *(sum(hour.counts.values()) for hour in hours)])
    chart = Chart(
        (0, len(hours)), (0, most * 1.05), "", "parts in an hour",
        x_labels={index: f"{start.astimezone():%H:%M}" for index, start in enumerate([*starts, shift.end])},
        key=((GREEN, "good"), (RED, "bad"), (OCHRE, "not judged")), height=220,
    )  # fmt: skip
    for index, hour in enumerate(hours):
        below = 0.0
        for decision, colour in ((Decision.OK, GREEN), (Decision.NG, RED), (Decision.INVALID, OCHRE)):
            count = hour.of(decision)
            if count:
                chart.box((index + 0.12, index + 0.88), (below, below + count), colour, 0.85)
            below += count
    return chart


def shift_csv(request: Request) -> Response:
    """Every verdict of a shift as a table that spreadsheets read."""
    line, shift = chosen_line(request), _shift(request)
    # what is wrong is said before the answer begins
    records_of(line).close()
    name = f"{line.name}-{shift.name}.csv"
    return StreamingResponse(
        _rows(line, shift),
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


def _rows(line: WebLine, shift: Shift) -> Iterator[str]:
    """In blocks, each with a connection of its own: a slow reader must not keep the line's log from being taken in."""
    yield _csv([_COLUMNS])
    last = 0
    while True:
        with records_of(line) as store:
            rows = store.query(
                "SELECT id, run_id, frame_index, utc, decision, reason, review, score, threshold, image FROM verdicts "
                "WHERE id > ? AND id >= coalesce((SELECT id FROM verdicts WHERE utc >= ? ORDER BY utc LIMIT 1), "
                "9223372036854775807) AND +utc >= ? AND +utc < ? ORDER BY id LIMIT ?",
                (last, utc_text(shift.start), utc_text(shift.start), utc_text(shift.end), _BLOCK),
            )
        if not rows:
            return
        yield _csv(
            (
                verdict_number(run, frame), local_iso(datetime.fromisoformat(utc)), decision, reason,
                "yes" if review else "no", score, threshold, image or "",
            )
            for _, run, frame, utc, decision, reason, review, score, threshold, image in rows
        )  # fmt: skip
        last = rows[-1][0]


def _csv(rows: Iterable[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue()
