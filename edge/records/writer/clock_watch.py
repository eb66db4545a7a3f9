"""Whether the wall clock can be believed: held against a clock that never jumps, and against what is on record."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

# network time corrects by less, or slowly; what is deleted is counted in days
JUMP = timedelta(seconds=60)
# a line that stood still: what the clock may be ahead of the newest record without a question
LONGEST_REST = timedelta(days=7)


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
