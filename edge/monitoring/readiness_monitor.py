"""Asks beside the inspection whether the line's challenge still counts: a new version and time end that."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from edge.core.alarms import NOT_READY, Alarm
from edge.core.counters import RunCounters
from edge.core.datatypes import Frame, Verdict
from edge.monitoring.alarm_log import AlarmLog, Moment

# challenges grow old, and are made beside a running line
CHECK_EVERY_S = 5.0

# between the hashes of the cameras of a group
AND = "+"

# hashes of a bundle and a model, or of several with AND between them → why a line that judges with them is not ready;
# None when it is
WhyNotReady = Callable[[str, str], str | None]


@dataclass(frozen=True)
class _JudgedBy:
    bundle_sha256: str
    model_sha256: str


class ReadinessMonitor:
    """A sink, and a job of the poller. It keeps `counters.ready_state`, and an alarm that stands while the line is not
    ready.

    why_not: asked as soon as another version judges, and every few seconds. advice: what to do. judges_first: hashes of
    bundle and model before the first verdict.
    """

    name = "challenge"

    def __init__(
        self,
        why_not: WhyNotReady,
        advice: str,
        counters: RunCounters,
        alarms: AlarmLog,
        judges_first: tuple[str, str],
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._why_not, self._advice = why_not, advice
        self._counters, self._alarms = counters, alarms
        self._now_s = now_s
        # what judges, and its first frame since the last poll
        self._first: tuple[_JudgedBy, Moment] | None = None
        # also where no part comes: one that is asked for by a PLC waits until the line is ready
        self._judges = _JudgedBy(*judges_first)
        self._checked: _JudgedBy | None = None
        self._next_s = 0.0
        self._alarm: Alarm | None = None

    def write(self, frame: Frame, verdict: Verdict) -> None:
        # a group's line is ready with all of its bundles
        judged = [each.verdict for each in verdict.cameras] or [verdict]
        judged_by = _JudgedBy(
            AND.join(each.bundle_sha256 for each in judged), AND.join(each.model_sha256 for each in judged)
        )
        # the first frame of a version is where its alarm begins
        if self._first is None or self._first[0] != judged_by:
            self._first = judged_by, Moment(frame.utc, frame.index)

    def close(self) -> None: ...

    def poll(self) -> None:
        """Check what judges, where that is due."""
        first, self._first = self._first, None
        now_s, seen = self._now_s(), None
        if first is not None:
            self._judges, seen = first
        judged_by = self._judges
        if judged_by != self._checked or now_s >= self._next_s:
            self._checked, self._next_s = judged_by, now_s + CHECK_EVERY_S
            try:
                self._check(self._why_not(judged_by.bundle_sha256, judged_by.model_sha256), seen)
            except Exception as error:
                self._counters.ready_state = f"unknown, see the log: {error}"
                raise

    # a run that is over soon has not been polled yet
    end = poll

    def _check(self, why: str | None, seen: Moment | None) -> None:
        self._counters.ready_state = "ready" if why is None else "NOT READY"
        alarm, what = self._alarm, f"the line is not ready: {why}"
        if why is None:
            if alarm is not None:
                self._alarms.end(alarm, seen)
            self._alarm = None
        elif alarm is None:
            self._alarm = self._alarms.begin(NOT_READY, what, self._advice, seen=seen)
        elif alarm.what != what:
            self._alarm = replace(alarm, what=what)
            self._alarms.publish(self._alarm)
