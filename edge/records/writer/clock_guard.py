"""What the recorder does when the wall clock jumps: nothing is deleted before the jump is on record."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from datetime import datetime

from edge.core.alarms import CLOCK
from edge.monitoring.alarm_log import AlarmLog
from edge.records.clock import jump_text
from edge.records.writer.clock_watch import ClockStep, ClockWatch
from edge.records.writer.database import RecordDatabase

_ADVICE = (
    "check date and time of this machine; nothing that was recorded before is deleted for its age until it is that old "
    "counted from now"
)
# that wait for the database
_MOST_STEPS = 100


class ClockGuard:
    """Used by the record writer alone. waiting_rows: of verdicts that are not in the database yet."""

    def __init__(self, watch: ClockWatch, alarms: AlarmLog, waiting_rows: Callable[[], int]) -> None:
        self._watch, self._alarms, self._waiting_rows = watch, alarms, waiting_rows
        self._steps: deque[ClockStep] = deque()
        self._compared = False

    def utc_now(self) -> datetime:
        """The time that was looked at last: a jump after it has not been seen yet."""
        return self._watch.utc

    def compare(self, database: RecordDatabase) -> None:
        """Once, before this run records anything: with what earlier runs recorded. Raises sqlite3.Error."""
        if not self._compared:
            step = self._watch.compare(database.newest_times())
            self._compared = True
            if step is not None:
                self._steps.append(step)

    def look(self, database: RecordDatabase) -> None:
        """Put on record what the clock did. Raises sqlite3.Error, and then what could not be put there is kept."""
        # with more waiting the clock is not looked at: the look after them sees what it has done meanwhile, as one step
        step = self._watch.look() if len(self._steps) < _MOST_STEPS else None
        if step is not None:
            self._steps.append(step)
        while self._steps:
            self._record(self._steps[0], database)
            self._steps.popleft()

    def _record(self, step: ClockStep, database: RecordDatabase) -> None:
        if step.is_right:
            database.put_clock_right(step.after)
            self._alarms.end_kind(CLOCK)
            return
        database.save_clock_jump(step.before, step.after, self._waiting_rows())
        size_h = (step.after - step.before).total_seconds() / 3600
        self._alarms.begin(CLOCK, _what(step), _ADVICE, size_h, "h")


def _what(step: ClockStep) -> str:
    before, after = (f"{moment:%Y-%m-%d %H:%M} UTC" for moment in (step.before, step.after))
    if not step.between_runs:
        return f"the clock jumped {jump_text(step.after - step.before)}, from {before} to {after}"
    if step.after < step.before:
        return f"the clock says {after}, which is before the newest record of {before}: it is wrong, or was wrong then"
    return f"the clock says {after}, the newest record is of {before}: the line stood still, or the clock is wrong"
