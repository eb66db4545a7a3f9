"""review.sqlite, beside the records: what others than the line write about verdicts.

It is a file of its own because a second writer in the records' database would make the line's commits wait.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any

from edge.core.files.private_files import make_file, make_folder
from edge.core.files.text_names import storable
from edge.records.schema import column_names, explained, migrate, opened_as_it_is
from edge.records.store import RecordStore, utc_text
from edge.review.labels import Label

REVIEW_NAME = "review.sqlite"
_BUSY_S = 5.0
_REVIEW_COLUMNS = "line, run_key, verdict_id, label, asked, who, utc, note, picture"

# as in schema.py: entries are never edited once released
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE cursors (
            name TEXT PRIMARY KEY,
            verdict_id INTEGER NOT NULL,
            run_key TEXT NOT NULL
        )""",
    ),
    (
        # what people said of a verdict: the newest row counts. asked: the review chose the part, not the person.
        # picture: the copy that is kept, relative to the records
        """CREATE TABLE reviews (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            line TEXT NOT NULL,
            run_key TEXT NOT NULL,
            verdict_id INTEGER NOT NULL,
            label TEXT NOT NULL,
            asked INTEGER NOT NULL,
            who TEXT NOT NULL,
            utc TEXT NOT NULL,
            note TEXT NOT NULL,
            picture TEXT
        )""",
        "CREATE INDEX reviews_of_verdict ON reviews(verdict_id)",
        """CREATE TABLE audit (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            utc TEXT NOT NULL,
            who TEXT NOT NULL,
            role TEXT NOT NULL,
            action TEXT NOT NULL,
            before TEXT NOT NULL,
            after TEXT NOT NULL
        )""",
        *(
            f"CREATE TRIGGER {table}_{change.lower()} BEFORE {change} ON {table} "
            f"BEGIN SELECT RAISE(ABORT, '{table} are only added to'); END"
            for table in ("reviews", "audit")
            for change in ("UPDATE", "DELETE")
        ),
    ),
)


@dataclass(frozen=True)
class VerdictKey:
    """Which verdict, in all databases that ever stood in a folder: a new one begins its row ids anew."""

    run_key: str
    verdict_id: int


@dataclass(frozen=True)
class Review:
    """One row of `reviews`. asked: the review chose the part at random; False: a person looked it up.

    picture: the copy that is kept, relative to the records; None where the picture was gone or never kept.
    """

    line: str
    key: VerdictKey
    label: Label
    asked: bool
    who: str
    utc: datetime
    note: str = ""
    picture: str | None = None


@dataclass(frozen=True)
class Change:
    """One row of `audit`: who changed what, from what to what. role: view, operator or engineer."""

    utc: datetime
    who: str
    role: str
    action: str
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Cursor:
    """How far somebody has read: verdicts, or alarms, up to this row id are done.

    run_key: of the run of that verdict, by which another database in the records' place is noticed; empty at the
    beginning of all records.
    """

    verdict_id: int = 0
    run_key: str = ""


