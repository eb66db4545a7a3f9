"""Every verdict on record: SQLite rows and pictures, written by one thread that inspection never waits for."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path

from edge.core.alarms import Alarm
from edge.core.config import RecordSettings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Frame, Verdict
from edge.core.picture_names import verdict_number
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.sink import Filed
from edge.records.recipe_changes import RecipeChange
from edge.records.store import RunInfo
from edge.records.writer.clock_watch import steady_s
from edge.records.writer.database import row_values
from edge.records.writer.disk_errors import RecordState
from edge.records.writer.pictures import FieldOfRecipe, FieldOfViewOf, image_place
from edge.records.writer.queue import Entry, RecordQueue
from edge.records.writer.record_writer import ROWS_PER_COMMIT, RecordWriter

_CLOSE_S = 1.0
# how long a verdict may wait for its picture's place in the queue, where frames wait too; a stop must not feel it
_PATIENCE_S = 0.4
_FIRST_TRY_S = 1.0
_POLL_S = 0.01
# a stop waits for a disk or a lock that does nothing; a large picture on a slow, busy machine takes a few seconds
_STILL_S = 15.0
# commits come at least once a second; a busy disk takes its time
_HANGS_S = 5.0
_EMIT_FIRST_S, _EMIT_EVERY_S = 0.5, 2.0


def _utc_now() -> datetime:
    return datetime.now(timezone.utc)


class Recorder:
    """A sink that keeps every verdict, and the pictures of those not OK or for review, in `settings.directory`.

    Inspection goes on whatever the disk does: verdicts wait in memory, `counters.record_state` says why, and recording
    resumes by itself. A power cut loses the verdicts of the last `commit_every_ms` and of the disk's own write time.
    filed: under which number the last verdict that was taken is kept; None while the database cannot be had.
    wait_when_full: for sources that wait: a full queue of pictures holds the inspection up for a moment; no picture
    is skipped. field_of_recipe: of a verdict's recipe, in place of field_of_view.
    draw: 0 <= x < 1, at random; decides which pictures of OK parts are kept.
    """

    def __init__(
        self,
        settings: RecordSettings,
        run: RunInfo,
        counters: RunCounters,
        field_of_view: FieldOfViewOf,
        *,
        wait_when_full: bool = False,
        field_of_recipe: FieldOfRecipe = lambda name: None,
        utc_now: Callable[[], datetime] = _utc_now,
        now_ns: Callable[[], int] = time.perf_counter_ns,
        steady_s: Callable[[], float] = steady_s,
        draw: Callable[[], float] = random.random,
    ) -> None:
        if settings.directory is None:
            raise ValueError("record.directory is null: there is nothing to record into")
        self.directory = Path(settings.directory)
        self._settings, self._counters = settings, counters
        self._patience_s = _PATIENCE_S if wait_when_full else 0.0
        self._now_ns = now_ns
        self._queue = RecordQueue(settings.queue_verdicts, settings.queue_frames, counters)
        self._state = RecordState(counters, AlarmLog(counters, self._queue.put_alarm, utc_now))
        self._draw = draw
        self.filed: Filed | None = None
        self._first_try_over, self._closing = threading.Event(), threading.Event()
        self._end_reason = ""
        self._writer = RecordWriter(
            self.directory, settings, run, counters, field_of_view, self._queue, self._state, utc_now, now_ns, steady_s,
            field_of_recipe,
        )  # fmt: skip
        self._thread = threading.Thread(target=self._work, name="records", daemon=True)
        self._thread.start()
        # the number of the first verdict is known only then; a disk that hangs keeps no line waiting
        self._first_try_over.wait(_FIRST_TRY_S)

    def write(self, frame: Frame, verdict: Verdict) -> None:
        """Take a verdict; returns at once, or soon with wait_when_full. The image must not change afterwards."""
        sample_p = self._sample_p(verdict)
        entry = Entry(row_values(frame, verdict, sample_p), self._now_ns())
        picture = None
        run_id = self._counters.record_run
        # drawn for each part anew: every n-th part may always be of the same cavity of a mould
        if frame.image is not None and (sample_p is None or self._draw() < sample_p):
            entry.frame, entry.verdict = frame, verdict
            picture = None if run_id is None else str(self.directory / image_place(frame, verdict, run_id))
        self.filed = None if run_id is None else Filed(verdict_number(run_id, frame.index), picture)
        healthy = self._state.rows is None and self._state.pictures is None
        self._queue.put(entry, self._patience_s if healthy else 0.0)
        oldest_ns = self._queue.oldest_row_ns()
        silent_s = 0.0 if oldest_ns is None else (self._now_ns() - oldest_ns) / 1e9
        if healthy and silent_s > _HANGS_S:
            # whoever writes cannot say it
            self._state.hangs(silent_s, self._queue.waiting()[0])

    def note(self, alarm: Alarm) -> None:
        """Take an alarm, or its newer state; returns at once. From any thread."""
        self._queue.put_alarm(alarm)

    def note_recipe(self, change: RecipeChange) -> None:
        """Take a change of the recipe, or one that was refused; returns at once. From any thread."""
        self._queue.put_recipe_change(change)

    def drain(self, give_up: threading.Event, emit: Callable[[str], None]) -> None:
        """Wait while what is to be written becomes less; `close` gives it a second only.

        Ends when everything is written, when the disk is full or refuses, when nothing was written for some seconds, or
        when `give_up` is set. emit: called every two seconds with what is left.
        """
        self._end_reason = self._why_left(give_up, emit)

    def _why_left(self, give_up: threading.Event, emit: Callable[[str], None]) -> str:
        """Why something is left; empty when nothing is, or when the disk refuses, which the state says."""
        left, moved_s = self._queue.waiting(), time.monotonic()
        emitted_s = moved_s + _EMIT_FIRST_S - _EMIT_EVERY_S
        while self._thread.is_alive() and not self._state.refused:
            # the last commit is left to `close`
            if left[0] <= ROWS_PER_COMMIT and not left[1] and not self._state.passing:
                return ""
            now_s = time.monotonic()
            if give_up.is_set():
                return "given up, as asked"
            if now_s - moved_s > _STILL_S:
                return f"nothing could be written for {_STILL_S:.0f} s"
            if now_s - emitted_s >= _EMIT_EVERY_S:
                emitted_s = now_s
                emit(self._state.left(*left))
            # no wait on the event: its lock is not to be held when a signal sets it in this thread
            time.sleep(_POLL_S)
            before, left = left, self._queue.waiting()
            if left != before:
                moved_s = now_s
        return ""

    def close(self) -> None:
        """Save what waits; returns within about a second, and logs what could not be saved."""
        self._closing.set()
        self._queue.wake()
        self._thread.join(_CLOSE_S)
        if self._thread.is_alive():
            rows, pictures = self._queue.waiting()
            self._state.publish_end(rows, pictures, self._end_reason or "writing did not end within a second")

    def _sample_p(self, verdict: Verdict) -> float | None:
        """The probability with which its picture is kept; None of what was not judged, and is always kept."""
        if verdict.decision is Decision.INVALID:
            return None
        return self._settings.keep_ok_share if verdict.decision is Decision.OK and not verdict.review else 1.0

    def _work(self) -> None:
        self._writer.run(self._closing, self._first_try_over)
        self._writer.end_run(self._end_reason)
