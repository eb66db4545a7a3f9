"""What a PLC sees of the box beside its own parts: whether it lives, and whether it keeps its word."""

from __future__ import annotations

from collections import Counter

from edge.core.datatypes import Decision
from edge.plant.plc.register_map import DECISION_NUMBERS, MAP_VERSION, RESULT_BITS, WORD, Inputs, Status

# a heartbeat that has not moved for so long is none: the PLC rejects
HEARTBEAT_WITHIN_S = 1.0
_ONE_OF = {
    Status.OK: DECISION_NUMBERS[Decision.OK],
    Status.NG: DECISION_NUMBERS[Decision.NG],
    Status.INVALID: DECISION_NUMBERS[Decision.INVALID],
}


class BoxWatch:
    """violations: what the box must never do, with how often. errors: how often each error code came up.

    missed: triggers that the box counted as missed; provoked: those that the PLC sent although the box was not ready
    for them. late: results of parts that had been decided without. wrong_ids: parts while which another part's result
    was shown. last: what was read last, None while the box does not answer.
    """

    def __init__(self) -> None:
        self.violations: Counter[str] = Counter()
        self.errors: Counter[int] = Counter()
        self.missed = self.provoked = self.late = self.wrong_ids = self.silences = 0
        self.last: Inputs | None = None
        self._moved_s: float | None = None
        self._asked: set[int] = set()
        self._decided: set[int] = set()
        self._shown: set[int] = set()

    def fresh(self, now_s: float) -> bool:
        """The heartbeat has moved within HEARTBEAT_WITHIN_S, in this connection."""
        return self._moved_s is not None and now_s - self._moved_s <= HEARTBEAT_WITHIN_S

    def asked(self, part_id: int) -> None:
        """A trigger goes out while the box is ready: one result is owed."""
        self._asked.add(part_id)
        # ids come again after 65535 parts
        self._shown.discard(part_id)
        self._decided.discard(part_id)

    def decided(self, part_id: int) -> None:
        self._decided.add(part_id)

    def violation(self, what: str) -> None:
        self.violations[what] += 1

    def note_wrong_id(self, *, provoked: bool) -> None:
        self.wrong_ids += 1
        if not provoked:
            self.violation("another part's result was shown after an accepted trigger")

    def lost(self) -> None:
        """The box does not answer: what comes afterwards has no before."""
        self.last, self._moved_s = None, None
        self._asked.clear()

    def look(self, now_s: float, inputs: Inputs) -> None:
        """Take what was read."""
        before, self.last = self.last, inputs
        self._check_whole(inputs)
        if inputs.error and (before is None or inputs.error != before.error):
            self.errors[inputs.error] += 1
        shown = Status.RESULT_VALID in inputs.status
        if before is None:
            # of the time before the connection; nobody waits for it
            self.late += shown
            return
        if inputs.heartbeat != before.heartbeat:
            self._moved_s = now_s
        self.missed += (inputs.missed_triggers - before.missed_triggers) & WORD
        self.silences += (inputs.silences - before.silences) & WORD
        if shown:
            self._check_result(before, inputs)

    def _check_whole(self, inputs: Inputs) -> None:
        bits = inputs.status & RESULT_BITS
        named = [number for bit, number in _ONE_OF.items() if bit in bits]
        good = named == [inputs.decision] if Status.RESULT_VALID in bits else not bits and inputs.decision == 0
        if not good:
            self.violation("the bits of a result contradict each other")
        if inputs.version != MAP_VERSION:
            self.violation(f"register 15 says map version {inputs.version}, and this program knows {MAP_VERSION}")

    def _check_result(self, before: Inputs, inputs: Inputs) -> None:
        if not inputs.part_id:
            # a line without triggers shows what it sees under no id: nobody may pass a part on it
            return
        was_shown = Status.RESULT_VALID in before.status
        if was_shown and inputs.sequence == before.sequence:
            if (inputs.part_id, inputs.decision) != (before.part_id, before.decision):
                self.violation("a result changed while it was shown")
            return
        if inputs.sequence != (before.sequence + 1) & WORD:
            self.violation("the sequence of results did not go on by one")
        part_id = inputs.part_id
        if part_id in self._shown:
            self.violation("a part's result was shown twice")
        elif part_id not in self._asked:
            self.violation("a result under an id that was not asked for")
        self.late += part_id in self._decided
        self._asked.discard(part_id)
        self._shown.add(part_id)
