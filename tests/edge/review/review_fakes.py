"""Recorded parts of a small line, and labels for them."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

from edge.core.datatypes import Decision
from edge.records.store import RecordStore
from edge.review.database import Review, ReviewDatabase
from edge.review.labelling import Reviewer, give_label
from edge.review.labels import Answer
from tests.edge.records.records_fakes import START, look, recorder

BY = Reviewer("anna@box", "line")
LATER = START + timedelta(hours=2)
OK, NG, INVALID = Decision.OK, Decision.NG, Decision.INVALID
# an accepted part in the unsure band
BAND = "band"


def record(
    directory: Path, parts: Iterable[Decision | str], seed: int = 0, begin: datetime = START, **settings: object
) -> None:
    """A run that records these parts, in this order."""
    sink = recorder(directory, draw=random.Random(seed).random, queue_frames=5000, **settings)
    for index, part in enumerate(parts):
        utc, size = begin + timedelta(seconds=index), (12, 12) if part == NG else (4, 4)
        taken, verdict = look(index, OK if part == BAND else part, size=size, utc=utc)
        sink.write(taken, replace(verdict, review=part == BAND))
    sink.drain(threading.Event(), lambda _: None)
    sink.close()


def say(directory: Path, verdict_id: int, answer: Answer, *, asked: bool = True, note: str = "") -> Review:
    with RecordStore(directory) as store, ReviewDatabase(directory) as reviews:
        return give_label(store, reviews, store.verdict(verdict_id), answer, BY, LATER, asked=asked, note=note)
