"""The simulated PLC against the handshake of the box, both pure, in a time that only the test moves."""

import random
from dataclasses import replace

import pytest

from edge.core.datatypes import Decision, Reason
from edge.plant.plc.condition import LineCondition
from edge.plant.plc.handshake import Fire, Handshake, PartResult, Timing, UseRecipe
from edge.plant.plc.register_map import ErrorCode, Status
from edge.plant.plc.simulation.advice import advice, meaning
from edge.plant.plc.simulation.program import NO_ANSWER, NOT_READY, STOOD_STILL, TIME_OUT, Habits, PlcProgram, Slip
from edge.plant.plc.simulation.seen import Seen
from edge.plant.plc.simulation.watch import BoxWatch

GOOD = LineCondition(True, ErrorCode.NONE, Status(0))
REASONS = {
    Decision.OK: Reason.BELOW_THRESHOLD, Decision.NG: Reason.ABOVE_THRESHOLD, Decision.INVALID: Reason.NO_FRAME,
}  # fmt: skip
SCAN_S = 0.01


class Table:
    """PLC and box at one table. A part's truth is drawn when its trigger is accepted, and known by its id.

    after: changes what the PLC reads, for a box that breaks its word. silent: the box does not answer.
    """

    def __init__(self, habits, parts=300, seed=1, inspection_s=0.02, after=lambda inputs: inputs, **more):
        self.now, self.line, self.after, self.silent = 1000.0, GOOD, after, False
        self.random, self.inspection_s = random.Random(seed), inspection_s
        self.box = Handshake(Timing(0.3, 1.0, 3.0), triggered=True, recipes=True, now_s=self.now)
        self.watch, self.parts, self.truth = BoxWatch(), [], {}
        self.seen = Seen(self.watch)
        self.program = PlcProgram(habits, self.watch, self.note, parts=parts, seed=seed, **more)
        self.under_way, self.count, self.recipes = [], 0, []

    def note(self, part):
        self.parts.append(part)
        self.seen.on_part(part)

    def round(self):
        self.now += SCAN_S
        while self.under_way and self.under_way[0][0] <= self.now:
            self.box.result(self.now, self.line, self.under_way.pop(0)[1])
        self.box.tick(self.now, self.line)
        if self.silent:
            self.program.scan(self.now, None)
            return
        orders = self.program.scan(self.now, self.after(self.box.inputs(self.line)))
        action = self.box.write(self.now, self.line, orders)
        if isinstance(action, UseRecipe):
            self.recipes.append(action.index)
        if isinstance(action, Fire):
            self.count += 1
            self.box.fired(self.count)
            decision = self.random.choice(list(Decision))
            assert orders.part_id not in self.truth
            self.truth[orders.part_id] = decision
            if self.inspection_s is not None:
                due_s = self.now + self.inspection_s * self.random.uniform(0.1, 2.0)
                self.under_way.append((due_s, PartResult(self.count, decision, REASONS[decision])))

    def run(self, seconds=10_000.0):
        end = self.now + seconds
        while not self.program.finished and self.now < end:
            self.round()
        return self.seen


def test_a_plc_that_behaves_gets_the_result_of_each_part():
    table = Table(Habits(ack_delay_s=(0.0, 0.1)))
    seen = table.run()
    assert seen.held, seen.table()
    assert len(table.parts) == len(table.truth) == 300
    for part in table.parts:
        assert part.passed == (table.truth[part.part_id] is Decision.OK)
    assert seen.rejects["NG"] == sum(each is Decision.NG for each in table.truth.values())
    assert seen.rejects["INVALID: no frame"] == sum(each is Decision.INVALID for each in table.truth.values())
    assert table.watch.missed == table.watch.provoked == 0


@pytest.mark.parametrize("seed", range(4))
def test_no_slip_of_the_plc_passes_a_part_that_is_not_good_and_the_handshake_holds(seed):
    table = Table(Habits(ack_delay_s=(0.0, 0.05), drop=0.1, double=0.1), parts=1000, seed=seed)
    seen = table.run()
    assert seen.held, seen.table()
    assert len(table.parts) == 1000
    for part in table.parts:
        assert not part.passed or table.truth[part.part_id] is Decision.OK
        asked = part.slip not in (Slip.NO_TRIGGER, Slip.TOO_EARLY)
        assert (part.part_id in table.truth) == asked
        if asked:
            assert part.passed == (table.truth[part.part_id] is Decision.OK)
    # each kind of slip came
    assert min(seen.slips[slip] for slip in Slip) > 10
    assert table.watch.missed == table.watch.provoked > 50
    assert table.watch.wrong_ids > 10


def test_parts_come_at_their_rate():
    table = Table(Habits(period_s=0.5), parts=20)
    table.run()
    gaps = [after.came_s - before.came_s for before, after in zip(table.parts, table.parts[1:], strict=False)]
    assert min(gaps) > 0.45 and max(gaps) < 0.55


def rejects_all_with(table, why):
    seen = table.run()
    assert seen.passed == 0 and seen.parts > 0
    assert set(seen.rejects) == {why}
    assert not seen.held
    return seen


