"""Alarms about the recording itself: on the board, in the log and on record."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime

from edge.core.alarms import Alarm
from edge.core.counters import RunCounters

logger = logging.getLogger("edge.records.store")


class RecordAlarms:
    """note: puts an alarm, or its newer state, on record."""

    def __init__(self, counters: RunCounters, utc_now: Callable[[], datetime], note: Callable[[Alarm], None]) -> None:
        self._counters, self._utc_now, self._note = counters, utc_now, note

    def begin(self, kind: str, what: str, advice: str, size: float = 0.0, unit: str = "") -> None:
        """Raise an alarm; it stands until the run ends or `end` is called."""
        now, number = self._utc_now(), self._counters.alarms.new_number()
        self._show(Alarm(number, kind, what, advice, size, unit, now, now, self._newest_frame()))
        logger.warning("%s; %s", what, advice)

    def end(self, kind: str) -> None:
        """What stands of this kind is over."""
        for alarm in self._counters.alarms.standing():
            if alarm.kind == kind:
                self._show(replace(alarm, ended=self._utc_now(), last_frame=self._newest_frame()))
                logger.warning("over: %s", alarm.what)

    def _show(self, alarm: Alarm) -> None:
        self._counters.alarms.put(alarm)
        self._note(alarm)

    def _newest_frame(self) -> int:
        return max(0, self._counters.frames - 1)
