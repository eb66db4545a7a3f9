"""review.sqlite, beside the records: what others than the line write about verdicts.

It is a file of its own because a second writer in the records' database would make the line's commits wait.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from edge.core.files.private_files import make_file, make_folder
from edge.records.schema import explained, migrate
from edge.records.store import RecordStore

REVIEW_NAME = "review.sqlite"
_BUSY_S = 5.0

# as in schema.py: entries are never edited once released
_MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE cursors (
            name TEXT PRIMARY KEY,
            verdict_id INTEGER NOT NULL,
            run_key TEXT NOT NULL
        )""",
    ),
)


@dataclass(frozen=True)
class Cursor:
    """How far somebody has read: verdicts, or alarms, up to this row id are done.

    run_key: of the run of that verdict, by which another database in the records' place is noticed; empty at the
    beginning of all records.
    """

    verdict_id: int = 0
    run_key: str = ""


class ReviewDatabase:
    """Open it in the records' directory. Raises RecordError, like everything that it does."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / REVIEW_NAME
        with explained(self._path):
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

    def save_cursor(self, name: str, cursor: Cursor) -> None:
        with explained(self._path):
            self._connection.execute(
                "INSERT INTO cursors VALUES (?1, ?2, ?3) "
                "ON CONFLICT (name) DO UPDATE SET verdict_id = ?2, run_key = ?3",
                (name, cursor.verdict_id, cursor.run_key),
            )


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
