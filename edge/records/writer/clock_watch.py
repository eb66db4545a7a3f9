"""Whether the wall clock can be believed, and what the recorder does when it jumps.

The wall clock is compared with a clock that never jumps, and with what is on record. Nothing is deleted before a jump
is on record.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from edge.core.alarms import CLOCK
from edge.monitoring.alarm_log import AlarmLog
from edge.records.clock import jump_text
from edge.records.writer.database import RecordDatabase

# network time corrects by less, or slowly; what is deleted is counted in days
JUMP = timedelta(seconds=60)
# a line that stood still: what the clock may be ahead of the newest record without a question
LONGEST_REST = timedelta(days=7)
_ADVICE = (
    "check date and time of this machine; nothing that was recorded before is deleted for its age until it is that old "
    "counted from now"
)
# that wait for the database
_MOST_STEPS = 100


def steady_s() -> float:
    """Seconds of a clock that nobody sets and that goes on while the machine sleeps."""
    # macOS and Windows have no such name; their monotonic clock will do
    boot = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if boot is None else time.clock_gettime(boot)


@dataclass(frozen=True)
class ClockStep:
    """before: what the clock should have said. after: what it says. is_right: it is where it should be again.

    between_runs: `before` is the time of the newest record.
    """

    before: datetime
    after: datetime
    is_right: bool = False
    between_runs: bool = False


@dataclass(frozen=True)
class _Reference:
    """A time that was right when the steady clock said at_s; later ones may be ahead of it by `ahead`."""

    utc: datetime
    at_s: float
    ahead: timedelta


class ClockWatch:
    """Looks at the wall clock every now and then. utc: what it said at the last look."""

    def __init__(self, utc_now: Callable[[], datetime], steady: Callable[[], float] = steady_s) -> None:
        self._utc_now, self._steady_s = utc_now, steady
        self._right = True
        self._references: list[_Reference] = []
        self.utc, self._at_s = utc_now(), steady()

    def compare(self, newest: Sequence[datetime]) -> ClockStep | None:
        """The first look, at what was recorded before: a step if the clock is behind it, or days ahead."""
        self.utc, self._at_s = self._utc_now(), self._steady_s()
        self._references = [_Reference(moment, self._at_s, LONGEST_REST) for moment in newest]
        if not newest or self._fits():
            return None
        self._right = False
        return ClockStep(min(newest, key=lambda moment: abs(self.utc - moment)), self.utc, between_runs=True)

    def look(self) -> ClockStep | None:
        """A step if the clock jumped since the last look."""
        before_s, expected = self._at_s, self.utc
        self.utc, self._at_s = self._utc_now(), self._steady_s()
        expected += timedelta(seconds=self._at_s - before_s)
        if abs(self.utc - expected) <= JUMP:
            return None
        if self._right:
            self._references = [_Reference(expected, self._at_s, JUMP)]
            self._right = False
        else:
            self._right = self._fits()
        return ClockStep(expected, self.utc, self._right)

    def _fits(self) -> bool:
        for reference in self._references:
            ahead = self.utc - reference.utc - timedelta(seconds=self._at_s - reference.at_s)
            if -JUMP <= ahead <= reference.ahead:
                return True
        return False


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