def test_a_line_that_is_not_ready_is_told_with_its_code_and_what_to_do():
    table = Table(Habits(), parts=3)
    table.line = replace(GOOD, recipe_failed=True)
    seen = rejects_all_with(table, NOT_READY)
    assert "READY never came for 3 of 3 parts: code 301: the recipe did not load." in seen.table()
    assert seen.as_json()["held"] is False


def test_a_good_part_that_the_box_refuses_is_told_with_the_reason_of_the_box():
    table = Table(Habits(), parts=1, inspection_s=0.2)
    while not table.under_way:
        table.round()
    table.under_way = [(due_s, replace(result, decision=Decision.OK)) for due_s, result in table.under_way]
    table.line = replace(GOOD, error=ErrorCode.NOT_RECORDED)
    table.run(seconds=2.0)
    (part,) = table.parts
    assert part.why == f"INVALID: {meaning(ErrorCode.NOT_RECORDED)}"


def test_a_model_that_hangs_is_a_time_out_and_its_late_result_is_no_part():
    table = Table(Habits(), parts=4, inspection_s=None)
    seen = table.run()
    assert seen.passed == 0
    assert seen.rejects[TIME_OUT] > 0
    assert table.watch.late > 0
    assert "no result in time" in seen.table()
    assert "rejected" in seen.line() and "RECIPE_OK" in seen.line()


def test_a_heartbeat_that_stands_still_passes_nothing_within_a_second():
    table = Table(Habits(period_s=0.1), parts=None)
    table.run(seconds=5.0)
    passed = table.seen.passed
    assert passed > 5
    heartbeat = table.watch.last.heartbeat
    table.after = lambda inputs: replace(inputs, heartbeat=heartbeat)
    stopped = table.now
    table.run(seconds=5.0)
    later = [part for part in table.parts if part.passed and part.decided_s > stopped + 1.0]
    assert later == []
    assert table.seen.rejects[NOT_READY] > 0


def test_a_box_that_does_not_answer_rejects_the_part_at_once_and_the_line_goes_on_afterwards():
    table = Table(Habits(), parts=None, inspection_s=0.5)
    while not table.under_way:
        table.round()
    table.silent = True
    table.round()
    assert table.parts[-1].why == NO_ANSWER
    table.run(seconds=3.0)
    assert table.seen.passed == 0
    table.silent = False
    table.inspection_s = 0.02
    table.run(seconds=10.0)
    assert table.seen.passed > 10
    assert not table.watch.violations


BROKEN = [
    ({"part_id": 4711}, "under an id that was not asked for"),
    ({"decision": 2}, "contradict"),
    ({"status": Status.RESULT_VALID | Status.OK | Status.NG}, "contradict"),
    ({"version": 9}, "map version 9"),
    ({"sequence": 77}, "did not go on by one"),
]


@pytest.mark.parametrize(("lie", "told"), BROKEN)
def test_a_box_that_breaks_its_word_is_told(lie, told):
    def after(inputs):
        wrong = Status.RESULT_VALID in inputs.status and Status.OK in inputs.status
        return replace(inputs, **lie) if wrong else inputs

    table = Table(Habits(), parts=30, after=after)
    seen = table.run(seconds=100.0)
    assert told in seen.table()
    assert not seen.held


def test_an_ok_under_bypass_is_a_reject():
    def after(inputs):
        return replace(inputs, status=inputs.status | Status.BYPASS)

    seen = Table(Habits(), parts=30, after=after).run()
    assert seen.passed == 0 and seen.rejects["BYPASS"] == 30


def asked_for_recipe(parts=2):
    table = Table(Habits(), parts=parts, recipe=7)
    while not table.recipes:
        table.round()
    assert table.recipes == [7] and table.parts == []
    return table


def test_a_recipe_is_asked_for_before_the_first_part():
    table = asked_for_recipe()
    table.line = replace(GOOD, recipe=0, recipe_changing=True)
    for _ in range(20):
        table.round()
    assert table.parts == []
    table.line = replace(GOOD, recipe=7)
    assert table.run().held
    assert table.recipes == [7] and len(table.parts) == 2


def test_a_recipe_that_fails_ends_the_run():
    table = asked_for_recipe()
    table.line = replace(GOOD, recipe_failed=True)
    table.run(seconds=5.0)
    assert table.program.recipe_failed
    assert table.parts == [] and "code 301: the recipe did not load" in "".join(table.seen.advice())


def test_the_reason_still_for_a_part_whose_heartbeat_stops_in_the_middle():
    table = Table(Habits(timeout_s=5.0), parts=1, inspection_s=3.0)
    while not table.under_way:
        table.round()
    heartbeat = table.watch.last.heartbeat
    table.after = lambda inputs: replace(inputs, heartbeat=heartbeat)
    table.run(seconds=4.0)
    (part,) = table.parts
    assert part.why == STOOD_STILL
    assert part.decided_s - part.triggered_s < 1.2


def test_every_error_code_has_its_meaning_and_an_advice():
    for code in ErrorCode:
        if code:
            assert "does not know it" not in meaning(code)
            assert advice(code)
    assert meaning(999) == "code 999: this program does not know it"
