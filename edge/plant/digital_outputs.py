"""Digital outputs: a pulse for a good part, and nothing for everything else, so that a broken wire rejects."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from edge.core.alarms import MONITORING, Alarm
from edge.core.datatypes import Decision
from edge.monitoring.alarm_log import AlarmLog

log = logging.getLogger("edge.plant")

STEP_S = 0.1
_CLOSE_S = 0.5


class Output(Enum):
    OK = "OK"
    NG = "NG"
    HEARTBEAT = "heartbeat"


class Lines(Protocol):
    """What is switched. Both functions are called in one thread, and may raise OSError."""

    def set(self, output: Output, on: bool) -> None: ...

    def close(self) -> None: ...


class Pulses:
    """Which outputs are on; time is passed in. pulse_s: how long OK and NG stay on.

    NG is on for NG and for INVALID. A verdict ends the pulse of the one before. OK is never on while inspection hangs,
    and never for a verdict that was seen too late: a process that was stopped must not say OK for a part that is gone.
    """

    def __init__(self, pulse_s: float) -> None:
        self._pulse_s = pulse_s
        self._on: Output | None = None
        self._until_s = 0.0
        self._heartbeat, self._beat_s = False, -STEP_S

    def step(self, now_s: float, alive: bool, shown: tuple[Decision, float] | None) -> set[Output]:
        """The outputs that are on from now on. shown: the newest verdict and its time; None where there is no new one.

        Call it at least every STEP_S, and at `next_s`.
        """
        if shown is not None:
            self._on = Output.OK if shown[0] is Decision.OK else Output.NG
            self._until_s = shown[1] + self._pulse_s
        if now_s >= self._until_s or not alive:
            self._on = None
        if now_s - self._beat_s >= STEP_S:
            self._heartbeat, self._beat_s = not self._heartbeat, now_s
        on = {self._on} if self._on is not None else set()
        return on | ({Output.HEARTBEAT} if self._heartbeat and alive else set())

    def next_s(self, now_s: float) -> float:
        """When something changes by itself."""
        heartbeat_s = self._beat_s + STEP_S
        return max(now_s, heartbeat_s if self._on is None else min(heartbeat_s, self._until_s))


class DigitalOutputs:
    """Pulses on real lines, in a thread of its own. alive: whether inspection goes on.

    Lines that cannot be set are an alarm; the line goes on, and they are tried again.
    """

    def __init__(self, lines: Lines, pulse_s: float, alive: Callable[[], bool], alarms: AlarmLog) -> None:
        self._lines, self._alive, self._alarms = lines, alive, alarms
        self._pulses = Pulses(pulse_s)
        self._shown: deque[tuple[Decision, float]] = deque(maxlen=1)
        self._set_to: dict[Output, bool] = {}
        self._alarm: Alarm | None = None
        self._wake, self._ending = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="outputs", daemon=True)
        self._thread.start()

    def show(self, decision: Decision) -> None:
        """Any thread; returns at once."""
        self._shown.append((decision, time.monotonic()))
        self._wake.set()

    def close(self) -> None:
        """All lines off."""
        self._ending = True
        self._wake.set()
        self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        while not self._ending:
            # cleared first: what is shown from here on wakes it again
            self._wake.clear()
            now_s = time.monotonic()
            self._switch(self._pulses.step(now_s, self._alive(), self._shown.pop() if self._shown else None))
            self._wake.wait(max(0.0, self._pulses.next_s(now_s) - time.monotonic()))
        self._switch(set())
        try:
            self._lines.close()
        except OSError as error:
            log.warning("the digital outputs could not be given back: %s", error)

    def _switch(self, on: set[Output]) -> None:
        failed = ""
        for output in Output:
            if self._set_to.get(output) is (output in on):
                continue
            try:
                self._lines.set(output, output in on)
                self._set_to[output] = output in on
            except OSError as error:
                # how it is now nobody knows: set again in the next step
                self._set_to.pop(output, None)
                failed = f"digital output {output.value} cannot be set: {error.strerror or error}"
        if failed and self._alarm is None:
            self._alarm = self._alarms.begin(MONITORING, failed, "check outputs.chip and its lines")
        elif not failed and self._alarm is not None:
            self._alarms.end(self._alarm)
            self._alarm = None
