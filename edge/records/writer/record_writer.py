"""The thread that writes: rows, pictures, alarms and housekeeping, one step after the other, most urgent first.

Order of durability: a picture's files are synced, then their names, then the row that names them is committed. A row
may come first when its picture is late; it then says `waiting`, and is completed once the picture is on disk.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path

from edge.core.alarms import RECORDS, Alarm
from edge.core.config import RecordSettings
from edge.core.counters import RunCounters, worth_a_line
from edge.core.errors import RecordError
from edge.monitoring.alarm_log import AlarmLog
from edge.records.store import RunInfo
from edge.records.writer.clock_watch import ClockGuard, ClockWatch
from edge.records.writer.database import ImageValues, RecordDatabase
from edge.records.writer.disk_errors import DiskError, RecordState, disk_error_of
from edge.records.writer.pictures import FieldOfRecipe, FieldOfViewOf, RecordedPictures, StoredPicture
from edge.records.writer.queue import Entry, RecordQueue, RepeatedPicture
from edge.records.writer.retention import Retention
from edge.records.writer.spare_room import SpareRoom

logger = logging.getLogger("edge.records.store")

_MS = 1_000_000
ROWS_PER_COMMIT = 2000
_ROW_RETRY_NS = 500 * _MS
_PICTURE_RETRY_NS = 1000 * _MS
# between slices of sweeping and retention: while there is more to do, and otherwise
_BUSY_HOUSEKEEPING_NS = 50 * _MS
_IDLE_HOUSEKEEPING_NS = 1000 * _MS
# of the second that close may take: what is left of it belongs to the last commit
_CLOSE_RETRY_NS = 500 * _MS

# what SQLite and its binding say of a value that no database takes; all else is the database's or the disk's
_OF_A_ROW = (
    sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
    OverflowError, TypeError, ValueError,
)  # fmt: skip


class RecordWriter:
    """Takes what waits in the queue to the disk. Used by the writing thread alone.

    now_ns: of a clock to wait by. steady_s: of a clock that nobody sets.
    """

    def __init__(
        self,
        directory: Path,
        settings: RecordSettings,
        run: RunInfo,
        counters: RunCounters,
        field_of_view: FieldOfViewOf,
        queue: RecordQueue,
        state: RecordState,
        utc_now: Callable[[], datetime],
        now_ns: Callable[[], int],
        steady_s: Callable[[], float],
        field_of_recipe: FieldOfRecipe = lambda name: None,
    ) -> None:
        self._directory, self._settings, self._run = directory, settings, run
        self._counters, self._queue, self._state = counters, queue, state
        self._utc_now, self._now_ns = utc_now, now_ns
        self._files = RecordedPictures(directory, field_of_view, field_of_recipe)
        self._spare_room = SpareRoom(directory)
        self._commit_ns = settings.commit_every_ms * _MS
        self._failures = 0
        self._database: RecordDatabase | None = None
        self._retention: Retention | None = None
        self._alarms = AlarmLog(counters, self._note, utc_now)
        self._clock = ClockGuard(ClockWatch(utc_now, steady_s), self._alarms, lambda: queue.waiting()[0])
        self._sweep: Iterator[int] | None = None
        self._attached: list[Entry] = []
        self._attached_since_ns = 0
        self._repeats = RepeatedPicture()
        self._row_retry_ns = self._picture_retry_ns = self._housekeeping_ns = now_ns()

    def _note(self, alarm: Alarm) -> None:
        """Take an alarm about the recording itself."""
        self._queue.put_alarm(alarm)
        logger.warning("%s", f"{alarm.what}; {alarm.advice}" if alarm.ended is None else f"over: {alarm.what}")

    def run(self, closing: threading.Event, first_try_over: threading.Event) -> None:
        """Write until `closing` is set, then what is left while there is time."""
        while not closing.is_set():
            self._queue.wait(self._seconds_to_next_step())
            self._guarded(self._step)
            first_try_over.set()
            self._state.publish(self._database is not None, *self._queue.waiting())
        self._guarded(self._finish)

    def end_run(self, reason: str) -> None:
        """The last commit. reason: why something is left, where no disk error says so."""
        self._guarded(lambda: self._end_run(reason))

    def _guarded(self, step: Callable[[], None]) -> None:
        """The last line of defence: whatever goes wrong in here is seen, and recording begins anew after a moment."""
        try:
            step()
        except Exception as error:
            self._failures += 1
            if worth_a_line(self._failures):
                logger.exception("recording failed %d times by an unexpected error; please report it", self._failures)
            self._queue.put_rows_back()
            self._rows_refused(error)

    def _commit_due_ns(self) -> int | None:
        if self._queue.notes_wait():
            return self._row_retry_ns
        oldest = self._queue.oldest_row_ns()
        if self._attached:
            oldest = self._attached_since_ns if oldest is None else min(oldest, self._attached_since_ns)
        return None if oldest is None else max(oldest + self._commit_ns, self._row_retry_ns)

    def _seconds_to_next_step(self) -> float:
        due = [self._housekeeping_ns]
        if self._database is None:
            due = [self._row_retry_ns]
        else:
            commit = self._commit_due_ns()
            if commit is not None:
                due.append(commit)
            if self._queue.next_picture() is not None:
                due.append(self._picture_retry_ns)
        return (min(due) - self._now_ns()) / 1e9

    def _step(self) -> None:
        """The most urgent thing, and only one: rows, then a slice of housekeeping, then one picture."""
        now = self._now_ns()
        if self._database is None:
            if now >= self._row_retry_ns:
                self._open()
            return
        commit = self._commit_due_ns()
        if commit is not None and now >= commit:
            self._commit(self._database)
        elif now >= self._housekeeping_ns:
            self._keep_house(self._database)
        elif now >= self._picture_retry_ns:
            self._store_next_picture(self._database)

    def _open(self) -> None:
        damaged = self._state.rows is not None and self._state.rows.kind == "damaged"
        try:
            database = RecordDatabase(self._directory, self._run, self._utc_now(), damaged)
        except (OSError, sqlite3.Error, RecordError) as error:
            self._rows_refused(error)
            return
        if database.replaced is not None:
            self._report_replaced(database.replaced)
        try:
            known = database.other_runs()
            self._sweep = self._files.sweep(lambda run, image: run in known and not database.knows_image(image))
            self._retention = Retention(
                self._settings, database, self._files, self._clock.utc_now, self._pictures_removed
            )
            self._clock.compare(database)
            self._clock.look(database)
        except sqlite3.Error as error:
            database.close()
            self._rows_refused(error)
            return
        self._database = database
        self._counters.record_run = database.run_id
        self._state.rows = None

    def _commit(self, database: RecordDatabase) -> None:
        if not database.is_in_place():
            self._leave_database()
            self._state.rows = DiskError(
                "deleted", f"deleted: the records in {self._directory} were removed or replaced"
            )
            return
        rows = self._queue.take_rows(ROWS_PER_COMMIT)
        images = [entry.image_values() for entry in rows]
        attached = [(entry.row_id, entry.image_values()) for entry in self._attached if entry.row_id is not None]
        alarms, changes = self._queue.alarms(), self._queue.recipe_changes()
        try:
            database.require_header()
            # before any row that was stamped after a jump: this may be the last that is written
            self._clock.look(database)
            self._files.sync_names()
            new = [(entry.row, image) for entry, image in zip(rows, images, strict=True)]
            ids = database.save(new, attached, alarms, changes)
        except _OF_A_ROW:
            self._queue.put_rows_back()
            self._commit_one_by_one(database)
            return
        except (OSError, sqlite3.Error) as error:
            self._queue.put_rows_back()
            self._rows_refused(error)
            return
        self._rows_saved(ids)
        self._late_saved(attached, alarms)
        self._queue.recipe_changes_committed(changes)

    def _rows_saved(self, ids: Sequence[int | None]) -> None:
        rows = self._queue.rows_committed(ids)
        self._pictures_saved([entry.image_values() for entry in rows])
        self._counters.recorded += len(rows)
        self._state.rows = None

    def _pictures_saved(self, images: Sequence[ImageValues]) -> None:
        stored = [image.stored for image in images if image.stored is not None]
        self._counters.images_stored += len(stored)
        if self._retention is not None:
            self._retention.image_bytes += sum(picture.size_bytes for picture in stored)

    def _late_saved(self, attached: Sequence[tuple[int, ImageValues]], alarms: Sequence[Alarm]) -> None:
        """Pictures that came after their rows, and alarms."""
        self._pictures_saved([image for _, image in attached])
        for entry in self._attached:
            entry.settled = True
        self._attached = []
        self._queue.alarms_committed(alarms)

    def _commit_one_by_one(self, database: RecordDatabase) -> None:
        """Find what no database takes, and leave it out: it must not keep the rest from being saved."""
        while rows := self._queue.take_rows(1):
            (entry,) = rows
            try:
                ids: Sequence[int | None] = database.save([(entry.row, entry.image_values())], [])
            except _OF_A_ROW as error:
                logger.error("the verdict of frame %s cannot be recorded: %s", entry.row[0], error)
                ids = [None]
            except (OSError, sqlite3.Error) as error:
                self._queue.put_rows_back()
                self._rows_refused(error)
                return
            self._rows_saved(ids)

    def _report_replaced(self, kept: Path) -> None:
        what = f"the record database was damaged, or none of ours: it is kept as {kept.name}, and a new one begun"
        advice = "find out what damaged it, such as a failing disk; `sqlite3 FILE .recover` may get its verdicts back"
        self._alarms.begin(RECORDS, what, advice)

    def _store_next_picture(self, database: RecordDatabase) -> None:
        entry = self._queue.next_picture()
        if entry is None or entry.frame is None or entry.verdict is None:
            return
        frame, verdict = entry.frame, entry.verdict
        repeated = self._repeats.find(frame, verdict)
        try:
            stored = repeated or self._files.store(frame, verdict, database.run_id)
        except OSError as error:
            self._state.pictures = disk_error_of(error, self._directory)
            self._picture_retry_ns = self._now_ns() + _PICTURE_RETRY_NS
            return
        # whatever is wrong with this picture, the next one may be stored
        except Exception as error:  # noqa: BLE001
            logger.error("the picture of frame %d cannot be stored: %s: %s", frame.index, type(error).__name__, error)
            self._queue.skip_picture(entry)
        else:
            self._state.pictures = None
            self._queue.picture_written(entry, stored)
            if repeated is None:
                self._repeats.note(entry, frame, verdict)
        self._attach_later([entry])

    def _attach_later(self, entries: Sequence[Entry]) -> None:
        """Bring what became of these pictures to those of their rows that are committed already."""
        if not self._attached:
            self._attached_since_ns = self._now_ns()
        self._attached += [entry for entry in entries if entry.row_id is not None]

    def _keep_house(self, database: RecordDatabase) -> None:
        for picture in self._queue.take_discarded():
            self._remove_files(picture)
        more = False
        self._spare_room.keep()
        try:
            if self._sweep is not None:
                more = next(self._sweep, None) is not None
                self._sweep = self._sweep if more else None
            self._clock.look(database)
            if self._retention is not None and self._retention.step():
                more = True
        except sqlite3.Error as error:
            self._rows_refused(error)
        self._housekeeping_ns = self._now_ns() + (_BUSY_HOUSEKEEPING_NS if more else _IDLE_HOUSEKEEPING_NS)

    def _pictures_removed(self, images: set[str]) -> None:
        """Nothing that still waits for its commit may name a file that just went."""
        self._repeats.forget()
        self._queue.forget_files(images.__contains__)
        for entry in self._attached:
            if entry.stored is not None and entry.stored.image in images:
                self._queue.drop_stored(entry)

    def _rows_refused(self, error: Exception) -> None:
        self._state.rows = disk_error_of(error, self._directory)
        self._row_retry_ns = self._now_ns() + _ROW_RETRY_NS
        if self._state.rows.kind == "disk full" and self._spare_room.give():
            logger.warning("%s; verdicts now take the room that was kept back for them", self._state.rows.text)
            self._row_retry_ns = self._now_ns()
        # the connection outlives these two; after anything else only a fresh one is to be trusted
        if self._state.rows.kind not in ("disk full", "locked"):
            self._leave_database()

    def _leave_database(self) -> None:
        """Close it; pictures whose rows are already in it can no longer be attached."""
        if self._database is not None:
            self._database.close()
        self._database = self._retention = self._sweep = None
        self._counters.record_run = None
        self._repeats.forget()
        for entry in self._attached:
            if entry.stored is not None:
                self._remove_files(entry.stored)
                self._queue.drop_stored(entry)
        self._attached = []
        self._queue.skip_pictures_of_committed_rows()
        self._queue.forget_files(lambda image: not (self._directory / image).exists())

    def _remove_files(self, picture: StoredPicture) -> None:
        # with size 0 the files are an earlier row's
        if picture.size_bytes > 0:
            self._files.remove(picture.image)

    def _finish(self) -> None:
        """Rows first, then pictures while time lasts, then the end of the run."""
        give_up_ns = self._now_ns() + _CLOSE_RETRY_NS
        if self._database is not None:
            self._state.rows = None
        while self._now_ns() < give_up_ns:
            rows, pictures = self._queue.waiting()
            if self._database is None and (rows or self._queue.notes_wait()):
                self._open()
            elif self._database is not None and (rows or self._queue.notes_wait()):
                self._commit(self._database)
            elif self._database is not None and pictures and self._state.pictures is None:
                self._store_next_picture(self._database)
            else:
                break
            if self._state.rows is not None:
                time.sleep(0.05)

    def _end_run(self, reason: str) -> None:
        skipped = self._queue.skip_all_pictures()
        self._attach_later(skipped)
        if self._database is not None and self._state.rows is None:
            self._commit(self._database)
        rows, _ = self._queue.waiting()
        self._queue.lose_all_rows()
        if self._database is not None and self._state.rows is None:
            try:
                self._database.end_run(self._utc_now())
            except sqlite3.Error as error:
                self._state.rows = disk_error_of(error, self._directory)
        if self._database is not None:
            self._database.close()
        self._state.publish_end(rows, len(skipped), reason or "there was no time left")
