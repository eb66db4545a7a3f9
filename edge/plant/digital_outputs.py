"""Digital outputs: a pulse for a good part, and nothing for everything else, so that a broken wire rejects.

One thread sets the lines and ends the pulses. It never sets OK while inspection hangs, and never for a verdict that it
saw too late.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import Protocol

from edge.core.alarms import MONITORING, Alarm
from edge.core.datatypes import Decision
from edge.monitoring.alarm_log import AlarmLog

log = logging.getLogger("edge.plant")

_STEP_S = 0.1
_CLOSE_S = 0.5


class Output(Enum):
    OK = "OK"
    NG = "NG"
    HEARTBEAT = "heartbeat"


class Lines(Protocol):
    """What is switched. Both functions are called in one thread, and may raise OSError."""

    def set(self, output: Output, on: bool) -> None: ...

    def close(self) -> None: ...


class DigitalOutputs:
    """pulse_s: how long OK and NG stay on. alive: whether inspection goes on. NG is on for NG and for INVALID.

    A verdict ends the pulse of the one before. Lines that cannot be set are an alarm; the line goes on.
    """

    def __init__(
        self,
        lines: Lines,
        pulse_s: float,
        alive: Callable[[], bool],
        alarms: AlarmLog,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lines, self._pulse_s, self._alive, self._alarms, self._now_s = lines, pulse_s, alive, alarms, now_s
        self._newest: tuple[Decision, float] | None = None
        self._on: dict[Output, bool] = {}
        self._alarm: Alarm | None = None
        self._until_s: float | None = None
        self._beat_s = 0.0
        self._wake, self._ending = threading.Event(), False
        self._thread = threading.Thread(target=self._work, name="outputs", daemon=True)
        self._thread.start()

    def show(self, decision: Decision) -> None:
        """Any thread; returns at once."""
        self._newest = decision, self._now_s()
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
            self.step()
            self._wake.wait(self._wait_s())
        for output in Output:
            self._set(output, False)
        try:
            self._lines.close()
        except OSError as error:
            log.warning("the digital outputs could not be given back: %s", error)

    def _wait_s(self) -> float:
        until_s = self._now_s() + _STEP_S if self._until_s is None else self._until_s
        return max(0.0, min(_STEP_S, until_s - self._now_s()))

    def step(self) -> None:
        """Take the newest verdict, and end what is over."""
        newest, self._newest = self._newest, None
        now_s, alive = self._now_s(), self._alive()
        if newest is not None:
            decision, since_s = newest
            # a process that was stopped in between must not say OK for a part that is gone
            fresh = alive and now_s < since_s + self._pulse_s
            self._until_s = since_s + self._pulse_s if fresh else None
            self._set(Output.OK, fresh and decision is Decision.OK)
            self._set(Output.NG, fresh and decision is not Decision.OK)
        elif self._until_s is not None and (now_s >= self._until_s or not alive):
            self._until_s = None
        if self._until_s is None:
            self._set(Output.OK, False)
            self._set(Output.NG, False)
        if now_s - self._beat_s >= _STEP_S:
            self._beat_s = now_s
            self._set(Output.HEARTBEAT, alive and not self._on.get(Output.HEARTBEAT, False))

    def _set(self, output: Output, on: bool) -> None:
        if self._on.get(output) is on:
            return
        try:
            self._lines.set(output, on)
        except OSError as error:
            # not known any more: tried again in the next round
            self._on.pop(output, None)
            if self._alarm is None:
                what = f"digital output {output.value} cannot be set: {error.strerror or error}"
                self._alarm = self._alarms.begin(MONITORING, what, "check outputs.chip and its lines")
            return
        self._on[output] = on
        if self._alarm is not None and len(self._on) == len(Output):
            self._alarms.end(self._alarm)
            self._alarm = None
