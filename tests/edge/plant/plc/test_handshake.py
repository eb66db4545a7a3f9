"""The handshake, case by case, and in thousands of random orders: an OK only under the id whose part was found good."""

import random
from dataclasses import replace

import pytest

from edge.core.datatypes import Decision, Reason
from edge.plant.plc.condition import LineCondition
from edge.plant.plc.handshake import Fire, Handshake, PartResult, Timing, UseRecipe
from edge.plant.plc.register_map import RESULT_BITS, WORD, ErrorCode, Order, Orders, Status

T, A, R, F = Order.TRIGGER, Order.RESULT_ACK, Order.RECIPE_REQUEST, Order.FAULT_RESET
NOTHING = Order(0)
GOOD = LineCondition(True, ErrorCode.NONE, Status(0), recipe=1)
REASONS = {
    Decision.OK: Reason.BELOW_THRESHOLD, Decision.NG: Reason.ABOVE_THRESHOLD, Decision.INVALID: Reason.MODEL_ERROR,
}  # fmt: skip


class Talk:
    """A PLC that writes what it is told, a line that answers triggers, and a clock that only `wait` moves."""

    def __init__(self, *, triggered=True, recipes=True):
        self.now, self.line, self.heartbeat, self.count = 100.0, GOOD, 0, 0
        self.box = Handshake(Timing(2.0, 1.0, 3.0), triggered=triggered, recipes=recipes, now_s=self.now)

    def wait(self, seconds, *, heartbeat=False):
        self.now += seconds
        self.box.tick(self.now, self.line)
        if heartbeat:
            self.write(self.bits)

    def write(self, bits, part=0, recipe=0, lot="", *, beat=True):
        self.bits = bits
        self.heartbeat = (self.heartbeat + beat) & WORD
        action = self.box.write(self.now, self.line, Orders(bits, part, recipe, self.heartbeat, lot))
        if isinstance(action, Fire):
            self.count += 1
            self.box.fired(self.count)
        return action

    def part(self, part):
        """Trigger it as the drawing says."""
        self.write(NOTHING)
        return self.write(T, part)

    def result(self, decision=Decision.OK, trigger=None, **more):
        result = PartResult(trigger or self.count, decision, REASONS[decision], **more)
        self.box.result(self.now, self.line, result)

    def read(self):
        self.box.tick(self.now, self.line)
        return self.box.inputs(self.line)

    def has(self, *names):
        """Whether exactly these of the bits of the handshake are set."""
        hand = Status.READY | Status.BUSY | Status.TRIGGER_ACK | RESULT_BITS
        return {bit for bit in Status if bit & hand & self.read().status} == {Status[name] for name in names}


@pytest.fixture
def talk():
    talk = Talk()
    talk.write(NOTHING)
    return talk


def test_a_part_goes_through_the_drawing(talk):
    assert talk.has("READY")
    assert talk.write(T, 7, lot="L1") == Fire("7", "L1")
    assert talk.has("BUSY", "TRIGGER_ACK")
    talk.result(review=True, score_per_mille=931, regions=2, latency_ms=12, frame_index=70000)
    assert talk.has("RESULT_VALID", "OK", "REVIEW", "TRIGGER_ACK")
    shown = talk.read()
    assert (shown.part_id, shown.sequence, shown.decision, shown.reason, shown.error) == (7, 1, 1, 1, 0)
    assert (shown.score_per_mille, shown.regions, shown.latency_ms, shown.frame_index) == (931, 2, 12, 70000)
    assert shown.passes(7) and not shown.passes(8)
    talk.write(NOTHING, 7)
    assert talk.has("RESULT_VALID", "OK", "REVIEW")
    talk.write(A, 7)
    assert talk.has("READY")
    after = talk.read()
    assert (after.part_id, after.decision, after.reason, after.score_per_mille) == (0, 0, 0, 0)
    assert talk.write(T, 8) == Fire("8", "")


