"""How many verdicts of which kind each quarter of an hour had, kept up to date at the cost of the new ones."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timezone
from typing import Any

from edge.core.datatypes import Decision
from edge.records.store import RecordStore, utc_text
from edge.web.site.lines import WebLine
from edge.web.site.reading import records_of

_MOST_SPANS = 64


@dataclass
class Quarter:
    """One quarter of an hour. counts: by (decision, reason). review: OK parts in the unsure band.

    scored: parts that have a score; scores: their sum, highest: the largest of them.
    """

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    review: int = 0
    scored: int = 0
    scores: float = 0.0
    highest: float = 0.0

    def of(self, decision: Decision) -> int:
        """Verdicts with this decision."""
        return sum(count for (word, _), count in self.counts.items() if word == decision)

    def add(self, other: Quarter) -> None:
        self.counts.update(other.counts)
        self.review += other.review
        self.scored += other.scored
        self.scores += other.scores
        self.highest = max(self.highest, other.highest)


class Tally:
    """Of one line; from any thread. A span of time that has been counted once costs only its new verdicts."""

    def __init__(self, line: WebLine) -> None:
        self._line = line
        self._lock = threading.Lock()
        self._database: list[tuple[Any, ...]] = []
        self._spans: dict[tuple[datetime, datetime], _Span] = {}

    def quarters(self, start: datetime, end: datetime) -> dict[datetime, Quarter]:
        """Those with verdicts, start <= time < end, by their beginning; both at whole quarters. Raises RecordError."""
        with self._lock, records_of(self._line) as store:
            # another database in its place begins its numbers anew
            keys = store.query("SELECT key FROM runs ORDER BY id LIMIT 1")
            if keys != self._database:
                self._spans.clear()
            self._database = keys
            span = self._spans.pop((start, end), None) or _Span()
            span.follow(store, start, end)
            self._spans[start, end] = span
            while len(self._spans) > _MOST_SPANS:
                del self._spans[next(iter(self._spans))]
            return {at: summed([quarter]) for at, quarter in span.quarters.items()}

    def total(self, start: datetime, end: datetime) -> Quarter:
        """All of them together. Raises RecordError."""
        return summed(self.quarters(start, end).values())


def summed(quarters: Iterable[Quarter]) -> Quarter:
    whole = Quarter()
    for each in quarters:
        whole.add(each)
    return whole


@dataclass
class _Span:
    last_id: int = 0
    quarters: dict[datetime, Quarter] = field(default_factory=dict)

    def follow(self, store: RecordStore, start: datetime, end: datetime) -> None:
        """Count what was recorded since the last call."""
        ((newest,),) = store.query("SELECT max(id) FROM verdicts")
        if newest is None or newest <= self.last_id:
            return
        # the first time by the index of times; then by number, as new verdicts are few
        by = "utc >= ? AND utc < ?" if not self.last_id else "+utc >= ? AND +utc < ?"
        rows = store.query(
            "SELECT substr(utc, 1, 16), decision, reason, review, count(*), count(score), total(score), max(score) "
            f"FROM verdicts WHERE {by} AND id > ? AND id <= ? GROUP BY 1, 2, 3, 4",
            (utc_text(start), utc_text(end), self.last_id, newest),
        )
        for minute, decision, reason, review, count, scored, scores, highest in rows:
            part = Quarter(Counter({(decision, reason): count}), count if review else 0, scored, scores, highest or 0.0)
            self.quarters.setdefault(_quarter_of(minute), Quarter()).add(part)
        self.last_id = newest


def _quarter_of(minute: str) -> datetime:
    at = datetime.fromisoformat(minute).replace(tzinfo=timezone.utc)
    return at.replace(minute=at.minute // 15 * 15)
