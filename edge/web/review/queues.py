"""The parts to be looked at, kept between two answers: reading them takes longer than a person looks at one."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from edge.records.store import RecordStore
from edge.review.database import ReviewDatabase
from edge.review.sample import Drawn, Scope, drawn_parts

# new parts join the queue after so long
_FRESH_S = 20.0


@dataclass
class _Kept:
    """read_s: when. last_review: the newest label that is in it. key: of the database."""

    read_s: float
    key: str
    last_review: int
    drawn: dict[int, Drawn]


class Queues:
    """Of all lines; from any thread."""

    def __init__(self, window: timedelta, now_s: Callable[[], float] = time.monotonic) -> None:
        self._window, self._now_s = window, now_s
        self._lock = threading.Lock()
        self._kept: dict[Path, _Kept] = {}

    def drawn(self, store: RecordStore, reviews: ReviewDatabase, now: datetime) -> list[Drawn]:
        """As `drawn_parts` gives them, some seconds old at most, with all labels up to now. Raises RecordError."""
        with self._lock:
            keys = store.query("SELECT key FROM runs ORDER BY id LIMIT 1")
            key = keys[0][0] if keys else ""
            kept, newest = self._kept.get(store.directory), reviews.newest_review()
            if kept is None or kept.key != key or self._now_s() - kept.read_s > _FRESH_S:
                found = drawn_parts(store, reviews.labels(), Scope(since=now - self._window))
                drawn = {each.key.verdict_id: each for each in found}
                kept = self._kept[store.directory] = _Kept(self._now_s(), key, newest, drawn)
            elif newest != kept.last_review:
                changed = reviews.verdicts_reviewed_after(kept.last_review)
                labels = reviews.labels(changed)
                for verdict_id in set(changed) & set(kept.drawn):
                    part = kept.drawn[verdict_id]
                    kept.drawn[verdict_id] = replace(part, review=labels.get(part.key))
                kept.last_review = newest
            return list(kept.drawn.values())
