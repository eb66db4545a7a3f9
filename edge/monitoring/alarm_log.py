"""Alarms of a run: raised, brought up to date and ended, on the run's board and on record."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone

from edge.core.alarms import Alarm
from edge.core.counters import RunCounters


@dataclass(frozen=True)
class Moment:
    """When something was seen: the time, and the index of the frame."""

    utc: datetime
    frame_index: int


class AlarmLog:
    """Used from any thread. on_alarm: called with every new alarm and with every new state of one, to record it.

    A moment that is not given is now, at the newest frame.
    """

    def __init__(
        self,
        counters: RunCounters,
        on_alarm: Callable[[Alarm], None],
        utc_now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
        who: str = "",
    ) -> None:
        self._counters, self._on_alarm, self._utc_now, self._who = counters, on_alarm, utc_now, who

    def of(self, who: str) -> AlarmLog:
        """The same log for one of several: what its alarms say begins with `who`."""
        return AlarmLog(self._counters, self._on_alarm, self._utc_now, f"{who}: ")

    def begin(
        self,
        kind: str,
        what: str,
        advice: str,
        size: float = 0.0,
        unit: str = "",
        since: Moment | None = None,
        seen: Moment | None = None,
    ) -> Alarm:
        """Raise an alarm. It stands until `end`, or until the run ends. since: when its cause began, if before."""
        seen = seen or self._now()
        since = since or seen
        number = self._counters.alarms.new_number()
        alarm = Alarm(number, kind, what, advice, size, unit, since.utc, seen.utc, since.frame_index)
        self.publish(alarm)
        return alarm

    def publish(self, alarm: Alarm) -> None:
        """Show and record the present state of an alarm."""
        if self._who:
            alarm = replace(alarm, what=f"{self._who}{alarm.what}")
        self._counters.alarms.put(alarm)
        self._on_alarm(alarm)

    def end(self, alarm: Alarm, seen: Moment | None = None) -> None:
        """The alarm is over."""
        seen = seen or self._now()
        self.publish(replace(alarm, ended=seen.utc, last_frame=seen.frame_index))

    def end_kind(self, kind: str) -> None:
        """All standing alarms of this kind are over."""
        for alarm in self._counters.alarms.standing():
            if alarm.kind == kind:
                self.end(alarm)

    def _now(self) -> Moment:
        return Moment(self._utc_now(), max(0, self._counters.frames - 1))
