"""A simulated PLC beside a real line, for tests that look from the PLC's side only."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import contextmanager

from edge.plant.plc.simulation.program import Habits, PartSeen
from edge.plant.plc.simulation.run import SimulatedPlc, Simulation
from tests.system.command_line import WAIT_S

# a second is promised; two busy cores and a process that must be scheduled get three
REJECTED_WITHIN_S = 3.0
_TIMEOUT_S = 0.5


class PlcSide:
    """parts: what became of each, as it happens."""

    def __init__(self, port: int, **habits: float) -> None:
        self.parts: list[PartSeen] = []
        self.said: list[str] = []
        self._stop = threading.Event()
        wanted = Habits(**{"timeout_s": _TIMEOUT_S, "period_s": 0.05, **habits})
        self._plc = SimulatedPlc(Simulation("127.0.0.1", port, wanted, wait_s=WAIT_S), self.said.append, self._note)
        self._arrived = threading.Condition()
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

    def wait_until(self, condition: Callable[[list[PartSeen]], bool]) -> None:
        with self._arrived:
            assert self._arrived.wait_for(lambda: condition(self.parts), WAIT_S), f"{self.said} {self.seen.table()}"

    def passes(self, count: int = 3) -> None:
        """Wait until so many further parts have passed."""
        since = time.monotonic()
        self.wait_until(lambda parts: sum(part.passed and part.came_s > since for part in parts) >= count)

    def rejects(self, since_s: float, count: int = 3) -> list[PartSeen]:
        """Wait for so many parts that were asked for or stood there since then; none may pass, or stay undecided."""

        def of_then():
            return [part for part in self.parts if (part.triggered_s or part.decided_s) > since_s]

        self.wait_until(lambda parts: len(of_then()) >= count)
        found = of_then()
        assert [part for part in found if part.passed] == []
        assert all(part.decided_s - part.came_s < REJECTED_WITHIN_S for part in found)
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