@pytest.mark.parametrize(
    ("decision", "bit", "code", "error"), [("NG", Status.NG, 2, 0), ("INVALID", Status.INVALID, 3, 210)]
)
def test_a_part_that_is_not_good_never_has_the_bit_ok(talk, decision, bit, code, error):
    talk.part(7)
    talk.result(Decision(decision))
    shown = talk.read()
    assert shown.status & RESULT_BITS == Status.RESULT_VALID | bit
    assert (shown.decision, shown.error, bool(shown.status & Status.FAULT)) == (code, error, bool(error))
    assert not shown.passes(7)


def test_the_plc_may_end_its_trigger_before_the_result(talk):
    talk.part(7)
    talk.write(NOTHING)
    assert talk.has("BUSY")
    talk.result()
    assert talk.has("RESULT_VALID", "OK")


def test_acknowledge_with_the_trigger_still_up_makes_ready_only_after_it_is_down(talk):
    talk.part(7)
    talk.result()
    talk.write(T | A, 7)
    assert talk.has("TRIGGER_ACK")
    talk.write(NOTHING)
    assert talk.has("READY")


def test_acknowledge_that_stood_before_the_result_takes_nothing(talk):
    talk.part(7)
    talk.write(T | A, 7)
    talk.result()
    talk.write(A, 7)
    assert talk.has("RESULT_VALID", "OK")


@pytest.mark.parametrize("moment", ["busy", "valid", "stopped"])
def test_a_trigger_while_not_ready_is_missed_and_changes_nothing_else(talk, moment):
    if moment == "stopped":
        talk.line = replace(GOOD, error=ErrorCode.CHALLENGE_NOT_PASSED)
    else:
        talk.part(7)
        if moment == "valid":
            talk.result()
        talk.write(NOTHING)
    assert talk.write(T, 8) is None
    assert talk.box.missed == talk.read().missed_triggers == 1
    if moment == "valid":
        assert talk.read().passes(7) and not talk.read().passes(8)
    assert talk.read().error == (ErrorCode.CHALLENGE_NOT_PASSED if moment == "stopped" else ErrorCode.TRIGGER_NOT_READY)


def test_ready_must_have_been_up_before_the_trigger(talk):
    talk.part(7)
    talk.result()
    talk.write(NOTHING)
    # both in one write: the PLC cannot have seen READY
    assert talk.write(T | A, 8) is None
    assert talk.box.missed == 1


def test_the_same_id_again_is_no_new_part(talk):
    talk.part(7)
    talk.write(NOTHING)
    assert talk.write(T, 7) is None
    assert talk.read().error == ErrorCode.TRIGGER_REPEATED
    talk.result()
    talk.write(A)
    talk.write(NOTHING)
    assert talk.write(T, 7) is None
    assert (talk.box.missed, talk.box.sequence) == (2, 1)
    talk.write(NOTHING)
    assert talk.write(T, 6) == Fire("6", "")


def test_id_0_is_none_and_ids_wrap_past_it(talk):
    assert talk.part(WORD) == Fire("65535", "")
    talk.result()
    assert talk.read().passes(WORD)
    talk.write(A)
    assert talk.part(0) is None
    assert talk.read().error == ErrorCode.PART_ID_MISSING
    assert talk.part(1) == Fire("1", "")


def test_a_result_of_another_trigger_is_never_shown(talk):
    talk.part(7)
    talk.result(trigger=99)
    assert talk.has("BUSY", "TRIGGER_ACK") and talk.box.unexpected == 1
    talk.box.result(talk.now, GOOD, PartResult(None, Decision.OK, Reason.BELOW_THRESHOLD))
    assert talk.has("BUSY", "TRIGGER_ACK")
    talk.result(Decision.NG)
    talk.result(Decision.OK)
    assert talk.has("RESULT_VALID", "NG", "TRIGGER_ACK") and talk.box.sequence == 1


