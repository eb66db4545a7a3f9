"""One recorded part after the other: a person says what it is, and sees only then what the line said."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from starlette.responses import HTMLResponse, Response

from edge.pages.kit import render
from edge.records.store import RecordStore, VerdictRecord
from edge.records.verdict_search import find_verdict
from edge.review.database import Review, ReviewDatabase
from edge.review.labelling import Reviewer, give_label, key_of, take_back
from edge.review.labels import Answer
from edge.review.sample import WANTED, Drawn, Group, looked_at, next_parts
from edge.web.page import Refusal, chosen_line, form_of, line_of, show, to, visitor_of
from edge.web.records.pictures import recorded
from edge.web.review.queues import Queues
from edge.web.site.lines import WebLine
from edge.web.site.reading import records_of
from edge.web.site.words import LABEL_WORDS, WRONG

if TYPE_CHECKING:
    from starlette.requests import Request

WINDOW = timedelta(days=30)
UNDO = "undo"
# of the queue: whoever answers one of these was asked for it, also if another answered in between
_ASKED = 10
# the next pictures come while somebody looks at this one
_AHEAD = 2


@dataclass(frozen=True)
class Said:
    """The part before: what the line said of it, and the person."""

    verdict: VerdictRecord
    review: Review
    words: str
    wrong: bool


@dataclass(frozen=True)
class Looking:
    """part: to be looked at now; None where nothing is left. done, wanted: parts of the sample, so far and in all."""

    part: VerdictRecord | None
    ahead: tuple[VerdictRecord, ...]
    before: Said | None
    done: int
    wanted: int
    groups: dict[Group, tuple[int, int]]
    ok_drawn: bool


def review_page(request: Request) -> Response:
    """?last=: the number of the part before."""
    line, last = chosen_line(request), request.query_params.get("last")
    with records_of(line) as store, ReviewDatabase(store.directory) as reviews:
        before = find_verdict(store, last) if last and last.replace("-", "").isdecimal() else None
        looking = _looking(request, store, reviews, before)
    return show(request, "review.html", line=line, looking=looking)


def answer_part(request: Request) -> Response:
    """Take an answer for the part that the address names; the next one comes in its place."""
    line, answer = line_of(request), form_of(request).get("answer", "")
    verdict, _ = recorded(request)
    with records_of(line) as store, ReviewDatabase(store.directory) as reviews:
        label_part(request, line, store, reviews, verdict, answer, in_queue=True)
        again = verdict if answer == UNDO else None
        looking = _looking(request, store, reviews, None if again else verdict, again)
    if request.headers.get("x-part"):
        values = {"line": line, "looking": looking, "csrf": visitor_of(request).csrf}
        return HTMLResponse(render("looking.html", "edge.web", **values))
    return to(f"/review?{urlencode({'line': line.name} if again else {'line': line.name, 'last': verdict.number})}")


def label_of_part(request: Request) -> Response:
    """The same for a part that somebody looked up."""
    line = line_of(request)
    verdict, _ = recorded(request)
    with records_of(line) as store, ReviewDatabase(store.directory) as reviews:
        label_part(request, line, store, reviews, verdict, form_of(request).get("answer", ""), in_queue=False)
    return to(f"/verdict/{line.name}/{verdict.number}")


def label_part(
    request: Request, line: WebLine, store: RecordStore, reviews: ReviewDatabase, verdict: VerdictRecord, answer: str,
    *, in_queue: bool,
) -> None:  # fmt: skip
    """Raises Refusal for what is no answer, UsageError for a part that has no label to give or to take back."""
    visitor, now = visitor_of(request), datetime.now(timezone.utc)
    address = request.client.host if request.client is not None else "?"
    by = Reviewer(f"{visitor.name} at {address}", line.name)
    if answer == UNDO:
        take_back(store, reviews, verdict, by, now)
        return
    if answer not in {each.value for each in Answer}:
        raise Refusal(400, "No such answer", f"{answer!r} is none of good, defect and unsure.")
    asked = in_queue and verdict.id in {each.id for each in next_parts(store, _drawn(request, store, reviews), _ASKED)}
    give_label(store, reviews, verdict, Answer(answer), by, now, asked=asked)


def said_of(store: RecordStore, reviews: ReviewDatabase, verdict: VerdictRecord) -> Said | None:
    """The label of a part in words; None where it has none."""
    review = reviews.labels([verdict.id]).get(key_of(store, verdict))
    if review is None:
        return None
    return Said(verdict, review, LABEL_WORDS[review.label], review.label in WRONG)


def _drawn(request: Request, store: RecordStore, reviews: ReviewDatabase) -> list[Drawn]:
    queues: Queues = request.app.state.queues
    return queues.drawn(store, reviews, datetime.now(timezone.utc))


def _looking(
    request: Request, store: RecordStore, reviews: ReviewDatabase, before: VerdictRecord | None,
    again: VerdictRecord | None = None,
) -> Looking:  # fmt: skip
    """again: the part that comes next, whatever the queue says."""
    drawn = _drawn(request, store, reviews)
    coming = next_parts(store, drawn, 1 + _AHEAD)
    if again is not None:
        coming = [again, *(each for each in coming if each.id != again.id)]
    done = dict.fromkeys(Group, 0)
    waiting = dict.fromkeys(Group, 0)
    for each in looked_at(drawn):
        done[each.group] += 1
    for each in drawn:
        waiting[each.group] += each.review is None and each.has_picture
    # what there is not cannot be looked at
    groups = {group: (done[group], min(wanted, done[group] + waiting[group])) for group, wanted in WANTED.items()}
    return Looking(
        part=coming[0] if coming else None,
        ahead=tuple(coming[1:]),
        before=None if before is None else said_of(store, reviews, before),
        done=sum(min(count, wanted) for count, wanted in groups.values()),
        wanted=sum(wanted for _, wanted in groups.values()),
        groups=groups,
        ok_drawn=any(each.group is Group.OK for each in drawn),
    )
