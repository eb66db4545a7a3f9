"""The handshake with a PLC as a state machine: what was written, seen and judged goes in, registers come out.

No threads, no clock, no network: whoever drives it passes the time in. docs/line/plc.md has the drawing and the table
of faults. A part's result is shown under the id that came with its trigger, once, and until the PLC has taken it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum

from edge.core.datatypes import Decision, Reason
from edge.plant.plc.condition import LineCondition
from edge.plant.plc.register_map import (
    DECISION_NUMBERS,
    HEARTBEAT_EVERY_S,
    WORD,
    ErrorCode,
    Inputs,
    Order,
    Orders,
    Status,
    error_of,
    reason_number,
)

# how long a requested recipe may take to be taken up by whoever loads it
_RECIPE_TAKEN_UP_S = 2.0
_DECISION_BITS = {Decision.OK: Status.OK, Decision.NG: Status.NG, Decision.INVALID: Status.INVALID}


@dataclass(frozen=True)
class Timing:
    """ack_timeout_s: a result that is not taken for so long is an error. silent_after_s: the PLC's heartbeat stood for
    so long. result_within_s: after a trigger; then the part is INVALID whatever comes later."""

    ack_timeout_s: float
    silent_after_s: float
    result_within_s: float


@dataclass(frozen=True)
class PartResult:
    """What a PLC is told of a verdict. trigger: the count that its frame carried; None where nobody asked for it.
    recipe: the name of the one that judged. reason: None where the box refuses a part that was judged."""

    trigger: int | None
    decision: Decision
    reason: Reason | None
    review: bool = False
    score_per_mille: int = 0
    regions: int = 0
    latency_ms: int = 0
    frame_index: int = 0
    recipe: str = ""


@dataclass(frozen=True)
class Fire:
    """Ask for the picture of this part, and tell the handshake by `fired`."""

    number: str
    lot: str


@dataclass(frozen=True)
class UseRecipe:
    index: int


class _Phase(Enum):
    IDLE = "idle"
    BUSY = "busy"
    VALID = "valid"


@dataclass(frozen=True)
class _RecipeWanted:
    index: int
    since_s: float
    failed_before: bool
    taken_up: bool = False


class Handshake:
    """One caller at a time. Every function takes the time and the line's condition of this moment.

    triggered: the PLC asks for each part; else results are shown as they come, and a trigger is an error. recipes:
    there are some to ask for. `silences`, `missed`, `unexpected`: how often the PLC fell silent or went away, a trigger
    brought no picture, and a result was not the one waited for.
    """

    def __init__(self, timing: Timing, *, triggered: bool, recipes: bool, now_s: float) -> None:
        self.sequence = self.silences = self.missed = self.unexpected = 0
        self._timing, self._triggered, self._recipes = timing, triggered, recipes
        self._heartbeat, self._heartbeat_s = 0, now_s
        self._error = ErrorCode.NONE
        self._recipe: _RecipeWanted | None = None
        # the part: its trigger, and then its result
        self._phase = _Phase.IDLE
        self._part_id = self._last_id = 0
        self._awaited: int | None = None
        self._recipe_name = ""
        self._triggered_s = self._give_up_s = self._shown_s = 0.0
        self._shown: PartResult | None = None
        self._result_error, self._ack_late = ErrorCode.NONE, False
        # what the PLC wrote last; bits: None until it has written, so that a level from before is no edge
        self._bits: Order | None = None
        self._plc_heartbeat: int | None = None
        self._heard_s: float | None = None
        self._trigger_ack = False

    @property
    def decision(self) -> Decision | None:
        """The result that is shown now; None while there is none."""
        return None if self._shown is None else self._shown.decision

    @property
    def heard(self) -> bool:
        """A PLC's heartbeat moves."""
        return self._heard_s is not None

    def tick(self, now_s: float, line: LineCondition) -> None:
        """Let time pass; call it many times a second, and before every reading."""
        periods = int((now_s - self._heartbeat_s) / HEARTBEAT_EVERY_S)
        if periods > 0:
            self._heartbeat_s += periods * HEARTBEAT_EVERY_S
            if line.beats:
                self._heartbeat = (self._heartbeat + periods) & WORD
        if self._heard_s is not None and now_s - self._heard_s > self._timing.silent_after_s:
            self._lose_plc()
            self._error = ErrorCode.PLC_SILENT
        if self._phase is _Phase.BUSY and now_s >= self._give_up_s:
            late = PartResult(None, Decision.INVALID, Reason.DEADLINE_MISSED, latency_ms=self._waited_ms(now_s))
            self._show(now_s, late, ErrorCode.NO_VERDICT)
        if self._phase is _Phase.VALID and self._triggered:
            self._ack_late = self._ack_late or now_s - self._shown_s > self._timing.ack_timeout_s
        if not self._triggered and not line.beats:
            self._forget_part()
        self._follow_recipe(now_s, line)

    def write(self, now_s: float, line: LineCondition, orders: Orders) -> Fire | UseRecipe | None:
        """The PLC has written. Returns what to do for it."""
        self.tick(now_s, line)
        ready = self._ready(line)
        before, self._bits = self._bits, orders.bits
        rose = Order(0) if before is None else orders.bits & ~before
        if orders.heartbeat != self._plc_heartbeat:
            self._plc_heartbeat, self._heard_s = orders.heartbeat, now_s
            if self._error is ErrorCode.PLC_SILENT:
                self._error = ErrorCode.NONE
        if Order.TRIGGER not in orders.bits:
            self._trigger_ack = False
        if Order.FAULT_RESET in rose:
            self._error = ErrorCode.NONE
            if self._ack_late:
                self._forget_part()
        if Order.RESULT_ACK in rose and self._phase is _Phase.VALID and self._triggered:
            self._error = ErrorCode.ACK_TIMEOUT if self._ack_late else self._error
            self._forget_part()
        if Order.RECIPE_REQUEST in rose:
            action = self._ask_for_recipe(now_s, line, orders.recipe)
            if action is not None:
                if Order.TRIGGER in rose:
                    self._miss(ErrorCode.TRIGGER_NOT_READY)
                return action
        return self._trigger(now_s, line, orders, ready) if Order.TRIGGER in rose else None

    def fired(self, trigger: int | None) -> None:
        """The count of the trigger that `write` asked for; None: no picture can come, and the part is INVALID."""
        if self._phase is _Phase.BUSY:
            self._awaited = trigger
            if trigger is None:
                self._give_up_s = self._triggered_s

    def asked(self) -> None:
        """Who changes recipes knows of the request; what the counters say from now on is the answer."""
        if self._recipe is not None:
            self._recipe = replace(self._recipe, taken_up=True)

    def answer_within(self, seconds: float) -> None:
        """Parts of another product take another time, from the next trigger on."""
        self._timing = replace(self._timing, result_within_s=seconds)

    def result(self, now_s: float, line: LineCondition, result: PartResult) -> None:
        """A verdict has been given. One that is not waited for is dropped: it belongs to another part."""
        self.tick(now_s, line)
        waited_for = self._phase is _Phase.BUSY and result.trigger is not None and result.trigger == self._awaited
        refused = self._why_refused(line, result)
        if waited_for and result.decision is not Decision.INVALID and refused is not ErrorCode.NONE:
            self._show(now_s, replace(result, decision=Decision.INVALID, reason=None, review=False,
                                      score_per_mille=0, regions=0), refused)  # fmt: skip
        elif waited_for or not self._triggered:
            self._show(now_s, result, error_of(result.reason))
        elif result.trigger is not None:
            self.unexpected += 1

    def _why_refused(self, line: LineCondition, result: PartResult) -> ErrorCode:
        """Why a part that was judged must not be passed nevertheless."""
        if result.recipe != self._recipe_name:
            # the PLC asked while another product was active; nothing says that the part is of this one
            return ErrorCode.RECIPE_CHANGING
        return line.error if line.error is ErrorCode.NOT_RECORDED else ErrorCode.NONE

    def lost(self) -> None:
        """The connection that the PLC wrote by is gone, or another one has taken its place."""
        if self._bits is not None:
            self._lose_plc()
        self._plc_heartbeat = None

    def inputs(self, line: LineCondition) -> Inputs:
        """What the PLC reads now."""
        result = self._shown
        error = self._shown_error(line)
        status = line.status
        for holds, bit in (
            (self._ready(line), Status.READY),
            (self._phase is _Phase.BUSY, Status.BUSY),
            (self._trigger_ack, Status.TRIGGER_ACK),
            (self._recipe_error(line) is ErrorCode.NONE, Status.RECIPE_OK),
            (error is not ErrorCode.NONE, Status.FAULT),
        ):
            status |= bit if holds else Status(0)
        inputs = Inputs(
            status=status, heartbeat=self._heartbeat, part_id=self._part_id, sequence=self.sequence, error=error,
            recipe=line.recipe, missed_triggers=self.missed, silences=self.silences,
        )  # fmt: skip
        if result is None:
            return inputs
        # the result's bits, its id and its code are set here and nowhere else, all in one
        return replace(
            inputs,
            status=status | Status.RESULT_VALID | _DECISION_BITS[result.decision]
            | (Status.REVIEW if result.review else Status(0)),
            decision=DECISION_NUMBERS[result.decision],
            reason=reason_number(result.reason),
            score_per_mille=result.score_per_mille,
            regions=result.regions,
            latency_ms=result.latency_ms,
            frame_index=result.frame_index,
        )  # fmt: skip

    def _ready(self, line: LineCondition) -> bool:
        plc_ready = self._heard_s is not None and self._bits is not None and Order.TRIGGER not in self._bits
        line_ready = line.error is ErrorCode.NONE and self._recipe_error(line) is ErrorCode.NONE
        return self._triggered and plc_ready and line_ready and self._phase is _Phase.IDLE

    def _shown_error(self, line: LineCondition) -> ErrorCode:
        late = ErrorCode.ACK_TIMEOUT if self._ack_late else ErrorCode.NONE
        errors = (late, self._result_error, line.error, self._recipe_error(line), self._error)
        return next((error for error in errors if error is not ErrorCode.NONE), ErrorCode.NONE)

    def _trigger(self, now_s: float, line: LineCondition, orders: Orders, ready: bool) -> Fire | None:
        refused = ErrorCode.NONE
        if not self._triggered:
            refused = ErrorCode.NO_TRIGGER_MODE
        elif orders.part_id == 0:
            refused = ErrorCode.PART_ID_MISSING
        elif orders.part_id == self._last_id:
            refused = ErrorCode.TRIGGER_REPEATED
        elif not ready:
            refused = ErrorCode.TRIGGER_NOT_READY
        if refused is not ErrorCode.NONE:
            self._miss(refused)
            return None
        self._phase, self._part_id, self._last_id = _Phase.BUSY, orders.part_id, orders.part_id
        self._trigger_ack, self._error, self._awaited = True, ErrorCode.NONE, None
        self._recipe_name = line.recipe_name
        self._triggered_s, self._give_up_s = now_s, now_s + self._timing.result_within_s
        return Fire(str(orders.part_id), orders.lot)

    def _miss(self, why: ErrorCode) -> None:
        self.missed += 1
        self._error = why

    def _show(self, now_s: float, result: PartResult, error: ErrorCode) -> None:
        self._phase, self._shown, self._shown_s, self._result_error = _Phase.VALID, result, now_s, error
        self._awaited = None
        self.sequence = (self.sequence + 1) & WORD

    def _forget_part(self) -> None:
        """Nothing is shown or waited for any more; the echoed id goes with the result."""
        self._phase, self._shown, self._result_error, self._ack_late = _Phase.IDLE, None, ErrorCode.NONE, False
        self._part_id, self._awaited = 0, None

    def _lose_plc(self) -> None:
        self.silences = (self.silences + 1) & WORD
        self._bits, self._heard_s, self._trigger_ack, self._last_id = None, None, False, 0
        if self._triggered:
            self._forget_part()

    def _waited_ms(self, now_s: float) -> int:
        return round(1000 * (now_s - self._triggered_s))

    def _ask_for_recipe(self, now_s: float, line: LineCondition, index: int) -> UseRecipe | None:
        if not self._recipes:
            self._error = ErrorCode.RECIPE_UNKNOWN
        elif self._phase is _Phase.BUSY or self._recipe is not None or line.recipe_changing:
            self._error = ErrorCode.RECIPE_CHANGING
        else:
            self._recipe = _RecipeWanted(index, now_s, line.recipe_failed)
            return UseRecipe(index)
        return None

    def _follow_recipe(self, now_s: float, line: LineCondition) -> None:
        """Forget a request once the counters show what became of it; until then the line is not ready."""
        wanted = self._recipe
        if wanted is None:
            return
        if line.recipe_changing:
            self._recipe = replace(wanted, taken_up=True)
            return
        loaded = line.recipe == wanted.index and not line.recipe_failed
        failed = line.recipe_failed and not wanted.failed_before
        if wanted.taken_up or loaded or failed or now_s - wanted.since_s > _RECIPE_TAKEN_UP_S:
            self._recipe = None

    def _recipe_error(self, line: LineCondition) -> ErrorCode:
        if self._recipe is not None or line.recipe_changing:
            return ErrorCode.RECIPE_CHANGING
        return ErrorCode.RECIPE_FAILED if line.recipe_failed else ErrorCode.NONE