def test_no_verdict_in_time_is_invalid_and_a_later_one_is_dropped(talk):
    talk.part(7)
    for _ in range(6):
        talk.wait(0.5, heartbeat=True)
    shown = talk.read()
    assert talk.has("RESULT_VALID", "INVALID", "TRIGGER_ACK")
    assert (shown.part_id, shown.reason, shown.error) == (7, 31, ErrorCode.NO_VERDICT)
    talk.result()
    assert talk.has("RESULT_VALID", "INVALID", "TRIGGER_ACK") and talk.box.unexpected == 1


def test_where_no_picture_can_be_asked_for_the_part_is_invalid_at_once(talk):
    talk.write(NOTHING)
    talk.box.write(talk.now, GOOD, Orders(T, 7, 0, 99))
    talk.box.fired(None)
    assert talk.has("RESULT_VALID", "INVALID", "TRIGGER_ACK")


def test_a_result_that_nobody_takes_is_held_and_the_line_is_not_ready(talk):
    talk.part(7)
    talk.result()
    talk.write(NOTHING, 7)
    for _ in range(5):
        talk.wait(0.5, heartbeat=True)
    shown = talk.read()
    assert shown.error == ErrorCode.ACK_TIMEOUT and shown.status & Status.FAULT
    assert shown.passes(7) and not shown.status & Status.READY
    talk.write(A, 7)
    assert talk.has("READY") and talk.read().error == ErrorCode.ACK_TIMEOUT
    talk.write(F)
    assert talk.read().error == 0


def test_a_fault_reset_lets_go_of_a_result_that_nobody_took(talk):
    talk.part(7)
    talk.result()
    talk.write(F)
    assert talk.has("RESULT_VALID", "OK"), "only after its time"
    talk.write(NOTHING)
    for _ in range(5):
        talk.wait(0.5, heartbeat=True)
    talk.write(F)
    assert talk.has("READY") and talk.read().error == 0


@pytest.mark.parametrize("how", ["silent", "away"])
def test_a_plc_that_is_lost_finds_nothing_of_before(talk, how):
    talk.part(7)
    talk.result()
    if how == "silent":
        # it writes, but its heartbeat stands
        for _ in range(3):
            talk.wait(0.4)
            talk.write(T, 7, beat=False)
    else:
        talk.box.lost()
    assert talk.has() and talk.read().silences == 1 and talk.read().part_id == 0
    # the trigger that stands is no edge, and the line is ready only when it is down
    assert talk.write(T, 7) is None
    assert talk.has() and talk.box.missed == 0
    talk.write(NOTHING)
    assert talk.has("READY")
    assert talk.write(T, 7) == Fire("7", "")
    talk.result()
    assert talk.read().passes(7)


def test_a_part_that_was_judged_while_the_plc_was_away_is_never_shown(talk):
    talk.part(7)
    talk.box.lost()
    talk.write(NOTHING)
    talk.result()
    assert talk.has("READY") and talk.box.unexpected == 1
    talk.write(T, 8)
    talk.result(trigger=talk.count - 1)
    assert talk.has("BUSY", "TRIGGER_ACK")


def test_a_plc_whose_heartbeat_stands_is_not_heard_by_writing(talk):
    talk.wait(1.1)
    assert talk.read().error == ErrorCode.PLC_SILENT
    talk.write(NOTHING, beat=False)
    assert talk.has()
    talk.write(NOTHING)
    assert talk.has("READY") and talk.read().error == 0


def test_before_any_plc_has_written_nothing_is_ready_and_nothing_is_silent():
    talk = Talk()
    talk.wait(10)
    assert talk.has() and talk.read().silences == 0 and talk.read().error == 0
    talk.box.lost()
    assert talk.read().silences == 0


