"""Where the rows of the tables come from: verdicts.sqlite and review.sqlite, in chunks whose ends are remembered."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any, Protocol

from edge.core.errors import UsageError
from edge.fleet.export.columns import LABELS, VERDICTS, Column
from edge.records.store import RecordStore, RunRecord, utc_text
from edge.review.database import Cursor, Review, ReviewDatabase
from edge.review.sample import random_place

# rows of a chunk: what is held in memory, 130 MB
MOST_ROWS = 100_000
# so long the rows after one whose picture is on its way wait for it; a line that was killed leaves it like that
PICTURE_WAIT = timedelta(minutes=10)
_BLOCK = 8192

Rows = list[tuple[Any, ...]]


@dataclass(frozen=True)
class Chunk:
    """Rows with first <= id <= end.verdict_id, as far as they are still there; `end.run_key` says of which history."""

    first: int
    end: Cursor

    @property
    def size(self) -> int:
        return self.end.verdict_id - self.first + 1


class Source(Protocol):
    """name: of the table, and of its cursor. prefix: of the names of files, by which databases are told apart."""

    name: str
    columns: tuple[Column, ...]
    prefix: str

    def next_chunk(self, after: int) -> Chunk | None:
        """What can be written now of the rows after this id; None where there is nothing."""

    def stands(self, cursor: Cursor) -> bool:
        """Whether the row of this cursor is, or was until retention took it, in this database."""

    def settled(self, cursor: Cursor) -> Cursor:
        """The last row of this database up to which a cursor says that all is done, whichever history set it.

        The cursor itself where it stands.
        """

    def ends(self, files: Iterable[Path]) -> Iterator[Cursor]:
        """The last row of each run in files that were written before; raises UsageError."""

    def blocks(self, chunk: Chunk) -> Iterator[Rows]:
        """Its rows, in the order of their ids."""


class VerdictRows:
    """The run's key of a cursor tells histories apart: a backup that was put back counts on with other runs."""

    name = "verdicts"
    columns: tuple[Column, ...] = VERDICTS

    def __init__(self, store: RecordStore, now: datetime) -> None:
        self._store, self._now = store, now
        self.prefix = _prefix(store.runs())

    def next_chunk(self, after: int) -> Chunk | None:
        near = [utc_text(self._now + sign * PICTURE_WAIT) for sign in (-1, 1)]
        ((first, newest, waiting),) = self._store.query(
            "SELECT min(id), max(id), (SELECT min(id) FROM verdicts WHERE image_state = 'waiting' AND id > ?1 "
            "AND utc BETWEEN ?2 AND ?3) FROM verdicts WHERE id > ?1",
            (after, *near),
        )
        if first is None:
            return None
        last = min(newest, first + MOST_ROWS - 1, newest if waiting is None else waiting - 1)
        return Chunk(after + 1, self._cursor_at(last)) if last >= first else None

    def _cursor_at(self, row_id: int) -> Cursor:
        rows = self._store.query(
            "SELECT v.id, r.key FROM verdicts v JOIN runs r ON r.id = v.run_id WHERE v.id = ?", (row_id,)
        )
        return Cursor(*rows[0]) if rows else Cursor()

    def stands(self, cursor: Cursor) -> bool:
        if not cursor.verdict_id:
            return True
        found = self._cursor_at(cursor.verdict_id)
        if found.verdict_id:
            return found == cursor
        ((oldest, given),) = self._store.query(
            "SELECT (SELECT min(id) FROM verdicts), (SELECT seq FROM sqlite_sequence WHERE name = 'verdicts')"
        )
        deleted = (given or 0) >= cursor.verdict_id and (oldest is None or oldest > cursor.verdict_id)
        return deleted and self._run_of(cursor) is not None

    def settled(self, cursor: Cursor) -> Cursor:
        if self.stands(cursor):
            return cursor
        run_id = self._run_of(cursor)
        if run_id is None:
            return Cursor()
        # runs after it are of another history than the cursor
        ((last,),) = self._store.query("SELECT ifnull(max(id), 0) FROM verdicts WHERE run_id <= ?", (run_id,))
        return self._cursor_at(min(cursor.verdict_id, last))

    def ends(self, files: Iterable[Path]) -> Iterator[Cursor]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        for path in files:
            try:
                rows = pq.ParquetFile(path).read(["run_key", "verdict_id"])
            except (pa.ArrowException, OSError) as error:
                raise UsageError(f"{path} cannot be read: {error}", fix="copy it again, or move it away") from error
            for run in rows.group_by("run_key").aggregate([("verdict_id", "max")]).to_pylist():
                yield Cursor(run["verdict_id_max"], run["run_key"])

    def blocks(self, chunk: Chunk) -> Iterator[Rows]:
        return self._store.query_blocks(
            f"SELECT {', '.join(column.select for column in VERDICTS)} FROM verdicts v JOIN runs r ON r.id = v.run_id "
            "WHERE v.id BETWEEN ? AND ? ORDER BY v.id",
            (chunk.first, chunk.end.verdict_id),
            _BLOCK,
        )

    def _run_of(self, cursor: Cursor) -> int | None:
        rows = self._store.query("SELECT id FROM runs WHERE key = ?", (cursor.run_key,))
        return rows[0][0] if rows else None


class LabelRows:
    """The time of a review stands for the run's key in its cursors: another review.sqlite begins its ids anew."""

    name = "labels"
    columns: tuple[Column, ...] = LABELS

    def __init__(self, reviews: ReviewDatabase, store: RecordStore) -> None:
        self._reviews = reviews
        runs = store.runs()
        self.prefix = _prefix(runs)
        self._store_keys = dict.fromkeys((run.key for run in runs), runs[0].key if runs else None)

    def next_chunk(self, after: int) -> Chunk | None:
        last = min(self._reviews.newest_review(), after + MOST_ROWS)
        return Chunk(after + 1, self._cursor_at(last)) if last > after else None

    def stands(self, cursor: Cursor) -> bool:
        return self._cursor_at(cursor.verdict_id) == cursor

    def settled(self, cursor: Cursor) -> Cursor:
        return cursor if self.stands(cursor) else Cursor()

    def _cursor_at(self, row_id: int) -> Cursor:
        found = self._reviews.reviews(row_id - 1, row_id)
        return Cursor(row_id, _stamp(found[0][1])) if found else Cursor()

    def ends(self, files: Iterable[Path]) -> Iterator[Cursor]:
        # a label that is written twice changes no figure
        return iter(())

    def blocks(self, chunk: Chunk) -> Iterator[Rows]:
        yield [
            (
                number, self._store_keys.get(review.key.run_key), review.key.run_key, review.key.verdict_id,
                utc_text(review.utc), review.label.value, review.asked, random_place(review.key.verdict_id),
                review.picture,
            )
            for number, review in self._reviews.reviews(chunk.first - 1, chunk.end.verdict_id)
        ]  # fmt: skip


def _prefix(runs: list[RunRecord]) -> str:
    return f"{runs[0].key}-" if runs else ""


def _stamp(review: Review) -> str:
    return f"{review.utc.astimezone(timezone.utc):%Y%m%dT%H%M%S%f}"
