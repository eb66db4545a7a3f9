"""How many verdicts are wrong, in plain words, with what is not known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING

from starlette.responses import Response

from edge.pages.chart import BLUE, PALE, RED, Chart
from edge.review.estimates import Estimate
from edge.review.labelling import labels_in
from edge.review.quality import Quality, percent, quality_by_day
from edge.review.sample import WANTED, Group
from edge.web.page import Refusal, chosen_line, show
from edge.web.review.rates import parts_for, rate_sentence
from edge.web.site.reading import records_of

if TYPE_CHECKING:
    from starlette.requests import Request

SPANS = {"7": "7 days", "30": "30 days", "90": "90 days"}
GROUP_WORDS = {
    Group.OK: "accepted parts",
    Group.BAND: "accepted parts close to the limit",
    Group.NG: "rejected parts",
}
_GOALS = (0.03, 0.01, 0.003, 0.001)


@dataclass(frozen=True)
class Goal:
    """parts: to be looked at, all of them good, to say that the rate is at most this.

    missing: how many more, after what was found so far, if all of those are good.
    """

    rate: str
    parts: int
    missing: int


def quality_page(request: Request) -> Response:
    """?days=: of how much time."""
    line, days = chosen_line(request), request.query_params.get("days", "30")
    if days not in SPANS:
        raise Refusal(400, "No such time", f"{days!r} is none: choose {', '.join(SPANS.values())}.")
    until = datetime.now(timezone.utc)
    since = until - timedelta(days=int(days))
    with records_of(line) as store:
        records, by_day = quality_by_day(store, labels_in(store.directory), since, until)
    whole = records.total()
    return show(
        request,
        "quality.html",
        line=line,
        days=days,
        spans=SPANS,
        quality=whole,
        numbers=(_number(whole.escape), _number(whole.overkill)),
        sentences=(
            rate_sentence(whole.escape, "the accepted parts", "are defective", "accepted parts"),
            rate_sentence(whole.overkill, "all parts", "are good and were rejected", "rejected parts"),
        ),
        goals=[_goal(rate, whole.escape) for rate in _GOALS],
        sample=[
            (words, whole.looked_at[group], WANTED[group])
            for group, words in GROUP_WORDS.items()
            if group is not Group.BAND or any(each.group is Group.BAND for each in records.drawn)
        ],
        charts=(
            _chart(by_day, lambda each: each.escape, "% of accepted parts", RED),
            _chart(by_day, lambda each: each.overkill, "% of all parts", BLUE),
        ),
        rows=[(day, each.escape, each.overkill) for day, each in reversed(by_day.items())],
        percent=percent,
    )


def _number(estimate: Estimate) -> str:
    """The one number of a tile."""
    if estimate.value is None:
        return "not known"
    return percent(estimate.value) if estimate.wrong else f"at most {percent(estimate.at_most)}"


def _goal(rate: float, escape: Estimate) -> Goal:
    reached = escape.at_most is not None and escape.at_most <= rate
    missing = 0 if reached else max(1, parts_for(rate, escape.wrong) - escape.looked_at)
    return Goal(percent(rate), parts_for(rate, 0), missing)


def _chart(days: dict[date, Quality], of: Callable[[Quality], Estimate], unit: str, colour: str) -> Chart | None:
    """A dot for each day on which somebody looked at parts, in its interval; None where there is no such day."""
    shown = [(index, day, of(each)) for index, (day, each) in enumerate(days.items()) if of(each).looked_at]
    if not shown:
        return None
    every = max(1, len(days) // 10)
    labels = {index + 0.5: f"{day:%d %b}" for index, day in enumerate(days) if index % every == 0}
    top = max(100 * (estimate.high or 0) for _, _, estimate in shown)
    chart = Chart(
        (0, len(days)), (0, min(100.0, 1.05 * top)), "", unit, x_labels=labels,
        key=((colour, "the day's rate"), (PALE, "its 95 % interval")), width=900, height=240,
    )  # fmt: skip
    for index, day, estimate in shown:
        assert estimate.low is not None and estimate.high is not None and estimate.value is not None
        chart.box((index + 0.25, index + 0.75), (100 * estimate.low, 100 * estimate.high), PALE, 0.6)
        words = f"{day:%d %b}: {percent(estimate.value)}, {estimate.wrong} of {estimate.looked_at} looked at"
        chart.dot(index + 0.5, 100 * estimate.value, colour, words, radius=5)
    return chart