def test_the_heartbeat_moves_only_while_the_loop_beats(talk):
    before = talk.read().heartbeat
    for _ in range(10):
        talk.wait(0.03, heartbeat=True)
    assert talk.read().heartbeat - before == 3
    talk.line = replace(GOOD, beats=False, error=ErrorCode.LOOP_HANGS)
    talk.wait(5)
    assert talk.read().heartbeat - before == 3 and talk.read().error == ErrorCode.LOOP_HANGS


def test_a_recipe_is_asked_for_and_ready_stays_down_until_it_is_loaded(talk):
    assert talk.write(R, recipe=2) == UseRecipe(2)
    assert talk.read().error == ErrorCode.RECIPE_CHANGING and not talk.read().status & Status.RECIPE_OK
    assert talk.write(NOTHING) is None and talk.write(R, recipe=3) is None, "one at a time"
    assert talk.part(7) is None and talk.box.missed == 1
    talk.line = replace(GOOD, recipe_changing=True)
    talk.wait(0.3, heartbeat=True)
    assert not talk.read().status & (Status.RECIPE_OK | Status.READY)
    talk.line = replace(GOOD, recipe=2)
    talk.write(NOTHING)
    assert talk.has("READY") and talk.read().recipe == 2 and talk.read().status & Status.RECIPE_OK


def test_a_recipe_that_cannot_be_loaded_stops_the_line_until_one_can(talk):
    talk.write(R, recipe=9)
    talk.line = replace(GOOD, recipe_failed=True)
    talk.write(NOTHING)
    shown = talk.read()
    assert talk.has() and shown.error == ErrorCode.RECIPE_FAILED and shown.recipe == 1
    assert not shown.status & Status.RECIPE_OK
    assert talk.write(R, recipe=1) == UseRecipe(1)
    talk.line = GOOD
    talk.write(NOTHING)
    assert talk.has("READY")


def test_a_request_that_nobody_takes_up_does_not_stop_the_line_for_ever(talk):
    talk.write(R, recipe=2)
    talk.write(NOTHING)
    for _ in range(5):
        talk.wait(0.5, heartbeat=True)
    assert talk.has("READY") and talk.read().recipe == 1


def test_no_recipe_is_changed_under_a_part_that_is_judged(talk):
    talk.part(7)
    assert talk.write(T | R, 7, recipe=2) is None
    assert talk.read().error == ErrorCode.RECIPE_CHANGING


def test_a_trigger_in_the_same_write_as_a_recipe_is_missed(talk):
    assert talk.write(T | R, 7, recipe=2) == UseRecipe(2)
    assert talk.box.missed == 1 and talk.has()
    talk.line = replace(GOOD, recipe=2)
    assert talk.write(T, 7) is None, "the trigger still stands"
    assert talk.read().error == ErrorCode.TRIGGER_NOT_READY
    assert talk.part(7) == Fire("7", "")


@pytest.mark.parametrize("decision", [Decision.OK, Decision.NG])
def test_a_part_judged_by_another_recipe_than_that_of_its_trigger_is_invalid(talk, decision):
    talk.line = replace(GOOD, recipe_name="plate")
    talk.part(7)
    talk.line = replace(GOOD, recipe=2, recipe_name="gear")
    talk.result(decision, recipe="gear", review=True, score_per_mille=300, regions=1)
    assert talk.has("RESULT_VALID", "INVALID", "TRIGGER_ACK")
    shown = talk.read()
    assert (shown.part_id, shown.decision, shown.reason, shown.error) == (7, 3, 0, ErrorCode.RECIPE_CHANGING)
    assert not shown.passes(7)
    talk.write(A, 7)
    talk.part(8)
    talk.result(recipe="gear")
    assert talk.read().passes(8)