class ReviewDatabase:
    """Open it in the records' directory. Raises RecordError, like everything that it does. Used from one thread.

    only_read: of an archive, in which nothing is made, written or locked; the file must be there.
    """

    def __init__(self, directory: Path, *, only_read: bool = False) -> None:
        self._path = directory / REVIEW_NAME
        with explained(self._path):
            if only_read:
                self._connection = opened_as_it_is(self._path, len(_MIGRATIONS))
                return
            make_folder(directory)
            make_file(self._path)
            self._connection = sqlite3.connect(self._path, isolation_level=None, timeout=_BUSY_S)
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                # a power cut may lose the last commits: what they said to be done is done once more
                self._connection.execute("PRAGMA synchronous = NORMAL")
                migrate(self._connection, _MIGRATIONS)
            except BaseException:
                self._connection.close()
                raise

    def __enter__(self) -> ReviewDatabase:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._connection.close()

    def cursor(self, name: str) -> Cursor | None:
        """How far `name` has read; None where it never said so."""
        with explained(self._path):
            row = self._connection.execute(
                "SELECT verdict_id, run_key FROM cursors WHERE name = ?", (name,)
            ).fetchone()  # fmt: skip
        return None if row is None else Cursor(*row)

    def save_cursor(self, name: str, cursor: Cursor, *, lasting: bool = False) -> None:
        """lasting: also after a power cut; else one may set the cursor back by some seconds."""
        sql = "INSERT INTO cursors VALUES (?1, ?2, ?3) ON CONFLICT (name) DO UPDATE SET verdict_id = ?2, run_key = ?3"
        values = (name, cursor.verdict_id, cursor.run_key)
        if lasting:
            self._add(sql, values)
            return
        with explained(self._path):
            self._connection.execute(sql, values)

    def add_review(self, review: Review) -> None:
        """On disk when this returns."""
        values = (
            storable(review.line), review.key.run_key, review.key.verdict_id, review.label.value, int(review.asked),
            storable(review.who), utc_text(review.utc), storable(review.note), review.picture,
        )  # fmt: skip
        self._add(f"INSERT INTO reviews ({_REVIEW_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)

    def labels(self, verdict_ids: Sequence[int] | None = None) -> dict[VerdictKey, Review]:
        """The newest review of each verdict, but for those that were taken back; in the order they were given.

        verdict_ids: only of these; None: all. asked: whether any of its reviews was. picture: the newest that was kept.
        """
        some = "" if verdict_ids is None else "WHERE verdict_id IN (SELECT value FROM json_each(?))"
        values = () if verdict_ids is None else (json.dumps(list(verdict_ids)),)
        with explained(self._path):
            rows = self._connection.execute(
                f"SELECT {_REVIEW_COLUMNS} FROM reviews {some} ORDER BY id", values
            ).fetchall()  # fmt: skip
        newest: dict[VerdictKey, Review] = {}
        for review in map(_review, rows):
            before = newest.pop(review.key, None)
            if before is not None:
                asked, picture = review.asked or before.asked, review.picture or before.picture
                review = replace(review, asked=asked, picture=picture)
            newest[review.key] = review
        return {key: review for key, review in newest.items() if review.label is not Label.WITHDRAWN}

    def newest_review(self) -> int:
        """The row id of the newest review; 0 without any."""
        with explained(self._path):
            return int(self._connection.execute("SELECT ifnull(max(id), 0) FROM reviews").fetchone()[0])

    def reviews(self, after: int, up_to: int) -> list[tuple[int, Review]]:
        """All that was said, also what counts no more, with its row id: after < id <= up_to, in that order."""
        with explained(self._path):
            rows = self._connection.execute(
                f"SELECT id, {_REVIEW_COLUMNS} FROM reviews WHERE id > ? AND id <= ? ORDER BY id", (after, up_to)
            ).fetchall()
        return [(number, _review(row)) for number, *row in rows]

    def verdicts_reviewed_after(self, review_id: int) -> list[int]:
        """Row ids of the verdicts about which something was said after that review."""
        with explained(self._path):
            rows = self._connection.execute("SELECT DISTINCT verdict_id FROM reviews WHERE id > ?", (review_id,))
            return [verdict_id for (verdict_id,) in rows]

    def add_change(self, change: Change) -> None:
        """On disk when this returns."""
        texts = (change.who, change.role, change.action, change.before, change.after)
        self._add(
            "INSERT INTO audit (utc, who, role, action, before, after) VALUES (?, ?, ?, ?, ?, ?)",
            (utc_text(change.utc), *map(storable, texts)),
        )

    def changes(self, limit: int) -> list[Change]:
        """The newest first."""
        with explained(self._path):
            rows = self._connection.execute(
                "SELECT utc, who, role, action, before, after FROM audit ORDER BY id DESC LIMIT ?", (limit,)
            ).fetchall()
        return [Change(datetime.fromisoformat(utc), *texts) for utc, *texts in rows]

    def _add(self, sql: str, values: tuple[object, ...]) -> None:
        with explained(self._path):
            # what a person said must outlast a power cut; most cursors need not, and are saved every second
            self._connection.execute("PRAGMA synchronous = FULL")
            try:
                self._connection.execute(sql, values)
            finally:
                self._connection.execute("PRAGMA synchronous = NORMAL")


def _review(row: Sequence[Any]) -> Review:
    """row: _REVIEW_COLUMNS."""
    line, run_key, verdict_id, label, asked, who, utc, note, picture = row
    key = VerdictKey(run_key, verdict_id)
    return Review(line, key, Label(label), bool(asked), who, datetime.fromisoformat(utc), note, picture)


def newest_cursor(store: RecordStore) -> Cursor:
    """Everything that is recorded now is done."""
    rows = store.query(
        "SELECT v.id, r.key FROM verdicts v JOIN runs r ON r.id = v.run_id ORDER BY v.id DESC LIMIT 1"
    )  # fmt: skip
    return Cursor(*rows[0]) if rows else Cursor()


def over_alarms(store: RecordStore) -> Cursor:
    """Before the oldest alarm that stands, else after the newest one: what is up to there does not change any more."""
    ((done,),) = store.query(
        "SELECT coalesce(min(CASE WHEN a.ended IS NULL AND r.ended_utc IS NULL THEN a.id END) - 1, max(a.id), 0) "
        "FROM alarms a JOIN runs r ON r.id = a.run_id"
    )
    keys = store.query("SELECT key FROM runs ORDER BY id DESC LIMIT 1")
    return Cursor(done, keys[0][0] if keys else "")


def is_of(cursor: Cursor, store: RecordStore) -> bool:
    """Whether the cursor was set in this database, and not in one that stood in its place before."""
    return not cursor.run_key or bool(store.query("SELECT 1 FROM runs WHERE key = ?", (cursor.run_key,)))


def labels_as_they_are(directory: Path) -> dict[VerdictKey, Review]:
    """The same as `ReviewDatabase.labels`, of an archive; nothing where nobody has labelled. Raises RecordError."""
    if not (directory / REVIEW_NAME).is_file():
        return {}
    with ReviewDatabase(directory, only_read=True) as reviews:
        # of a version that knew cursors alone
        return reviews.labels() if column_names(reviews._connection, "reviews") else {}
