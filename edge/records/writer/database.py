"""The writing half of a record store's database. Used from one thread; raises OSError, sqlite3.Error or RecordError."""

from __future__ import annotations

import os
import secrets
import socket
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from edge import __version__
from edge.core.alarms import Alarm
from edge.core.datatypes import STAGES, Frame, Part, Verdict
from edge.core.errors import ForeignRecords
from edge.core.files.private_files import make_file, make_folder
from edge.core.files.text_names import storable
from edge.records.alarms import alarm_values
from edge.records.cameras import camera_records, cameras_text
from edge.records.recipe_changes import RecipeChange, change_values
from edge.records.schema import DATABASE_NAME, STAGE_COLUMNS, column, opened_for_writing
from edge.records.store import ImageState, RunInfo, parts_text, regions_text, utc_text
from edge.records.writer.disk_errors import is_damaged, set_aside
from edge.records.writer.pictures import StoredPicture, newest_run_on_disk

_HEADER = b"SQLite format 3\0"
LOCK_NAME = "writer.lock"
# short: a locked database is retried by the recorder, which must also be able to close in time
_BUSY_S = 0.2

_ROW_COLUMNS = (
    "frame_index", "utc", "captured_ns", "decision", "reason", "detail", "score", "threshold", "review",
    *STAGE_COLUMNS, "regions", "parts", "bundle_sha256", column("model_sha256"), "part_number", "lot", "recipe",
    "sample_p", "cameras",
)  # fmt: skip
_IMAGE_COLUMNS = ("image_state", "image", "image_sha256", "image_bytes", "overlay")
_ALL_COLUMNS = ("run_id", *_ROW_COLUMNS, *_IMAGE_COLUMNS)
_INSERT = f"INSERT INTO verdicts ({', '.join(_ALL_COLUMNS)}) VALUES ({', '.join('?' * len(_ALL_COLUMNS))})"
_ATTACH = (
    f"UPDATE verdicts SET {', '.join(f'{c} = ?' for c in _IMAGE_COLUMNS)} WHERE id = ? AND image_state = 'waiting'"
)

RowValues = tuple[Any, ...]


@dataclass(frozen=True)
class ImageValues:
    """What a row says about its picture."""

    state: ImageState
    stored: StoredPicture | None = None

    def values(self) -> RowValues:
        if self.stored is None:
            return (self.state, None, None, 0, None)
        return (self.state, self.stored.image, self.stored.image_sha256, self.stored.size_bytes, self.stored.overlay)


def row_values(frame: Frame, verdict: Verdict, sample_p: float | None) -> RowValues:
    """The columns of a verdict that are known at once; small, so that the frame need not be kept.

    sample_p: see VerdictRecord.
    """
    part = frame.part or Part()
    return (
        verdict.frame_index,
        utc_text(frame.utc),
        frame.captured_ns,
        str(verdict.decision),
        str(verdict.reason),
        verdict.detail,
        verdict.score,
        verdict.threshold,
        int(verdict.review),
        *(getattr(verdict.times, stage) for stage in STAGES),
        regions_text(verdict.regions),
        parts_text(verdict.parts),
        verdict.bundle_sha256,
        verdict.model_sha256,
        part.number,
        part.lot,
        verdict.recipe,
        sample_p,
        cameras_text(camera_records(frame, verdict)),
    )


