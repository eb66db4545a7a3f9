"""Jobs that look at something a few times a second, all in one thread: the bundle on disk, the newest challenge."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from edge.core.alarms import MONITORING, Alarm
from edge.core.counters import worth_a_line
from edge.core.datatypes import Frame, Verdict
from edge.monitoring.alarm_log import AlarmLog

log = logging.getLogger("edge.monitoring")

POLL_EVERY_S = 0.25
# loading a large model takes seconds; a job that takes longer than this hangs, as on a disk of the network
HANGING_S = 30.0
_CLOSE_S = 0.3


class Polled(Protocol):
    """A job. Both functions are called in the poller's thread; end: once, after the last poll."""

    name: str

    def poll(self) -> None: ...

    def end(self) -> None: ...


class Poller:
    """A sink, because verdicts come while a job hangs: `write` raises an alarm then, since the other jobs wait for it.

    A job that raises is logged, and called again. alarms: where the alarm goes. wake: whoever sets it has the jobs
    called at once.
    """

    def __init__(
        self,
        jobs: Sequence[Polled],
        alarms: AlarmLog,
        every_s: float = POLL_EVERY_S,
        wake: threading.Event | None = None,
    ) -> None:
        self._jobs, self._alarms, self._every_s = jobs, alarms, every_s
        self._running: tuple[str, float] | None = None
        self._hanging: Alarm | None = None
        self._failures = 0
        self._stop = threading.Event()
        self._wake = wake or threading.Event()
        self._thread = threading.Thread(target=self._work, name="poller", daemon=True)
        self._thread.start()

    def write(self, frame: Frame, verdict: Verdict) -> None:
        running = self._running
        if running is not None and self._hanging is None and time.monotonic() - running[1] > HANGING_S:
            others = ", ".join(job.name for job in self._jobs if job.name != running[0])
            waiting = f"; until it does, nothing is done for: {others}" if others else ""
            what = f"the watch on the {running[0]} has not returned for {HANGING_S:.0f} s{waiting}"
            self._hanging = self._alarms.begin(MONITORING, what, "check the disk of bundle and records; else restart")

    def close(self) -> None:
        """End the jobs; returns soon, also when one hangs."""
        self._stop.set()
        self._wake.set()
        self._thread.join(_CLOSE_S)

    @property
    def busy(self) -> bool:
        """After `close`: a job has not returned, and its thread must not meet the interpreter's end."""
        return self._thread.is_alive()

    def _work(self) -> None:
        while True:
            self._wake.wait(self._every_s)
            # before the jobs, so that what is asked for meanwhile has them called again
            self._wake.clear()
            if self._stop.is_set():
                break
            for job in self._jobs:
                self._run(job.name, job.poll)
        for job in self._jobs:
            self._run(job.name, job.end)

    def _run(self, name: str, call: Callable[[], None]) -> None:
        self._running = name, time.monotonic()
        try:
            call()
        # nothing that a file holds may end the polling: the next one may be a good one
        except Exception:
            self._failures += 1
            if worth_a_line(self._failures):
                log.exception("the watch on the %s failed, and goes on (%d times)", name, self._failures)
        self._running = None
        if self._hanging is not None:
            self._alarms.end(self._hanging)
            self._hanging = None
