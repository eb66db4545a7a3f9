"""Every verdict on record: SQLite rows and pictures, written by one thread that inspection never waits for.

Order of durability: a picture's files are synced, then their names, then the row that names them is committed. A row
may come first when its picture is late; it then says `waiting`, and is completed once the picture is on disk.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

from edge.core.alarms import RECORDS, Alarm
from edge.core.config import RecordSettings
from edge.core.counters import RunCounters, worth_a_line
from edge.core.datatypes import Decision, Frame, Verdict
from edge.core.errors import RecordError
from edge.core.picture_names import verdict_number
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.sink import Filed
from edge.records.store import RunInfo
from edge.records.writer.clock_guard import ClockGuard
from edge.records.writer.clock_watch import ClockWatch, steady_s
from edge.records.writer.database import ImageValues, RecordDatabase, row_values
from edge.records.writer.disk_errors import DiskError, RecordState, trouble_of
from edge.records.writer.drain import wait_until_written
from edge.records.writer.pictures import FieldOfViewOf, PictureFiles, StoredPicture, image_place
from edge.records.writer.queue import Entry, RecordQueue
from edge.records.writer.repeats import RepeatedPicture
from edge.records.writer.retention import Retention
from edge.records.writer.spare_room import SpareRoom

logger = logging.getLogger("edge.records.store")

_MS = 1_000_000
_ROWS_PER_COMMIT = 2000
_ROW_RETRY_NS = 500 * _MS
_PICTURE_RETRY_NS = 1000 * _MS
# between slices of sweeping and retention: while there is more to do, and otherwise
_BUSY_HOUSEKEEPING_NS = 50 * _MS
_IDLE_HOUSEKEEPING_NS = 1000 * _MS
# of the second that close may take: what is left of it belongs to the last commit
_CLOSE_RETRY_NS = 500 * _MS
_CLOSE_S = 1.0
# how long a verdict may wait for its picture's place in the queue, where frames wait too; a stop must not feel it
_PATIENCE_S = 0.4
_FIRST_TRY_S = 1.0


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


# what SQLite and its binding say of a value that no database takes; all else is the database's or the disk's
_OF_A_ROW = (
    sqlite3.IntegrityError, sqlite3.DataError, sqlite3.InterfaceError, sqlite3.ProgrammingError,
    OverflowError, TypeError, ValueError,
)  # fmt: skip


class Recorder:
    """A sink that keeps every verdict, and the pictures of those not OK or for review, in `settings.directory`.

    Inspection goes on whatever the disk does: verdicts wait in memory, `counters.record_state` says why, and recording
    resumes by itself. A power cut loses the verdicts of the last `commit_every_ms` and of the disk's own write time.
    filed: under which number the last verdict that was taken is kept; None while the database cannot be had.
    wait_when_full: for sources that wait: a full queue of pictures holds the inspection up for a moment; no picture
    is skipped.
    """

    def __init__(
        self,
        settings: RecordSettings,
        run: RunInfo,
        counters: RunCounters,
        field_of_view: FieldOfViewOf,
        *,
        wait_when_full: bool = False,
        utc_now: Callable[[], datetime] = _utc_now,
        now_ns: Callable[[], int] = time.perf_counter_ns,
        steady_s: Callable[[], float] = steady_s,
    ) -> None:
        if settings.directory is None:
            raise ValueError("record.directory is null: there is nothing to record into")
        self.directory = Path(settings.directory)
        self._settings = settings
        self._run = run
        self._counters = counters
        self._patience_s = _PATIENCE_S if wait_when_full else 0.0
        self._utc_now = utc_now
        self._now_ns = now_ns
        self._queue = RecordQueue(settings.queue_verdicts, settings.queue_frames, counters)
        self._files = PictureFiles(self.directory, field_of_view)
        self._spare_room = SpareRoom(self.directory)
        self._commit_ns = settings.commit_every_ms * _MS
        self._ok_seen = 0
        self.filed: Filed | None = None
        self._first_try_over = threading.Event()
        self._closing = False
        self._end_reason = ""
        self._failures = 0

        # below: the writer thread only
        self._database: RecordDatabase | None = None
        self._retention: Retention | None = None
        self._alarms = AlarmLog(counters, self._note_own, utc_now)
        self._clock = ClockGuard(
            ClockWatch(utc_now, steady_s), self._alarms, waiting_rows=lambda: self._queue.waiting()[0]
        )
        self._sweep: Iterator[int] | None = None
        self._attached: list[Entry] = []
        self._attached_since_ns = 0
        self._repeats = RepeatedPicture()
        self._state = RecordState(counters)
        self._row_retry_ns = self._picture_retry_ns = self._housekeeping_ns = now_ns()

        self._thread = threading.Thread(target=self._work, name="records", daemon=True)
        self._thread.start()
        # the number of the first verdict is known only then; a disk that hangs keeps no line waiting
        self._first_try_over.wait(_FIRST_TRY_S)

    def write(self, frame: Frame, verdict: Verdict) -> None:
        """Take a verdict; returns at once, or soon with wait_when_full. The image must not change afterwards."""
        entry = Entry(row_values(frame, verdict), self._now_ns())
        picture = None
        run_id = self._counters.record_run
        if frame.image is not None and self._is_kept(verdict):
            entry.frame, entry.verdict = frame, verdict
            picture = None if run_id is None else str(self.directory / image_place(frame, verdict, run_id))
        self.filed = None if run_id is None else Filed(verdict_number(run_id, frame.index), picture)
        healthy = self._state.rows is None and self._state.pictures is None
        self._queue.put(entry, self._patience_s if healthy else 0.0)

    def note(self, alarm: Alarm) -> None:
        """Take an alarm, or its newer state; returns at once. From any thread."""
        self._queue.put_alarm(alarm)

    def _note_own(self, alarm: Alarm) -> None:
        """Take an alarm about the recording itself."""
        self.note(alarm)
        logger.warning("%s", f"{alarm.what}; {alarm.advice}" if alarm.ended is None else f"over: {alarm.what}")

    def drain(self, give_up: threading.Event, tell: Callable[[str], None]) -> None:
        """Wait while what is to be written becomes less; `close` gives it a second only.

        Ends when everything is written, when the disk is full or refuses, when nothing was written for some seconds, or
        when `give_up` is set. tell: called every two seconds with what is left.
        """
        self._end_reason = wait_until_written(
            self._queue, self._state, self._thread, give_up, tell, spare_rows=_ROWS_PER_COMMIT
        )

    def close(self) -> None:
        """Save what waits; returns within about a second, and logs what could not be saved."""
        self._closing = True
        self._queue.wake()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            rows, pictures = self._queue.waiting()
            self._state.publish_end(rows, pictures, self._end_reason or "writing did not end within a second")

    def _is_kept(self, verdict: Verdict) -> bool:
        if verdict.decision is not Decision.OK or verdict.review:
            return True
        self._ok_seen += 1
        every = self._settings.keep_ok_every
        return every > 0 and self._ok_seen % every == 0

    def _work(self) -> None:
        while not self._closing:
            self._queue.wait(self._seconds_to_next_step())
            self._guarded(self._step)
            self._first_try_over.set()
            self._state.publish(self._database is not None, *self._queue.waiting())
        self._guarded(self._finish)
        self._guarded(self._end_run)

    def _guarded(self, step: Callable[[], None]) -> None:
        """The last line of defence: whatever goes wrong in here is seen, and recording begins anew after a moment."""
        try:
            step()
        except Exception as error:
            self._failures += 1
            if worth_a_line(self._failures):
                logger.exception("recording failed %d times in a way nobody foresaw; please report it", self._failures)
            self._queue.put_rows_back()
            self._rows_refused(error)

    def _commit_due_ns(self) -> int | None:
        if self._queue.alarms():
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
            database = RecordDatabase(self.directory, self._run, self._utc_now(), damaged)
        except (OSError, sqlite3.Error, RecordError) as error:
            self._rows_refused(error)
            return
        if database.replaced is not None:
            self._tell_replaced(database.replaced)
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
                "deleted", f"deleted: the records in {self.directory} were removed or replaced"
            )
            return
        rows = self._queue.take_rows(_ROWS_PER_COMMIT)
        images = [entry.image_values() for entry in rows]
        attached = [(entry.row_id, entry.image_values()) for entry in self._attached if entry.row_id is not None]
        alarms = self._queue.alarms()
        try:
            database.require_header()
            # before any row that was stamped after a jump: this may be the last that is written
            self._clock.look(database)
            self._files.sync_names()
            new = [(entry.row, image) for entry, image in zip(rows, images, strict=True)]
            ids = database.save(new, attached, alarms)
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

    def _tell_replaced(self, kept: Path) -> None:
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
            self._state.pictures = trouble_of(error, self.directory)
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
        self._state.rows = trouble_of(error, self.directory)
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
        self._queue.forget_files(lambda image: not (self.directory / image).exists())

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
            if self._database is None and (rows or self._queue.alarms()):
                self._open()
            elif self._database is not None and (rows or self._queue.alarms()):
                self._commit(self._database)
            elif self._database is not None and pictures and self._state.pictures is None:
                self._store_next_picture(self._database)
            else:
                break
            if self._state.rows is not None:
                time.sleep(0.05)

    def _end_run(self) -> None:
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
                self._state.rows = trouble_of(error, self.directory)
        if self._database is not None:
            self._database.close()
        self._state.publish_end(rows, len(skipped), self._end_reason or "there was no time left")
