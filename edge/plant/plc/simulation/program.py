"""A PLC's program, scan by scan: it asks for each part, applies the pass rule, and takes the result.

No network, no threads, no clock: what was read and the time go in, what is to be written comes out. On purpose it can
behave as badly as wires, bounces and slow programs do; what it then expects of the box is in docs/line/plc.md.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum

from edge.plant.plc.register_map import (
    HEARTBEAT_EVERY_S,
    WORD,
    ErrorCode,
    Inputs,
    Order,
    Orders,
    Status,
    reason_word,
)
from edge.plant.plc.simulation.advice import meaning
from edge.plant.plc.simulation.watch import BoxWatch

NO_ANSWER = "no answer"
NOT_READY = "not ready"
TIME_OUT = "time-out"
WRONG_ID = "another part's id"
STOOD_STILL = "heartbeat stood still"
# a result that says why the part is no good one; all other reasons are of the handshake
RESULTS = ("NG", "INVALID", "BYPASS")
_NO_ORDER = Order(0)
# a stop of the line and a recipe take as long as the box takes for them
_STOP_ENDS_S, _RECIPE_LOADS_S = 10.0, 60.0


@dataclass(frozen=True)
class Habits:
    """timeout_s: of a part, to READY and to its result. ack_delay_s: least and most. drop, double: shares of the parts.

    period_s: between parts; 0 for as fast as it goes.
    """

    timeout_s: float = 1.0
    period_s: float = 0.0
    ack_delay_s: tuple[float, float] = (0.0, 0.0)
    drop: float = 0.0
    double: float = 0.0


class Slip(Enum):
    """What the PLC does wrong with a part, on purpose."""

    NONE = "none"
    NO_TRIGGER = "trigger left out"
    NO_ACK = "acknowledge left out"
    TOO_EARLY = "trigger while not ready"
    BOUNCE = "trigger twice while busy"
    REPEAT = "trigger again after the result"


@dataclass(frozen=True)
class PartSeen:
    """What became of a part. came_s, triggered_s, decided_s: when; triggered_s is None where it was not asked for.

    why: empty for a part that passed. by_result: its own result decided. inputs: what was read then.
    """

    part_id: int
    passed: bool
    why: str
    by_result: bool
    slip: Slip
    came_s: float
    triggered_s: float | None
    decided_s: float
    inputs: Inputs | None


class _Phase(Enum):
    RECIPE = "recipe"
    BETWEEN = "between parts"
    READY = "waits for READY"
    RESULT = "waits for the result"
    DELAY = "waits before RESULT_ACK"
    TAKING = "RESULT_ACK"
    AGAIN = "triggers again"
    STOPPED = "waits for error 402"


class PlcProgram:
    """parts: how many; None for as many as come until it is stopped. on_part: told of each at once."""

    def __init__(
        self,
        habits: Habits,
        watch: BoxWatch,
        on_part: Callable[[PartSeen], None],
        *,
        parts: int | None,
        lot: str = "",
        recipe: int | None = None,
        seed: int = 0,
    ) -> None:
        self._habits, self._watch, self._on_part = habits, watch, on_part
        self._left, self._lot, self._recipe = parts, lot, recipe
        # chance of a test line, and no secret
        self._random = random.Random(seed)
        self._phase = _Phase.BETWEEN if recipe is None else _Phase.RECIPE
        self._heartbeat, self._beat_s = 0, float("-inf")
        self._bits, self._part_id, self._slip = _NO_ORDER, 0, Slip.NONE
        self._due_s: float | None = None
        self._came_s = self._since_s = 0.0
        self._triggered_s: float | None = None
        # held: a result was left on the box. edge_due: of a second trigger of the same part
        self._held = self._accepted = self._wrong_id = self._edge_due = False
        self._recipe_asked_s: float | None = None
        self.recipe_failed = False
        self._steps: dict[_Phase, Callable[[float, Inputs], None]] = {
            _Phase.RECIPE: self._ask_for_recipe,
            _Phase.READY: self._wait_for_ready,
            _Phase.RESULT: self._wait_for_result,
            _Phase.DELAY: lambda now_s, inputs: self._wait_before_ack(now_s),
            _Phase.TAKING: self._wait_until_taken,
            _Phase.AGAIN: self._trigger_again,
            _Phase.STOPPED: self._wait_for_stop,
        }

    @property
    def finished(self) -> bool:
        """All parts have been decided, and nothing is left on the box."""
        return self.recipe_failed or (self._phase is _Phase.BETWEEN and self._left == 0)

    @property
    def decides_by_s(self) -> float:
        """When a part must be decided without an answer; far away where none waits."""
        waits = self._phase in (_Phase.READY, _Phase.RESULT)
        return self._since_s + self._habits.timeout_s if waits else float("inf")

    def scan(self, now_s: float, inputs: Inputs | None) -> Orders:
        """One round of the program; inputs: what was read, None where the box does not answer."""
        if now_s - self._beat_s >= HEARTBEAT_EVERY_S:
            self._heartbeat, self._beat_s = (self._heartbeat + 1) & WORD, now_s
        if inputs is None:
            self._without_box(now_s)
        else:
            self._watch.look(now_s, inputs)
            self._step(now_s, inputs)
        return Orders(self._bits, self._part_id, self._recipe or 0, self._heartbeat, self._lot)

    def _step(self, now_s: float, inputs: Inputs) -> None:
        if self._phase is _Phase.BETWEEN:
            self._next_part(now_s)
        if self._phase in self._steps:
            self._steps[self._phase](now_s, inputs)

    def _without_box(self, now_s: float) -> None:
        """Nothing can be read: a part that waits for its result is rejected, and nothing is asked for."""
        self._watch.lost()
        self._bits, self._held = _NO_ORDER, False
        if self._phase is _Phase.BETWEEN:
            self._next_part(now_s)
        # a box that was never there has seen no part
        if self._phase is _Phase.RESULT or (self._phase is _Phase.READY and now_s >= self.decides_by_s):
            self._decide(now_s, None, NO_ANSWER)
        if self._phase is _Phase.RECIPE:
            self.recipe_failed = self._recipe_late(now_s)
        elif self._phase is not _Phase.READY:
            self._phase = _Phase.BETWEEN

    def end(self) -> None:
        """No further part comes; the one that is there is still decided."""
        self._left = 0

    def _next_part(self, now_s: float) -> None:
        if self._left == 0 or (self._due_s is not None and now_s < self._due_s):
            return
        if self._left is not None:
            self._left -= 1
        # parts that had to wait do not come all at once afterwards
        self._due_s = max((now_s if self._due_s is None else self._due_s) + self._habits.period_s, now_s)
        self._part_id = self._part_id % WORD + 1
        self._slip = Slip.TOO_EARLY if self._held else self._draw()
        self._came_s = self._since_s = now_s
        self._triggered_s, self._accepted, self._wrong_id = None, False, False
        self._edge_due = self._slip in (Slip.BOUNCE, Slip.REPEAT)
        self._phase = _Phase.READY

    def _draw(self) -> Slip:
        place = self._random.random()
        habits = self._habits
        if place < habits.drop:
            return self._random.choice((Slip.NO_TRIGGER, Slip.NO_ACK))
        if place < habits.drop + habits.double:
            return self._random.choice((Slip.BOUNCE, Slip.REPEAT))
        return Slip.NONE

    def _wait_for_ready(self, now_s: float, inputs: Inputs) -> None:
        ready = Status.READY in inputs.status and self._watch.fresh(now_s)
        if ready or self._slip is Slip.TOO_EARLY:
            self._trigger(now_s)
            return
        # a result that nobody waits for any more: taken, or READY never comes
        shown = Status.RESULT_VALID in inputs.status
        self._bits = Order.RESULT_ACK if shown else _NO_ORDER
        if now_s - self._since_s >= self._habits.timeout_s:
            self._decide(now_s, inputs, NOT_READY)

    def _trigger(self, now_s: float) -> None:
        self._phase, self._since_s = _Phase.RESULT, now_s
        if self._slip is Slip.NO_TRIGGER:
            self._bits = _NO_ORDER
            return
        self._bits, self._triggered_s = Order.TRIGGER, now_s
        if self._slip is Slip.TOO_EARLY:
            self._watch.provoked += 1
        else:
            self._watch.asked(self._part_id)

    def _wait_for_result(self, now_s: float, inputs: Inputs) -> None:
        shown = Status.RESULT_VALID in inputs.status
        if shown and inputs.part_id == self._part_id:
            self._decide(now_s, inputs, self._why_not(now_s, inputs))
        elif not self._watch.fresh(now_s):
            self._decide(now_s, inputs, STOOD_STILL)
        elif now_s - self._since_s >= self._habits.timeout_s:
            self._decide(now_s, inputs, WRONG_ID if self._wrong_id else TIME_OUT)
        else:
            if shown and not self._wrong_id:
                self._wrong_id = True
                self._watch.note_wrong_id(provoked=self._slip is Slip.TOO_EARLY)
            self._move_trigger(inputs)

    def _move_trigger(self, inputs: Inputs) -> None:
        """TRIGGER falls once it is acknowledged; a bounce comes after that, one round long."""
        if self._accepted:
            self._bits = _NO_ORDER
            if self._edge_due and self._slip is Slip.BOUNCE:
                self._second_edge()
        elif Status.TRIGGER_ACK in inputs.status and self._bits & Order.TRIGGER:
            if self._slip is Slip.TOO_EARLY:
                self._watch.violation("a trigger was accepted while READY was off")
            self._accepted, self._bits = True, _NO_ORDER

    def _second_edge(self) -> None:
        self._bits, self._edge_due = Order.TRIGGER, False
        self._watch.provoked += 1

    def _why_not(self, now_s: float, inputs: Inputs) -> str:
        """Empty where the part may pass."""
        if self._triggered_s is None:
            self._watch.violation("a result under an id that was not asked for")
            return WRONG_ID
        if not self._watch.fresh(now_s):
            return STOOD_STILL
        if inputs.passes(self._part_id):
            return ""
        if Status.BYPASS in inputs.status:
            return "BYPASS"
        why = reason_word(inputs.reason).replace("_", " ") or meaning(inputs.error)
        return "NG" if Status.NG in inputs.status else f"INVALID: {why}"

    def _decide(self, now_s: float, inputs: Inputs | None, why: str) -> None:
        by_result = not why or why.partition(":")[0] in RESULTS
        seen = PartSeen(
            self._part_id, not why, why, by_result, self._slip, self._came_s, self._triggered_s, now_s, inputs
        )  # fmt: skip
        self._watch.decided(self._part_id)
        self._on_part(seen)
        self._bits, self._since_s = _NO_ORDER, now_s
        if self._slip is Slip.TOO_EARLY:
            self._phase = _Phase.STOPPED
        elif not by_result:
            self._phase = _Phase.BETWEEN
        elif self._slip is Slip.NO_ACK:
            self._held = self._left != 0
            self._phase = _Phase.BETWEEN if self._held else _Phase.STOPPED
        else:
            self._since_s = now_s + self._random.uniform(*self._habits.ack_delay_s)
            self._phase = _Phase.DELAY
            # a bounce needs a round without TRIGGER before it
            if not (self._edge_due and self._slip is Slip.BOUNCE):
                self._wait_before_ack(now_s)

    def _wait_before_ack(self, now_s: float) -> None:
        self._bits = _NO_ORDER
        if self._edge_due and self._slip is Slip.BOUNCE:
            # it comes late: the result is there
            self._second_edge()
            return
        if now_s >= self._since_s:
            self._bits, self._phase, self._since_s = Order.RESULT_ACK, _Phase.TAKING, now_s

    def _wait_until_taken(self, now_s: float, inputs: Inputs) -> None:
        if Status.RESULT_VALID in inputs.status:
            if now_s - self._since_s < self._habits.timeout_s:
                return
            self._watch.violation("a result stayed although RESULT_ACK was on")
        self._bits, self._since_s = _NO_ORDER, now_s
        self._phase = _Phase.AGAIN if self._slip is Slip.REPEAT else _Phase.BETWEEN

    def _trigger_again(self, now_s: float, inputs: Inputs) -> None:
        """The same part once more, while the box is ready: it must not look at the next part for it."""
        if not self._edge_due:
            if inputs.status & (Status.BUSY | Status.TRIGGER_ACK):
                self._watch.violation("a second trigger of the same part was accepted")
            self._bits, self._phase = _NO_ORDER, _Phase.BETWEEN
        elif Status.READY in inputs.status:
            self._second_edge()
        elif now_s - self._since_s > self._habits.timeout_s:
            self._phase = _Phase.BETWEEN

    def _wait_for_stop(self, now_s: float, inputs: Inputs) -> None:
        """The line stands until the box says that its result was not taken, and somebody resets it."""
        self._held = False
        if Status.RESULT_VALID not in inputs.status:
            self._bits, self._phase = _NO_ORDER, _Phase.BETWEEN
        elif inputs.error == ErrorCode.ACK_TIMEOUT:
            self._bits = Order.FAULT_RESET
        elif now_s - self._since_s > _STOP_ENDS_S:
            self._watch.violation("a result that was not taken never became error 402")
            self._bits, self._phase = _NO_ORDER, _Phase.BETWEEN

    def _ask_for_recipe(self, now_s: float, inputs: Inputs) -> None:
        self._recipe_asked_s = now_s if self._recipe_asked_s is None else self._recipe_asked_s
        asked = Order.RECIPE_REQUEST in self._bits
        loaded = inputs.recipe == self._recipe and Status.RECIPE_OK in inputs.status
        refused = inputs.error in (ErrorCode.RECIPE_FAILED, ErrorCode.RECIPE_UNKNOWN)
        if asked and loaded:
            self._bits, self._phase = _NO_ORDER, _Phase.BETWEEN
        elif (asked and refused) or self._recipe_late(now_s):
            self.recipe_failed = True
        elif self._watch.fresh(now_s):
            # an order counts when its bit rises, and what a connection writes first is no rise
            self._bits = Order.RECIPE_REQUEST

    def _recipe_late(self, now_s: float) -> bool:
        return self._recipe_asked_s is not None and now_s - self._recipe_asked_s > _RECIPE_LOADS_S
