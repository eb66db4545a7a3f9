"""What a simulated PLC saw, counted, and said in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np

from edge.plant.plc.register_map import ErrorCode
from edge.plant.plc.simulation.advice import advice, meaning
from edge.plant.plc.simulation.program import (
    NO_ANSWER,
    NOT_READY,
    STOOD_STILL,
    TIME_OUT,
    WRONG_ID,
    PartSeen,
    Slip,
)
from edge.plant.plc.simulation.watch import BoxWatch

_LEVELS = (50, 99, 99.9, 100)
# what the PLC itself provoked, and so must not be held against the box: rejects, and error codes
_PROVOKED = {Slip.NO_TRIGGER: (TIME_OUT,), Slip.TOO_EARLY: (TIME_OUT, WRONG_ID)}
_PROVOKES: dict[int, tuple[Slip, ...]] = {
    ErrorCode.TRIGGER_NOT_READY: (Slip.TOO_EARLY,),
    ErrorCode.ACK_TIMEOUT: (Slip.NO_ACK,),
    ErrorCode.TRIGGER_REPEATED: (Slip.BOUNCE, Slip.REPEAT),
}
_WORDS = {
    NO_ANSWER: "the box did not answer",
    NOT_READY: "READY never came",
    STOOD_STILL: "the heartbeat stood still",
    TIME_OUT: "no result in time",
    WRONG_ID: "another part's result was shown, and not its own",
}


class Seen:
    """on_part and on_outage are told as it happens; the rest reads. recipe_failed: it never became the active one."""

    def __init__(self, watch: BoxWatch) -> None:
        self.watch = watch
        self.parts = self.passed = self.outages = 0
        self.outage_s = 0.0
        self.recipe_failed = self.never_there = False
        self.rejects: Counter[str] = Counter()
        self.slips: Counter[Slip] = Counter()
        self.not_ready: Counter[int] = Counter()
        self.unprovoked: Counter[str] = Counter()
        self.last: PartSeen | None = None
        self._times_ms: list[float] = []

    def on_part(self, part: PartSeen) -> None:
        self.last = part
        self.parts += 1
        self.passed += part.passed
        self.slips[part.slip] += 1
        if part.why:
            self.rejects[part.why] += 1
        if part.why == NOT_READY and part.inputs is not None:
            self.not_ready[part.inputs.error] += 1
        if part.by_result and part.triggered_s is not None:
            self._times_ms.append(1000 * (part.decided_s - part.triggered_s))
        elif part.why not in _PROVOKED.get(part.slip, ()):
            self.unprovoked[part.why] += 1

    def on_outage(self, lasted_s: float) -> None:
        self.outages += 1
        self.outage_s += lasted_s

    @property
    def troubles(self) -> list[str]:
        """Why the handshake did not hold; empty where it did."""
        watch = self.watch
        found = [f"{what} (seen {count} x)" for what, count in sorted(watch.violations.items())]
        found += [
            f"{_WORDS.get(why, why)} ({count} of {self.parts} parts)" for why, count in sorted(self.unprovoked.items())
        ]
        if watch.missed > watch.provoked:
            found.append(f"the box missed {watch.missed} triggers, and {watch.provoked} were sent at a wrong moment")
        if self.outages:
            found.append(f"the box did not answer (seen {self.outages} x, {self.outage_s:.1f} s in all)")
        if self.recipe_failed:
            found.append("the recipe did not become the active one")
        if self.never_there:
            found.append("the box was never there")
        elif not self.parts:
            found.append("no part came")
        return found

    @property
    def held(self) -> bool:
        return not self.troubles

    def times_ms(self) -> dict[str, float]:
        """From the write of TRIGGER to the read that showed the result; empty without one."""
        if not self._times_ms:
            return {}
        values = np.percentile(self._times_ms, _LEVELS)
        return {_level(level): round(float(value), 2) for level, value in zip(_LEVELS, values, strict=True)}

    def advice(self) -> Iterator[str]:
        """What to do, one line for each code that kept the line from being ready or came up otherwise."""
        for code, count in sorted(self.not_ready.items()):
            why = meaning(code) if code else "no error code"
            todo = advice(code) if code or not self._times_ms else "the machine of the line may have too much to do"
            yield f"READY never came for {count} of {self.parts} parts: {why}. {_sentence(todo)}"
        for code, count in sorted(self.watch.errors.items()):
            if code not in self.not_ready and not self._provoked(code):
                yield f"{meaning(code)} (seen {count} x). {_sentence(advice(code))}"

    def _provoked(self, code: int) -> bool:
        return any(self.slips[slip] for slip in _PROVOKES.get(code, ()))

    def as_json(self) -> dict[str, Any]:
        watch = self.watch
        return {
            "held": self.held,
            "troubles": self.troubles,
            "violations": dict(sorted(watch.violations.items())),
            "parts": self.parts,
            "passed": self.passed,
            "rejected": dict(sorted(self.rejects.items())),
            "trigger_to_result_ms": self.times_ms(),
            "late_results": watch.late,
            "wrong_ids": watch.wrong_ids,
            "missed_triggers": watch.missed,
            "wrong_triggers_sent": watch.provoked,
            "outages": self.outages,
            "outage_s": round(self.outage_s, 3),
            "slips": {slip.value: self.slips[slip] for slip in Slip if self.slips[slip] and slip is not Slip.NONE},
            "error_codes": {str(code): count for code, count in sorted(watch.errors.items())},
            "advice": list(self.advice()),
        }

    def table(self) -> str:
        """The same for a person."""
        watch = self.watch
        rows = [("parts", str(self.parts)), ("passed", str(self.passed)), ("rejected", str(self.parts - self.passed))]
        rows += [(f"  {_WORDS.get(why, why)}", str(count)) for why, count in self.rejects.most_common()]
        rows += [
            ("results of parts that were decided before", str(watch.late)),
            ("parts that saw another part's result", str(watch.wrong_ids)),
            ("triggers that the box missed", f"{watch.missed} ({watch.provoked} were sent at a wrong moment)"),
        ]
        rows += [(f"done wrong on purpose: {slip.value}", str(self.slips[slip])) for slip in self._slips()]
        times = ", ".join(f"{name} {value:.1f} ms" for name, value in self.times_ms().items())
        rows.append(("trigger to result", times or "no result was read"))
        width = max(len(name) for name, _ in rows)
        lines = [f"{name:<{width}}  {value}" for name, value in rows]
        troubles = self.troubles
        lines.append("the handshake held" if not troubles else "the handshake did NOT hold:")
        lines += [f"  {trouble}" for trouble in troubles]
        advices = list(self.advice())
        return "\n".join([*lines, *(["what to do:"] if advices else []), *(f"  {each}" for each in advices)])

    def _slips(self) -> list[Slip]:
        return [slip for slip in Slip if slip is not Slip.NONE and self.slips[slip]]

    def line(self) -> str:
        """The state of now, on one line."""
        last, newest = self.last, ""
        if last is not None:
            became = "passed" if last.passed else f"rejected: {_WORDS.get(last.why, last.why)}"
            newest = f" | part {last.part_id} {became}"
        inputs = self.watch.last
        if inputs is None:
            now = "the box does not answer"
        else:
            bits = " ".join(bit.name or "" for bit in type(inputs.status) if bit in inputs.status)
            now = bits + (f" | {meaning(inputs.error)}" if inputs.error else "")
        return f"{self.parts} parts, {self.passed} passed, {self.parts - self.passed} rejected | {now}{newest}"


def _level(level: float) -> str:
    return "max" if level == 100 else f"p{level:g}"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
