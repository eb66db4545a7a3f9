"""A simulated PLC beside a real line, for tests that look from the PLC's side only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from itertools import pairwise

from edge.plant.plc.simulation.program import Habits, PartSeen
from edge.plant.plc.simulation.run import SimulatedPlc, Simulation
from tests.system.command_line import WAIT_S

# what is promised, of the time in which this process ran
REJECTED_WITHIN_S = 1.0
_TIMEOUT_S = 0.5
_TICK_S = 0.01


class RunningTime:
    """A clock beside the PLC that stands while the machine does not run this process: a busy machine is no fault of
    the line. A call that blocks is counted in full."""

    def __init__(self) -> None:
        self._ticks = [time.monotonic()]
        self._stop = threading.Event()
        threading.Thread(target=self._work, daemon=True).start()

    def _work(self) -> None:
        while not self._stop.wait(_TICK_S):
            self._ticks.append(time.monotonic())

    def between(self, from_s: float, until_s: float) -> float:
        """Seconds of two moments of `time.monotonic`; each tick that came late counts as two."""
        ticks = list(self._ticks)
        gaps = pairwise(ticks)
        return sum(min(after - before, 2 * _TICK_S) for before, after in gaps if from_s < after <= until_s)

    def close(self) -> None:
        self._stop.set()


class PlcSide:
    """parts: what became of each, as it happens."""

    def __init__(self, port: int, **habits: float) -> None:
        self.parts: list[PartSeen] = []
        self.said: list[str] = []
        self._stop = threading.Event()
        wanted = Habits(**{"timeout_s": _TIMEOUT_S, "period_s": 0.05, **habits})
        self._plc = SimulatedPlc(Simulation("127.0.0.1", port, wanted, wait_s=WAIT_S), self.said.append, self._note)
        self._arrived = threading.Condition()
        self._clock = RunningTime()
        self._thread = threading.Thread(target=self._plc.run, args=(self._stop,), daemon=True)
        self._thread.start()

    @property
    def seen(self):
        return self._plc.seen

    def _note(self, part: PartSeen) -> None:
        with self._arrived:
            self.parts.append(part)
            self._arrived.notify_all()

    def close(self) -> None:
        self._stop.set()
        self._thread.join(WAIT_S)
        self._clock.close()

    def wait_until(self, condition: Callable[[list[PartSeen]], bool]) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: condition(self.parts), WAIT_S), f"{self.said} {self.seen.table()}"

    def passes(self, count: int = 3) -> None:
        """Wait until so many further parts have passed."""
        since = time.monotonic()
        self.wait_until(lambda parts: sum(part.passed and part.came_s > since for part in parts) >= count)

    def rejects(self, since_s: float, count: int = 3) -> list[PartSeen]:
        """Wait for so many parts that were asked for or stood there since then; none may pass, or wait for longer than
        REJECTED_WITHIN_S after its trigger, or for READY."""

        def of_then():
            return [part for part in self.parts if (part.triggered_s or part.decided_s) > since_s]

        self.wait_until(lambda parts: len(of_then()) >= count)
        found = of_then()
        assert [part for part in found if part.passed] == []
        waited_s = [self._clock.between(part.triggered_s or part.came_s, part.decided_s) for part in found]
        assert max(waited_s) < REJECTED_WITHIN_S
        return found

    def keeps_the_handshake(self) -> None:
        assert self.seen.watch.violations == {}
        assert self.seen.watch.missed <= self.seen.watch.provoked


@contextmanager
def plc_side(port: int, **habits: float):
    side = PlcSide(port, **habits)
    try:
        yield side
    finally:
        side.close()
