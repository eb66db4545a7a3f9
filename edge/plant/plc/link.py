"""Between the line and its PLC: verdicts in, triggers and recipes out, and the registers that the server reads."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from edge.core.alarms import MONITORING, Alarm
from edge.core.config import Settings
from edge.core.counters import RunCounters, worth_a_line
from edge.core.datatypes import Decision, Frame, Verdict
from edge.monitoring.alarm_log import AlarmLog
from edge.plant.plc.condition import LineCondition, condition_of
from edge.plant.plc.handshake import Fire, Handshake, PartResult, Timing, UseRecipe
from edge.plant.plc.register_map import WORD, decode_orders, encode_inputs

if TYPE_CHECKING:
    from edge.plant.plc.server import ModbusServer

log = logging.getLogger("edge.plant")

# verdicts that wait for the server's thread; only where that does not run at all
_MOST_WAITING = 1024
# between two tries to get a port that could not be had
_AGAIN_S = 2.0
# a number for what has no limit in the settings
_NO_DEADLINE_MS = 1000

# number and lot of a part → the count of its trigger
FirePart = Callable[[str, str], int]


class PlcLink:
    """A sink, and the `Registers` of the Modbus server. Results go by `frame.part.trigger`.

    fire: asks for the picture of a part, and returns at once; None where nobody may (trigger.mode is not plc). Results
    are then shown as they come. use_recipe: asks for a recipe by its index, and returns at once; None without recipes.
    shown: told of each result as soon as the PLC can read it; None where nobody is. challenge_watched:
    `counters.ready_state` says whether the newest challenge counts. Where the port cannot be had, an alarm says so, and
    it is tried again.
    """

    def __init__(
        self,
        settings: Settings,
        counters: RunCounters,
        alarms: AlarmLog,
        fire: FirePart | None,
        use_recipe: Callable[[int], None] | None,
        shown: Callable[[Decision], None] | None = None,
        *,
        challenge_watched: bool = False,
    ) -> None:
        self._plc, self._counters, self._alarms = settings.plc, counters, alarms
        self._fire, self._use_recipe, self._shown = fire, use_recipe, shown
        self._challenge_watched = challenge_watched
        self._records_needed = not settings.plc.pass_unrecorded
        timing = Timing(
            self._plc.ack_timeout_ms / 1000, self._plc.silent_after_ms / 1000, result_within_ms(settings) / 1000
        )
        self._handshake = Handshake(
            timing, triggered=fire is not None, recipes=use_recipe is not None, now_s=time.monotonic()
        )
        self._waiting: deque[PartResult] = deque(maxlen=_MOST_WAITING)
        self._told = self._missed = self._silences = 0
        self._closing = threading.Event()
        self._server = self._serving()

    @property
    def port(self) -> int | None:
        """None while it cannot be had."""
        return None if self._server is None else self._server.port

    def write(self, frame: Frame, verdict: Verdict) -> None:
        if self._server is None:
            return
        self._waiting.append(part_result(frame, verdict))
        # whoever reads gets it by `read`; to wake the thread for it would cost more than the rest of this
        if self._shown is not None:
            self._server.wake()

    def follow(self, settings: Settings) -> None:
        """Another product comes from the next trigger on, with these settings; from any thread."""
        self._handshake.answer_within(result_within_ms(settings) / 1000)

    def close(self) -> None:
        """The connection ends, and the PLC rejects."""
        self._closing.set()
        if self._server is not None:
            self._server.close()

    # the server's thread

    @property
    def heard(self) -> bool:
        return self._handshake.heard

    def tick(self) -> None:
        line = self._line()
        while self._waiting:
            self._handshake.result(time.monotonic(), line, self._waiting.popleft())
            self._tell_shown()
        self._handshake.tick(time.monotonic(), line)
        self._tell_shown()
        self._note_counts()

    def read(self) -> Sequence[int]:
        self.tick()
        return encode_inputs(self._handshake.inputs(self._line()))

    def written(self, words: Sequence[int]) -> None:
        self.tick()
        action = self._handshake.write(time.monotonic(), self._line(), decode_orders(words))
        if isinstance(action, Fire):
            self._handshake.fired(self._fired(action))
        elif isinstance(action, UseRecipe):
            self._ask_for_recipe(action)
        self._note_counts()

    def lost(self) -> None:
        self._handshake.lost()
        self._note_counts()

    def _line(self) -> LineCondition:
        return condition_of(
            self._counters, challenge_watched=self._challenge_watched, records_needed=self._records_needed
        )

    def _tell_shown(self) -> None:
        decision = self._handshake.decision
        if self._shown is not None and self._told != self._handshake.sequence and decision is not None:
            self._told = self._handshake.sequence
            self._shown(decision)

    def _note_counts(self) -> None:
        handshake = self._handshake
        if handshake.missed != self._missed:
            self._missed = self._counters.missed_triggers = handshake.missed
            if worth_a_line(handshake.missed):
                error = self._handshake.inputs(self._line()).error
                log.warning("PLC: a trigger brought no picture, error %d (%d so far)", error, handshake.missed)
        if handshake.silences != self._silences:
            self._silences = handshake.silences
            if worth_a_line(handshake.silences):
                log.warning(
                    "PLC: it is silent or has gone, and is not waited for (%d times so far)", handshake.silences
                )

    def _fired(self, part: Fire) -> int | None:
        assert self._fire is not None
        try:
            return self._fire(part.number, part.lot)
        # the part is INVALID, and the server goes on
        except Exception:
            log.exception("PLC: part %s could not be asked for", part.number)
            return None

    def _ask_for_recipe(self, wanted: UseRecipe) -> None:
        assert self._use_recipe is not None
        try:
            self._use_recipe(wanted.index)
            self._handshake.asked()
        # the counters show that no recipe was changed
        except Exception:
            log.exception("PLC: recipe %d could not be asked for", wanted.index)

    def _serving(self) -> ModbusServer | None:
        # half a second of imports
        from edge.plant.plc.server import ModbusServer

        plc = self._plc
        assert plc.port is not None
        try:
            return ModbusServer(plc.address, plc.port, plc.networks, self, self._ended)
        except OSError as error:
            # Python adds the address, which is named already
            why = (error.strerror or str(error)).partition(" (while")[0]
            alarm = self._no_plc(
                why, "it is tried again; if that does not help, change plc.port or plc.address, and restart"
            )
            threading.Thread(target=self._try_again, args=(alarm,), name="plc again", daemon=True).start()
            return None

    def _try_again(self, alarm: Alarm) -> None:
        """After a power cut the box may be there before its network is, or before whoever held the port has ended."""
        from edge.plant.plc.server import ModbusServer

        plc = self._plc
        assert plc.port is not None
        while not self._closing.wait(_AGAIN_S):
            with suppress(OSError):
                self._server = ModbusServer(plc.address, plc.port, plc.networks, self, self._ended)
                self._alarms.end(alarm)
                if self._closing.is_set():
                    self._server.close()
                return

    def _ended(self, why: str) -> None:
        self._no_plc(why, "restart edge-inspect, and report what the log says")

    def _no_plc(self, why: str, advice: str) -> Alarm:
        no_part = "; no part can be asked for" if self._fire is not None else ""
        what = f"no PLC at {self._plc.address}, port {self._plc.port}: {why}{no_part}"
        return self._alarms.begin(MONITORING, what, advice)


def result_within_ms(settings: Settings) -> float:
    """The longest time from a trigger to its result: to look for a picture, and to judge it."""
    trigger, deadline_ms = settings.trigger, settings.inspection.deadline_ms or _NO_DEADLINE_MS
    return trigger.settle_ms + trigger.frame_timeout_ms + deadline_ms


def part_result(frame: Frame, verdict: Verdict) -> PartResult:
    """What a PLC is told of a verdict, without its map."""
    score = 0.0 if verdict.score is None else verdict.score
    share = score / verdict.threshold if verdict.threshold > 0 else (WORD if score > verdict.threshold else 1.0)
    return PartResult(
        trigger=None if frame.part is None else frame.part.trigger,
        decision=verdict.decision,
        reason=verdict.reason,
        review=verdict.review,
        score_per_mille=0 if verdict.score is None else round(1000 * min(share, WORD)),
        regions=len(verdict.regions),
        latency_ms=round(verdict.times.total),
        frame_index=verdict.frame_index,
        recipe=verdict.recipe,
    )
