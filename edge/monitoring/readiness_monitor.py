"""Asks beside the inspection whether the line's challenge still counts, which age and another version end."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

from edge.core.alarms import NOT_READY, Alarm
from edge.core.counters import RunCounters
from edge.core.datatypes import Frame, Verdict
from edge.monitoring.background_worker import BackgroundWorker

# challenges grow old, and are made beside a running line
LOOK_EVERY_S = 5.0
_CLOSE_S = 0.8

# hashes of a bundle and an engine → why a line that judges with them is not ready; None when it is
WhyNotReady = Callable[[str, str], str | None]


@dataclass(frozen=True)
class _Look:
    """A frame, and what judged it."""

    bundle_sha256: str
    engine_sha256: str
    index: int
    utc: datetime


class ReadinessMonitor:
    """A sink that keeps `counters.ready_state`, and an alarm that stands while the line is not ready.

    why_not: asked in a thread of its own, as soon as something else judges and every few seconds. advice: what to do.
    on_alarm: called from that thread when the alarm is raised, says something else or is over.
    """

    def __init__(
        self,
        why_not: WhyNotReady,
        advice: str,
        counters: RunCounters,
        on_alarm: Callable[[Alarm], None],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._why_not, self._advice = why_not, advice
        self._counters, self._on_alarm = counters, on_alarm
        self._now_s = now_s
        self._judged_by: tuple[str, str] | None = None
        self._next_s = 0.0
        self._alarm: Alarm | None = None
        self._looks: BackgroundWorker[_Look] = BackgroundWorker("readiness watch", self._take, self._stopped)

    def write(self, frame: Frame, verdict: Verdict) -> None:
        judged_by, now_s = (verdict.bundle_sha256, verdict.engine_sha256), self._now_s()
        if judged_by != self._judged_by or now_s >= self._next_s:
            self._judged_by, self._next_s = judged_by, now_s + LOOK_EVERY_S
            self._looks.put(_Look(*judged_by, frame.index, frame.utc))

    def close(self) -> None:
        """Look at what waits, for less than a second."""
        self._looks.close(_CLOSE_S)

    def _stopped(self, error: Exception) -> None:
        self._counters.ready_state = f"unknown, see the log: {error}"

    def _take(self, look: _Look) -> None:
        why, alarm = self._why_not(look.bundle_sha256, look.engine_sha256), self._alarm
        self._counters.ready_state = "ready" if why is None else "NOT READY"
        if why is None:
            if alarm is not None:
                self._tell(replace(alarm, ended=look.utc, last_frame=look.index))
                self._alarm = None
            return
        what = f"the line is not ready: {why}"
        if alarm is None:
            number = self._counters.alarms.new_number()
            self._alarm = Alarm(number, NOT_READY, what, self._advice, 0.0, "", look.utc, look.utc, look.index)
            self._tell(self._alarm)
        elif alarm.what != what:
            self._alarm = replace(alarm, what=what)
            self._tell(self._alarm)

    def _tell(self, alarm: Alarm) -> None:
        self._counters.alarms.put(alarm)
        self._on_alarm(alarm)
