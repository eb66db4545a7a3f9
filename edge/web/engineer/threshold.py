"""What another threshold would have said: of the parts on record, and of those that the bundle was checked with."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from starlette.responses import HTMLResponse, Response

from edge.bundles.threshold_report import recall_text, rejected, share_text, upper_bound
from edge.core.picture_names import verdict_number
from edge.pages.chart import BLUE, GREEN, GREY, ORANGE, RED, VIOLET, Chart
from edge.pages.kit import render
from edge.web.engineer.changes import note_change, run_command
from edge.web.engineer.judging import Judging, judging
from edge.web.page import Refusal, chosen_line, form_of, line_named, show, to
from edge.web.site.lines import WebLine
from edge.web.site.reading import records_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from starlette.requests import Request

MOST_RECORDED = 5000
# rows that are looked through for them
_MOST_ROWS = 50_000
_BINS = 48
_MOST_LISTED = 12
_LEAST_SHOWN = 0.7


@dataclass(frozen=True)
class Recorded:
    """Scores of the newest parts that this calibration's network judged, the newest first. ng: what was said of each.

    numbers: of the verdicts; pictured: whether a picture is kept.
    """

    scores: NDArray[np.float64]
    ng: NDArray[np.bool_]
    numbers: tuple[str, ...]
    pictured: NDArray[np.bool_]


@dataclass(frozen=True)
class WhatIf:
    """wanted, now: thresholds. more, fewer: recorded parts that it would reject in addition, or no longer.

    pictures: numbers of those with a picture. good_rejected: of the held-out good parts, wanted and now.
    """

    wanted: float
    now: float
    recorded: int
    more: int
    fewer: int
    pictures: tuple[str, ...]
    good: int
    good_rejected: tuple[int, int]
    good_bound: str
    defects: str
    defects_now: str


def threshold_page(request: Request) -> Response:
    """The scores, and a slider. ?value=: the wanted threshold."""
    line = chosen_line(request)
    judge, recorded = judging(line), None
    recorded = recorded_scores(line, judge)
    wanted = _wanted(request.query_params.get("value"), judge.calibration.threshold)
    low, high = _range(judge, recorded)
    values: dict[str, Any] = {
        "line": line, "what": what_if(judge, recorded, wanted), "low": low, "high": high,
        "chart": scores_chart(judge, recorded, wanted, (low, high)),
    }  # fmt: skip
    if request.headers.get("x-part"):
        # the part that a slider changes
        csrf = request.state.visitor.csrf
        return HTMLResponse(render("whatif.html", "edge.web", csrf=csrf, **values))
    return show(request, "threshold.html", judge=judge, step=f"{(high - low) / 400:.6f}", **values)


def recorded_scores(line: WebLine, judge: Judging) -> Recorded:
    """Raises RecordError."""
    with records_of(line) as store:
        rows = store.query(
            "SELECT score, decision = 'NG', run_id, frame_index, image IS NOT NULL FROM verdicts "
            "WHERE id > (SELECT coalesce(max(id), 0) FROM verdicts) - ? AND score IS NOT NULL AND engine_sha256 = ? "
            "ORDER BY id DESC LIMIT ?",
            (_MOST_ROWS, judge.calibration.model_sha256, MOST_RECORDED),
        )
    return Recorded(
        np.array([row[0] for row in rows], np.float64),
        np.array([row[1] for row in rows], bool),
        tuple(verdict_number(row[2], row[3]) for row in rows),
        np.array([row[4] for row in rows], bool),
    )


def what_if(judge: Judging, recorded: Recorded, wanted: float) -> WhatIf:
    """Counts what would be another verdict."""
    calibration = judge.calibration
    above = recorded.scores > wanted
    more, fewer = above & ~recorded.ng, ~above & recorded.ng
    changed = np.flatnonzero((more | fewer) & recorded.pictured)[:_MOST_LISTED]
    rejects = rejected(calibration.scores, wanted)
    has_defects = len(calibration.ng_scores) > 0
    return WhatIf(
        wanted=wanted,
        now=calibration.threshold,
        recorded=len(recorded.scores),
        more=int(more.sum()),
        fewer=int(fewer.sum()),
        pictures=tuple(recorded.numbers[index] for index in changed),
        good=len(calibration.scores),
        good_rejected=(rejects, rejected(calibration.scores, calibration.threshold)),
        good_bound=share_text(upper_bound(rejects, len(calibration.scores))),
        defects=recall_text(calibration.ng_scores, wanted) if has_defects else "",
        defects_now=recall_text(calibration.ng_scores, calibration.threshold) if has_defects else "",
    )


def _range(judge: Judging, recorded: Recorded) -> tuple[float, float]:
    calibration = judge.calibration
    every = np.concatenate([recorded.scores, calibration.scores, calibration.ng_scores, [calibration.threshold]])
    low, high = float(every.min()), float(every.max())
    room = 0.05 * (high - low) or 0.05
    return max(0.0, math.floor((low - room) * 100) / 100), min(1.0, math.ceil((high + room) * 100) / 100)


def scores_chart(judge: Judging, recorded: Recorded, wanted: float, ends: tuple[float, float]) -> Chart:
    """Histogram of recorded scores, by what was said of the part; dots: the bundle's own held-out parts."""
    calibration, edges = judge.calibration, np.linspace(*ends, _BINS + 1)
    counts = [np.histogram(recorded.scores[chosen], edges)[0] for chosen in (~recorded.ng, recorded.ng)]
    top = max(10, *(int(count.max()) for count in counts)) * 3
    key = [(BLUE, "recorded, OK"), (RED, "recorded, NG"), (GREEN, "held-out good parts of the bundle")]
    if len(calibration.ng_scores):
        key.append((ORANGE, "known defective parts of the bundle"))
    chart = Chart(ends, (_LEAST_SHOWN, top), "score", "parts", log_y=True, key=key, width=900, height=300)
    for count, colour in zip(counts, (BLUE, RED), strict=True):
        for index in np.flatnonzero(count):
            chart.box((edges[index], edges[index + 1]), (_LEAST_SHOWN, float(count[index])), colour)
    for scores, colour, height in ((calibration.scores, GREEN, 0.45), (calibration.ng_scores, ORANGE, 0.6)):
        for score in scores:
            chart.dot(float(score), top**height, colour, f"{score:.4f}", hollow=True, radius=3)
    chart.upright(calibration.threshold, f"now {calibration.threshold:.4f}", GREY, 1)
    if wanted != calibration.threshold:
        chart.upright(wanted, f"what if {wanted:.4f}", VIOLET)
    return chart


def _wanted(text: str | None, now: float) -> float:
    """Raises Refusal for what is no threshold."""
    if text is None or text == "":
        return now
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < 1:
        raise Refusal(400, "No threshold", f"{text!r} is no score between 0 and 1.")
    return value


def change_threshold(request: Request) -> Response:
    """Make a new version of the bundle with the threshold that was sent."""
    form = form_of(request)
    line = line_named(request, form.get("line", ""))
    judge = judging(line)
    wanted = _wanted(form.get("value"), judge.calibration.threshold)
    if wanted == judge.calibration.threshold:
        raise Refusal(400, "Nothing was changed", f"The threshold is {wanted:.4f} already.")
    words = ["threshold", "--bundle", str(judge.bundle.path), "--precision", judge.precision]
    # the audit first: what is not on record must not happen
    note_change(request, line, "threshold", f"{judge.calibration.threshold:.6f}", f"{wanted:.6f}")
    run_command([*words, "--set", repr(wanted), "--note", "set on the pages by an engineer"])
    return to(f"/engineer/threshold?line={line.name}")