@pytest.mark.parametrize(
    ("error", "passes"),
    [(ErrorCode.NOT_RECORDED, False), (ErrorCode.CAMERA_NOT_RUNNING, True), (ErrorCode.CHALLENGE_NOT_PASSED, True)],
)
def test_a_good_part_that_cannot_be_recorded_is_invalid_and_one_whose_picture_was_there_is_good(talk, error, passes):
    talk.part(7)
    talk.line = replace(GOOD, error=error)
    talk.result(score_per_mille=300)
    shown = talk.read()
    assert shown.passes(7) == passes and shown.error == error
    assert passes or (shown.decision, shown.reason, shown.score_per_mille) == (3, 0, 0)


def test_a_line_without_recipes_says_so():
    talk = Talk(recipes=False)
    talk.write(NOTHING)
    assert talk.write(R, recipe=2) is None
    assert talk.read().error == ErrorCode.RECIPE_UNKNOWN and talk.has("READY")


def test_a_line_that_no_plc_triggers_shows_its_newest_verdict_without_an_id():
    talk = Talk(triggered=False)
    talk.result(trigger=None)
    first = talk.read()
    assert first.status & RESULT_BITS == Status.RESULT_VALID | Status.OK
    assert (first.part_id, first.sequence, first.silences) == (0, 1, 0)
    assert not any(first.passes(part) for part in range(100)), "no part of a PLC passes by it"
    talk.result(Decision.NG)
    assert talk.read().decision == 2 and talk.read().sequence == 2
    talk.write(NOTHING)
    assert talk.write(T, 5) is None and talk.box.missed == 1
    talk.write(A)
    talk.wait(60)
    assert talk.read().decision == 2, "nobody takes it, and nobody needs to"
    talk.line = replace(GOOD, beats=False)
    assert talk.read().decision == 0, "a loop that hangs shows nothing"


def test_a_random_walk_never_shows_an_ok_of_another_part():
    """Against a record of what was fired and found, kept apart from the machine."""
    rng, good = random.Random(19), 0
    for _ in range(100):
        talk = Talk()
        fired, judged, sequence_of, waiting = {}, {}, {}, []
        for _ in range(300):
            step = rng.random()
            if step < 0.45:
                bits = Order(rng.getrandbits(4)) if rng.random() < 0.5 else rng.choice([NOTHING, T, A])
                part = rng.choice([0, 1, 2, 3, WORD, rng.getrandbits(16)])
                if isinstance(talk.write(bits, part, rng.randrange(3), beat=rng.random() < 0.9), Fire):
                    fired[talk.count] = part
                    waiting.append(talk.count)
            elif step < 0.75 and waiting:
                # verdicts come late, twice, in another order, or never
                trigger = rng.choice(waiting)
                decision = judged.setdefault(trigger, rng.choice(list(Decision)))
                talk.result(decision, trigger)
            elif step < 0.77:
                talk.box.lost()
            elif step < 0.85:
                talk.line = rng.choice([
                    *[GOOD] * 8, replace(GOOD, beats=False, error=ErrorCode.LOOP_HANGS), replace(GOOD, recipe=2),
                    replace(GOOD, recipe_failed=True), replace(GOOD, recipe_changing=True),
                ])  # fmt: skip
            else:
                talk.wait(rng.choice([0.01, 0.01, 0.01, 0.1, 0.1, 0.2, 0.6, 1.1, 3.1]))
            shown = talk.read()
            bits = shown.status & RESULT_BITS
            if not bits:
                assert (shown.decision, shown.reason) == (0, 0)
                continue
            assert Status.RESULT_VALID in bits and shown.part_id != 0
            newest = max(fired)
            # the part in hand is the newest that was fired, and each has one result at most
            assert shown.part_id == fired[newest]
            assert sequence_of.setdefault(newest, shown.sequence) == shown.sequence
            if Status.OK in bits or shown.decision == 1:
                assert bits & ~Status.REVIEW == Status.RESULT_VALID | Status.OK and shown.decision == 1
                assert judged[newest] is Decision.OK
                good += 1
            assert not shown.status & (Status.READY | Status.BUSY)
        assert len(set(sequence_of.values())) == len(sequence_of)
    assert good > 300, "the walk comes to good parts, too"
