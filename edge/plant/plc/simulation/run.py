"""The simulated PLC in front of a real box: round after round, until all parts have come or it is stopped."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Event

from edge.plant.plc.register_map import HEARTBEAT_EVERY_S, Inputs, Orders
from edge.plant.plc.simulation.modbus_client import BoxLink, NoAnswer
from edge.plant.plc.simulation.program import Habits, PartSeen, PlcProgram
from edge.plant.plc.simulation.seen import Seen
from edge.plant.plc.simulation.watch import BoxWatch

# between attempts to connect
_AGAIN_S = 0.1


@dataclass(frozen=True)
class Simulation:
    """parts: how many, None for no limit; duration_s: after that no further part comes. scan_s: a round of the PLC.

    answer_s: a request that takes longer has failed. wait_s: for the box, before the first part. recipe: its number.
    """

    host: str
    port: int
    habits: Habits
    parts: int | None = None
    duration_s: float | None = None
    lot: str = ""
    recipe: int | None = None
    seed: int = 0
    scan_s: float = 0.01
    answer_s: float = 0.25
    wait_s: float = 10.0


class SimulatedPlc:
    """`seen` may be read at any time, by any thread. say: told of what happens with the connection, in words."""

    def __init__(
        self,
        simulation: Simulation,
        say: Callable[[str], None] = lambda what: None,
        on_part: Callable[[PartSeen], None] = lambda part: None,
    ) -> None:
        self._simulation, self._say, self._on_part = simulation, say, on_part
        self._watch = BoxWatch()
        self.seen = Seen(self._watch)
        self._program = PlcProgram(
            simulation.habits, self._watch, self._told,
            parts=simulation.parts, lot=simulation.lot, recipe=simulation.recipe, seed=simulation.seed,
        )  # fmt: skip
        self._link = BoxLink(simulation.host, simulation.port)
        self._written: Orders | None = None
        self._written_s = 0.0
        self._away_since_s: float | None = None
        self._was_there = False

    def run(self, stop: Event, each_round: Callable[[Seen], None] = lambda seen: None) -> Seen:
        """Until all parts have been decided, or `stop`; what was seen."""
        began_s = time.monotonic()
        try:
            while not (stop.is_set() or self._program.finished or self._gives_up(began_s)):
                scan_began_s = time.monotonic()
                if self._simulation.duration_s is not None and scan_began_s - began_s > self._simulation.duration_s:
                    self._program.end()
                self._round()
                each_round(self.seen)
                pause_s = _AGAIN_S if self._away_since_s is not None else self._simulation.scan_s
                stop.wait(max(0.0, scan_began_s + pause_s - time.monotonic()))
        finally:
            self._link.close()
        if self._away_since_s is not None and self._was_there:
            self.seen.on_outage(time.monotonic() - self._away_since_s)
        self.seen.recipe_failed = self._program.recipe_failed
        self.seen.never_there = not self._was_there
        return self.seen

    def _gives_up(self, began_s: float) -> bool:
        return not self._was_there and time.monotonic() - began_s > self._simulation.wait_s

    def _round(self) -> None:
        inputs = self._read()
        if inputs is None and not self._was_there:
            return
        orders = self._program.scan(time.monotonic(), inputs)
        if inputs is not None:
            self._write(orders)

    def _read(self) -> Inputs | None:
        try:
            inputs = self._link.read(self._within_s())
        except NoAnswer as why:
            self._lost(str(why))
            return None
        if self._away_since_s is not None or not self._was_there:
            self._found()
        return inputs

    def _write(self, orders: Orders) -> None:
        now_s = time.monotonic()
        if orders == self._written and now_s - self._written_s < HEARTBEAT_EVERY_S:
            return
        try:
            self._link.write(orders, self._within_s())
        except NoAnswer as why:
            self._lost(str(why))
            self._program.scan(time.monotonic(), None)
        else:
            self._written, self._written_s = orders, now_s

    def _within_s(self) -> float:
        """A part's time ends also while nothing answers."""
        return min(self._simulation.answer_s, self._program.decides_by_s - time.monotonic())

    def _lost(self, why: str) -> None:
        self._written = None
        if self._away_since_s is None:
            self._away_since_s = time.monotonic()
            self._say(f"{self._simulation.host}, port {self._simulation.port}: {why}; trying again")

    def _found(self) -> None:
        away_s = time.monotonic() - (self._away_since_s or time.monotonic())
        if self._was_there:
            self.seen.on_outage(away_s)
            self._say(f"the box answers again, after {away_s:.1f} s")
        else:
            self._say(f"the box answers at {self._simulation.host}, port {self._simulation.port}")
        self._away_since_s, self._was_there = None, True

    def _told(self, part: PartSeen) -> None:
        self.seen.on_part(part)
        self._on_part(part)
