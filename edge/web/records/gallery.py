"""The gallery: recorded pictures, the newest first, a page at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from starlette.responses import Response

from edge.core.datatypes import Decision, Reason
from edge.records.store import RecordStore, VerdictRecord, utc_text
from edge.review.database import Review
from edge.review.labelling import key_of, labels_in
from edge.web.page import Refusal, chosen_line, line_of, show
from edge.web.records.pictures import recorded
from edge.web.site.reading import records_of
from edge.web.site.words import LABEL_WORDS, WRONG, known_reasons, reason_words

if TYPE_CHECKING:
    from starlette.requests import Request

PER_PAGE = 24
_NO_ROW = 2**63 - 1


@dataclass(frozen=True)
class Filter:
    """What a gallery shows. since: no older verdicts. before_id: only those recorded before this row; None: all."""

    decision: Decision | None = None
    reason: str = ""
    since: datetime | None = None
    before_id: int | None = None


def filter_from(values: Mapping[str, str]) -> Filter:
    """Of the query of an address. Raises Refusal for what is none."""
    decision, since, before = values.get("decision", ""), values.get("from", ""), values.get("before_id", "")
    reason = values.get("reason", "")
    if decision and decision not in {str(each) for each in Decision}:
        raise Refusal(400, "No such decision", f"{decision!r} is none: choose OK, NG or INVALID.")
    if reason and reason not in known_reasons():
        raise Refusal(400, "No such reason", f"{reason!r} is none that this version knows.")
    if before and not (before.isdecimal() and before.isascii() and len(before) < 19):
        raise Refusal(400, "No such page", f"before_id={before!r} is no number.")
    moment = None
    if since:
        try:
            # as a browser's field for a date or a time gives it: local
            moment = datetime.fromisoformat(since).astimezone(timezone.utc)
        except (ValueError, OverflowError):
            raise Refusal(400, "No such time", f"from={since!r} is no time: write 2026-03-14T08:00.") from None
    return Filter(Decision(decision) if decision else None, reason, moment, int(before) if before else None)


def pictured(store: RecordStore, wanted: Filter, most: int = PER_PAGE) -> list[VerdictRecord]:
    """Verdicts with a picture, the newest first, one more than `most` where there are more. Raises RecordError."""
    parts: list[str] = ["image IS NOT NULL"]
    values: list[Any] = []
    not_ok = wanted.decision in (Decision.NG, Decision.INVALID) or wanted.reason not in ("", Reason.BELOW_THRESHOLD)
    if not_ok:
        # as the index of rejects says it
        parts.append("decision <> 'OK'")
    if wanted.decision is not None:
        parts.append("decision = ?")
        values.append(str(wanted.decision))
    if wanted.reason:
        parts.append("reason = ?")
        values.append(wanted.reason)
    if wanted.before_id is not None:
        parts.append("id < ?")
        values.append(wanted.before_id)
    if wanted.since is not None:
        # its first row by the index of times, so that the walk over pictures ends there
        first = "SELECT id FROM verdicts WHERE utc >= ? ORDER BY utc LIMIT 1"
        parts.append(f"id >= coalesce(({first}), {_NO_ROW})")
        values.append(utc_text(wanted.since))
    index = "verdicts_not_ok" if not_ok else "verdicts_with_image"
    return store.verdicts(
        f"INDEXED BY {index} WHERE {' AND '.join(parts)} ORDER BY id DESC LIMIT ?", (*values, most + 1)
    )  # fmt: skip


def gallery(request: Request) -> Response:
    """24 pictures of a line."""
    line, wanted = chosen_line(request), filter_from(request.query_params)
    with records_of(line) as store:
        found = pictured(store, wanted)
        labels = labels_in(store.directory, [verdict.id for verdict in found])
        keys = {verdict.id: key_of(store, verdict) for verdict in found}
    query = {key: value for key, value in request.query_params.items() if value and key != "before_id"}
    older = {**query, "before_id": found[PER_PAGE - 1].id} if len(found) > PER_PAGE else None
    return show(
        request,
        "gallery.html",
        line=line,
        cards=[_card(verdict, labels.get(keys[verdict.id])) for verdict in found[:PER_PAGE]],
        wanted=wanted,
        filtered=any((wanted.decision, wanted.reason, wanted.since)),
        since=request.query_params.get("from", ""),
        decisions=[str(decision) for decision in Decision],
        reasons=known_reasons(),
        older=None if older is None else f"/gallery?{urlencode(older)}",
        newest=None if wanted.before_id is None else f"/gallery?{urlencode(query)}",
    )


@dataclass(frozen=True)
class Card:
    """A recorded verdict in words. kind: as of SeenVerdict. label: what a person said of it; empty where nobody did.

    wrong: that person says that the line was wrong.
    """

    verdict: VerdictRecord
    kind: str
    what: str
    advice: str
    at: datetime
    label: str
    wrong: bool


def _card(verdict: VerdictRecord, review: Review | None) -> Card:
    words = reason_words(verdict.reason)
    what = "Good, but close to the limit" if verdict.review else words.what
    kind = "review" if verdict.review else str(verdict.decision).lower()
    label, wrong = ("", False) if review is None else (LABEL_WORDS[review.label], review.label in WRONG)
    return Card(verdict, kind, what, words.advice, verdict.utc.astimezone(), label, wrong)


def verdict_page(request: Request) -> Response:
    """One recorded verdict, with its picture as large as the screen allows."""
    verdict, _ = recorded(request)
    with records_of(line_of(request)) as store:
        review = labels_in(store.directory, [verdict.id]).get(key_of(store, verdict))
    return show(request, "verdict.html", line=request.path_params["line"], card=_card(verdict, review), review=review)
