"""A person says what a part is: the picture is kept, then the label is on record."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge.core.errors import UsageError
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore, VerdictRecord
from edge.review.database import REVIEW_NAME, Review, ReviewDatabase, VerdictKey
from edge.review.labelled_pictures import keep_picture
from edge.review.labels import Answer, Label, label_of


@dataclass(frozen=True)
class Reviewer:
    """who: the name that stands with the label. line: the line's, from the settings."""

    who: str
    line: str


def key_of(store: RecordStore, verdict: VerdictRecord) -> VerdictKey:
    return VerdictKey(store.run(verdict.run_id).key, verdict.id)


def give_label(
    store: RecordStore, reviews: ReviewDatabase, verdict: VerdictRecord, answer: Answer, by: Reviewer, now: datetime,
    *, asked: bool, note: str = "",
) -> Review:  # fmt: skip
    """Keep the picture, then what was said. asked: the queue chose the part. Raises UsageError, RecordError."""
    label = label_of(verdict.decision, answer)
    key = key_of(store, verdict)
    # first the picture: a label whose picture is lost could not be learned from
    picture = keep_picture(store.directory, verdict, key.run_key)
    review = Review(by.line, key, label, asked, by.who, now, note, picture)
    reviews.add_review(review)
    return review


def take_back(
    store: RecordStore, reviews: ReviewDatabase, verdict: VerdictRecord, by: Reviewer, now: datetime
) -> Review:
    """As if nobody had looked at the part; what was said before stays on record. Raises UsageError, RecordError."""
    key = key_of(store, verdict)
    if key not in reviews.labels([verdict.id]):
        raise UsageError(f"verdict {verdict.number} has no label that could be taken back", fix="label it first")
    review = Review(by.line, key, Label.WITHDRAWN, False, by.who, now)
    reviews.add_review(review)
    return review


def labels_in(directory: Path, verdict_ids: Sequence[int] | None = None) -> dict[VerdictKey, Review]:
    """What people have said so far, of these verdicts or of all; nothing where nobody has. Raises RecordError."""
    # a report leaves a folder as it was
    if not (directory / REVIEW_NAME).is_file() or not (directory / DATABASE_NAME).is_file():
        return {}
    with ReviewDatabase(directory) as reviews:
        return reviews.labels(verdict_ids)