class RecordDatabase:
    """An open store with this process as its only writer, and the row of the present run.

    A database that is damaged, or none of ours, is set aside under another name, and a new one begun. damaged: whether
    the one that is there has already shown to be. replaced: the name it has now, None when all was well.
    Raises sqlite3.OperationalError ("database is locked") while another recorder holds the store.
    """

    def __init__(self, directory: Path, run: RunInfo, started: datetime, damaged: bool = False) -> None:
        self._path = directory / DATABASE_NAME
        make_folder(directory)
        self._lock = _writer_lock(directory, started)
        self.replaced: Path | None = None
        try:
            try:
                if damaged:
                    self.replaced = set_aside(self._path, started)
                self._begin(run, started)
            except (sqlite3.DatabaseError, ForeignRecords) as error:
                if self.replaced is not None or not is_damaged(error):
                    raise
                self.replaced = set_aside(self._path, started)
                self._begin(run, started)
        except BaseException:
            self._lock.close()
            raise

    def _begin(self, run: RunInfo, started: datetime) -> None:
        self._connection = opened_for_writing(self._path, _BUSY_S)
        # held until the connection is closed: on POSIX systems, closing any handle of a file lets go of all locks that
        # the process has on it, and another program would then take the log of a running line away
        self._header = self._path.open("rb", buffering=0)
        try:
            # after a long report held the log, give its space back
            self._connection.execute("PRAGMA journal_size_limit = 16000000")
            # a small log: it must find room on a disk that is nearly full
            self._connection.execute("PRAGMA wal_autocheckpoint = 256")
            self.identity = self._identity()
            self._close_interrupted_runs()
            self.run_key = secrets.token_hex(4)
            self.run_id = self._insert_run(run, started)
        except BaseException:
            self._connection.close()
            self._header.close()
            raise

    def is_in_place(self) -> bool:
        """False once the file was deleted or replaced: SQLite would go on writing to a file that nobody can find."""
        return self._identity() == self.identity

    def require_header(self) -> None:
        """Raise sqlite3.DatabaseError when somebody wrote over the file: SQLite has read its beginning long ago."""
        self._header.seek(0)
        if self._header.read(len(_HEADER)) not in (_HEADER, b""):
            raise sqlite3.DatabaseError("file is not a database")

    def save(
        self,
        rows: Sequence[tuple[RowValues, ImageValues]],
        attached: Sequence[tuple[int, ImageValues]],
        alarms: Sequence[Alarm] = (),
        recipe_changes: Sequence[RecipeChange] = (),
    ) -> list[int]:
        """Commit new rows, pictures that came after their rows, and the others, in one transaction; the new rows' ids.

        An alarm of this run that is on record already is brought up to date.
        """
        with self._transaction():
            for alarm in alarms:
                self._save_alarm(alarm)
            for change in recipe_changes:
                values = {"run_id": self.run_id, **change_values(change)}
                marks = ", ".join("?" * len(values))
                self._insert(f"INSERT INTO recipe_changes ({', '.join(values)}) VALUES ({marks})", (*values.values(),))
            ids = [self._insert(_INSERT, (self.run_id, *row, *image.values())) for row, image in rows]
            self._connection.executemany(_ATTACH, [(*image.values(), row_id) for row_id, image in attached])
        return ids

    def _save_alarm(self, alarm: Alarm) -> None:
        values = {"run_id": self.run_id, **alarm_values(alarm)}
        newer = ", ".join(f"{name} = excluded.{name}" for name in values if name not in ("run_id", "number"))
        self._connection.execute(
            f"INSERT INTO alarms ({', '.join(values)}) VALUES ({', '.join('?' * len(values))}) "
            f"ON CONFLICT (run_id, number) DO UPDATE SET {newer}",
            _storable(tuple(values.values())),
        )

    def end_run(self, ended: datetime) -> None:
        self._connection.execute("UPDATE runs SET ended_utc = ? WHERE id = ?", (utc_text(ended), self.run_id))

    def image_bytes(self) -> int:
        """Bytes of all pictures that rows name."""
        return int(self._one("SELECT total(image_bytes) FROM verdicts WHERE image IS NOT NULL"))

    def knows_image(self, image: str) -> bool:
        return bool(self._one("SELECT EXISTS (SELECT 1 FROM verdicts WHERE image = ?)", (image,)))

    def other_runs(self) -> set[str]:
        """What names of pictures say of their run, for all runs but this one: its id, in earlier names its key."""
        rows = self._connection.execute("SELECT id, key FROM runs WHERE id <> ?", (self.run_id,)).fetchall()
        return {name for run_id, key in rows for name in (str(run_id), key)}

    def oldest_images(self, limit: int) -> list[tuple[int, str, int, str]]:
        """(id, image, bytes, utc) of the oldest verdicts that have a picture."""
        sql = "SELECT id, image, image_bytes, utc FROM verdicts WHERE image IS NOT NULL ORDER BY id LIMIT ?"
        return self._connection.execute(sql, (limit,)).fetchall()

    def expire_images(self, images: Sequence[str]) -> None:
        """Take these pictures off all rows that name them; the files may be removed once this returned."""
        sql = (
            "UPDATE verdicts SET image_state = 'expired', image = NULL, overlay = NULL, image_bytes = 0 "
            "WHERE image = ? AND image IS NOT NULL"
        )
        with self._transaction():
            self._connection.executemany(sql, [(image,) for image in images])

    def newest_times(self) -> list[datetime]:
        """Of the verdict recorded last and of the latest one by its own time; of neither when there is none."""
        rows = self._connection.execute(
            "SELECT utc FROM (SELECT utc FROM verdicts ORDER BY id DESC LIMIT 1) UNION SELECT max(utc) FROM verdicts"
        )
        return [datetime.fromisoformat(utc) for (utc,) in rows if utc is not None]

    def save_clock_jump(self, before: datetime, after: datetime, waiting_rows: int) -> None:
        """The clock jumped after everything that is recorded and the rows that still wait."""
        self._insert(
            "INSERT INTO clock_jumps (run_id, before_utc, after_utc, last_verdict_id) "
            "VALUES (?, ?, ?, (SELECT ifnull(max(seq), 0) FROM sqlite_sequence WHERE name = 'verdicts') + ?)",
            (self.run_id, utc_text(before), utc_text(after), waiting_rows),
        )

    def put_clock_right(self, now: datetime) -> None:
        """The jumps of this run are undone."""
        sql = "UPDATE clock_jumps SET put_right_utc = ? WHERE run_id = ? AND put_right_utc IS NULL"
        self._connection.execute(sql, (utc_text(now), self.run_id))

    def counted_from(self) -> Callable[[int], str]:
        """id → when its age begins at the earliest, after jumps of the clock; empty, before all times, without one."""
        sql = "SELECT last_verdict_id, after_utc FROM clock_jumps WHERE put_right_utc IS NULL"
        jumps = self._connection.execute(sql).fetchall()
        return lambda verdict_id: max((after for last, after in jumps if verdict_id <= last), default="")

    def delete_verdicts(self, before_utc: str, limit: int) -> int:
        """Delete the oldest verdicts that are older and neither have a picture nor wait for one; their number."""
        counted_from = self.counted_from()
        oldest = "SELECT id, utc, image IS NOT NULL OR image_state = 'waiting' FROM verdicts ORDER BY id LIMIT ?"
        last = None
        for row_id, utc, has_picture in self._connection.execute(oldest, (limit,)).fetchall():
            if max(utc, counted_from(row_id)) >= before_utc or has_picture:
                break
            last = row_id
        if last is None:
            return 0
        return self._connection.execute("DELETE FROM verdicts WHERE id <= ?", (last,)).rowcount

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._connection.close()
        self._header.close()
        self._lock.close()

    def _insert_run(self, run: RunInfo, started: datetime) -> int:
        newest = self._one("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = 'runs'")
        run_id = 1 + max(newest, newest_run_on_disk(self._path.parent))
        columns = ("id", "key", "started_utc", "software", "host", *map(column, RunInfo.__dataclass_fields__))
        info = (getattr(run, name) for name in RunInfo.__dataclass_fields__)
        values = (run_id, self.run_key, utc_text(started), __version__, socket.gethostname(), *info)
        return self._insert(f"INSERT INTO runs ({', '.join(columns)}) VALUES ({', '.join('?' * len(values))})", values)

    def _close_interrupted_runs(self) -> None:
        """The lock is ours, so a run without an end was killed: say so, and give up the pictures it still owed."""
        with self._transaction():
            newest = self._connection.execute("SELECT run_id, utc FROM verdicts ORDER BY id DESC LIMIT 1").fetchone()
            if newest is not None:
                sql = "UPDATE runs SET ended_utc = ?, interrupted = 1 WHERE id = ? AND ended_utc IS NULL"
                self._connection.execute(sql, (newest[1], newest[0]))
            # before its first verdict was committed
            self._connection.execute("UPDATE runs SET ended_utc = started_utc, interrupted = 1 WHERE ended_utc IS NULL")
            self._connection.execute("UPDATE verdicts SET image_state = 'skipped' WHERE image_state = 'waiting'")

    def _insert(self, sql: str, values: RowValues) -> int:
        row_id = self._connection.execute(sql, _storable(values)).lastrowid
        assert row_id is not None
        return row_id

    def _one(self, sql: str, values: RowValues = ()) -> Any:
        return self._connection.execute(sql, values).fetchone()[0]

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            # a full disk may already have rolled back by itself
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def _identity(self) -> tuple[int, int] | None:
        try:
            stat = os.stat(self._path)  # noqa: PTH116 - names what is asked: the file behind the name
        except OSError:
            return None
        return stat.st_dev, stat.st_ino


def _storable(values: RowValues) -> RowValues:
    return tuple(storable(value) if isinstance(value, str) else value for value in values)


def _writer_lock(directory: Path, now: datetime) -> sqlite3.Connection:
    """Hold the store for this process; the operating system lets go of it when the process ends, however it ends.

    An empty SQLite file held exclusively: the one lock of the standard library that works alike on every system.
    """
    path = directory / LOCK_NAME
    if path.is_file() and path.stat().st_size:
        # ours is empty, and nobody can hold this one
        set_aside(path, now)
    make_file(path)
    lock = sqlite3.connect(path, isolation_level=None, timeout=_BUSY_S)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except BaseException:
        lock.close()
        raise
    return lock
