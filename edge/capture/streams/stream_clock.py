"""When was this picture of a stream taken? What can be known without asking the camera.

A picture that waited in a buffer, of this machine or on the way, looks as new as any other when it is read. Three
things give it away: bytes that had been waiting before anyone looked; a silence followed by pictures in quick
succession; the stream's own time, where it has one, falling behind the clock.
"""

from __future__ import annotations

import time
from collections import deque
from datetime import datetime, timedelta, timezone
from statistics import median

# data that lay unread for longer than this may be one picture behind another
BEHIND_NS = 100_000_000
# a silence counts from here, if it is also longer than SILENCE_SPACINGS times the longest of the last usual ones
SILENCE_NS = 500_000_000
SILENCE_SPACINGS = 4
REMEMBERED_SPACINGS = 32
FEWEST_SPACINGS = 8
# clocks of cameras and of this machine drift apart; so much of a delay is forgotten with every second
DRIFT = 0.002
# whether a stream's time passes as quickly as the clock does is asked of spans of this length; so many in a row decide,
# since one in which something stood still, and the next in which it caught up, prove nothing
TRIAL_NS = 2_000_000_000
TRIAL_TOLERANCE = 0.1
TRIALS = 3


class StreamClock:
    """Stamp every picture of one connection, in the order of arrival; times in ns of time.perf_counter_ns.

    regular: pictures follow one another without pauses of their own, so that a silence tells that something stood.
    """

    def __init__(self, *, regular: bool = True) -> None:
        self._regular = regular
        self._spacings: deque[int] = deque(maxlen=REMEMBERED_SPACINGS)
        self._previous_ns: int | None = None
        self._behind_since_ns: int | None = None
        # of the stream's own time: the smallest offset to the clock seen so far, with its drift
        self._offset_ns: float | None = None
        self._previous: tuple[int, int] = (0, 0)
        self._trial_began: tuple[int, int] | None = None
        self._in_a_row = (True, 0)
        self.trusts_stream_time: bool | None = None

    def stamp(self, since_ns: int, arrived_ns: int, stream_ns: int | None = None) -> int:
        """The latest moment of which it is sure enough that the picture was not taken before it.

        since_ns: a moment when nothing of this picture had come yet. arrived_ns: when its first bytes were read.
        stream_ns: the picture's time by the stream, from any origin, None where there is none.
        """
        lag_ns = None if stream_ns is None else self._lag_ns(arrived_ns, stream_ns)
        waited_ns = arrived_ns - self._by_arrival_ns(since_ns, arrived_ns)
        if lag_ns is None or self.trusts_stream_time is False:
            return arrived_ns - waited_ns
        # the stream's time shows whether a picture is late or the camera paused
        return arrived_ns - (lag_ns if self.trusts_stream_time else max(lag_ns, waited_ns))

    def _by_arrival_ns(self, since_ns: int, arrived_ns: int) -> int:
        spacing = None if self._previous_ns is None else arrived_ns - self._previous_ns
        self._previous_ns = arrived_ns
        waited_unread = arrived_ns - since_ns > BEHIND_NS
        if self._behind_since_ns is None:
            if waited_unread:
                self._behind_since_ns = since_ns
            elif spacing is not None and self._is_silence(spacing):
                self._behind_since_ns = arrived_ns - spacing
            elif spacing is not None:
                self._spacings.append(spacing)
        elif not waited_unread and spacing is not None and 2 * spacing >= self._usual():
            self._behind_since_ns = None
        return since_ns if self._behind_since_ns is None else min(since_ns, self._behind_since_ns)

    def _is_silence(self, spacing: int) -> bool:
        if not self._regular or len(self._spacings) < FEWEST_SPACINGS:
            return False
        return spacing > max(SILENCE_NS, SILENCE_SPACINGS * max(self._spacings))

    def _usual(self) -> float:
        """The usual time between two pictures; that of a fast camera while it is not known."""
        return median(self._spacings) if len(self._spacings) >= FEWEST_SPACINGS else BEHIND_NS / 5

    def _lag_ns(self, arrived_ns: int, stream_ns: int) -> int:
        """How much later than the quickest picture so far this one came, by the stream's own time."""
        self._try_stream_time(arrived_ns, stream_ns)
        offset = float(arrived_ns - stream_ns)
        (before_ns, stream_before_ns), self._previous = self._previous, (arrived_ns, stream_ns)
        if self._offset_ns is None:
            self._offset_ns = offset
        elif stream_ns < stream_before_ns:
            # the stream's time began anew: this picture is as late as the one before
            self._offset_ns += offset - (before_ns - stream_before_ns)
        else:
            self._offset_ns = min(self._offset_ns + DRIFT * (arrived_ns - before_ns), offset)
        return round(offset - self._offset_ns)

    def _try_stream_time(self, arrived_ns: int, stream_ns: int) -> None:
        if self._trial_began is None or stream_ns < self._trial_began[1]:
            self._trial_began = arrived_ns, stream_ns
        passed, by_stream = arrived_ns - self._trial_began[0], stream_ns - self._trial_began[1]
        if passed < TRIAL_NS:
            return
        self._trial_began = arrived_ns, stream_ns
        keeps_time = abs(by_stream / passed - 1) <= TRIAL_TOLERANCE
        before, count = self._in_a_row
        self._in_a_row = keeps_time, count + 1 if keeps_time is before else 1
        if self._in_a_row[1] >= TRIALS:
            if self.trusts_stream_time is False and keeps_time:
                # what was measured by a time that was not real is no mark
                self._offset_ns = None
            self.trusts_stream_time = keeps_time


def utc_at(moment_ns: int) -> datetime:
    """The date and time of a moment of time.perf_counter_ns, by the clock of now."""
    return datetime.now(timezone.utc) - timedelta(microseconds=(time.perf_counter_ns() - moment_ns) / 1000)
