"""Registers that programs of PLCs know: their numbers, and that both sides read what the other wrote."""

import random

import pytest

from edge.core.datatypes import Reason
from edge.plant.plc.register_map import (
    INPUTS,
    LOT_CHARACTERS,
    ORDERS,
    WORD,
    ErrorCode,
    Inputs,
    Order,
    Orders,
    Status,
    decode_inputs,
    decode_orders,
    encode_inputs,
    encode_orders,
    error_of,
    reason_number,
    reason_word,
)

# as version 1 of the map was delivered: no number may change, and none may come back with another meaning
DELIVERED = {
    "below_threshold": (1, 0), "above_threshold": (2, 0), "no_frame": (10, 110), "frozen": (11, 111),
    "stale": (12, 112), "black": (13, 113), "saturated": (14, 114), "wrong_size": (15, 115),
    "undecodable": (16, 116), "overrun": (17, 117), "incomplete": (18, 118), "missed_frame": (19, 119),
    "part_not_found": (20, 120), "part_moving": (21, 121), "model_error": (30, 210), "deadline_missed": (31, 211),
    "no_reference": (32, 212),
}  # fmt: skip


def test_every_reason_has_its_number_and_its_error_which_never_change():
    found = {str(reason): (reason_number(reason), int(error_of(reason))) for reason in Reason}
    assert found == {word: DELIVERED[word] for word in found}
    assert all(reason_word(reason_number(reason)) == str(reason) for reason in Reason)
    assert reason_word(0) == "" and reason_word(98) == "98"


def test_the_numbers_of_errors_and_bits_never_change():
    assert {error.name: int(error) for error in ErrorCode if int(error) % 100 < 10 or error >= 400} == {
        "NONE": 0, "CAMERA_NOT_RUNNING": 101, "NO_PICTURE_YET": 102, "LOOP_HANGS": 201, "NO_VERDICT": 202,
        "CHALLENGE_NOT_PASSED": 203, "RECIPE_FAILED": 301, "RECIPE_CHANGING": 302, "RECIPE_UNKNOWN": 303,
        "TRIGGER_NOT_READY": 401, "ACK_TIMEOUT": 402, "PLC_SILENT": 403, "TRIGGER_REPEATED": 404,
        "PART_ID_MISSING": 405, "NO_TRIGGER_MODE": 406, "NOT_RECORDED": 501,
    }  # fmt: skip
    bits = [
        "READY", "BUSY", "RESULT_VALID", "OK", "NG", "INVALID", "REVIEW", "TRIGGER_ACK", "RECIPE_OK", "ALARM",
        "CHALLENGE_DUE", "RECORDS_DEGRADED", "BYPASS", None, None, "FAULT",
    ]  # fmt: skip
    assert {name: 1 << bit for bit, name in enumerate(bits) if name} == {bit.name: int(bit) for bit in Status}
    assert {bit.name: int(bit) for bit in Order} == {
        "TRIGGER": 1, "RESULT_ACK": 2, "RECIPE_REQUEST": 4, "FAULT_RESET": 8,
    }  # fmt: skip


def test_the_plc_reads_what_the_box_shows():
    rng = random.Random(1)
    names = [name for name in Inputs.__dataclass_fields__ if name not in ("status", "frame_index")]
    for _ in range(200):
        inputs = Inputs(
            status=Status(rng.choice((0, 0x8FFF, rng.getrandbits(13)))), frame_index=rng.getrandbits(32),
            **{name: rng.choice((0, 1, WORD, rng.getrandbits(16))) for name in names},
        )  # fmt: skip
        words = encode_inputs(inputs)
        assert len(words) == INPUTS and all(0 <= word <= WORD for word in words)
        assert decode_inputs(words) == inputs


def test_numbers_too_large_for_a_register_stand_at_its_end_and_counters_wrap():
    shown = decode_inputs(
        encode_inputs(
            Inputs(
                heartbeat=WORD + 1, sequence=WORD + 5, missed_triggers=WORD + 3, silences=WORD + 2,
                score_per_mille=10**9, latency_ms=10**7, regions=WORD + 1, recipe=-1, frame_index=2**32 + 7,
            )
        )
    )  # fmt: skip
    assert (shown.heartbeat, shown.sequence, shown.missed_triggers, shown.silences) == (0, 4, 2, 1)
    assert (shown.score_per_mille, shown.latency_ms, shown.regions, shown.recipe) == (WORD, WORD, WORD, 0)
    assert shown.frame_index == 7


@pytest.mark.parametrize("lot", ["", "A", "LOT-2026/11 b", "x" * LOT_CHARACTERS])
def test_the_box_reads_what_the_plc_writes(lot):
    orders = Orders(Order.TRIGGER | Order.FAULT_RESET, 65535, 3, 17, lot)
    words = encode_orders(orders)
    assert len(words) == ORDERS
    assert decode_orders(words) == orders


def test_lots_that_are_no_text_become_text():
    zeros = [0] * 4
    assert decode_orders([*zeros, 0x4131, 0x0741, 0xFF42, 0x2020, 0x2020, 0x2020, 0x2020, 0x2020]).lot == "A1?A?B"
    assert decode_orders([*zeros, 0x4100, *[0x4242] * 7]).lot == "A"
    assert decode_orders([0xFFFF, *[0] * 11]).bits == Order(15)


@pytest.mark.parametrize("call", [lambda: decode_inputs([0] * 15), lambda: decode_orders([0] * 13)])
def test_part_of_a_block_is_refused(call):
    with pytest.raises(ValueError, match="registers"):
        call()


@pytest.mark.parametrize("lot", ["x" * (LOT_CHARACTERS + 1), "größe"])
def test_a_lot_that_does_not_fit_is_refused(lot):
    with pytest.raises(ValueError, match="at most 16 characters"):
        encode_orders(Orders(lot=lot))


OK = Status.READY | Status.RESULT_VALID | Status.OK


@pytest.mark.parametrize(
    ("status", "part_id", "decision", "passes"),
    [
        (OK, 7, 1, True),
        (OK | Status.REVIEW | Status.ALARM, 7, 1, True),
        (OK, 8, 1, False),
        (OK, 7, 2, False),
        (OK, 7, 0, False),
        (OK & ~Status.RESULT_VALID, 7, 1, False),
        (OK & ~Status.OK, 7, 1, False),
        (OK | Status.NG, 7, 1, False),
        (OK | Status.INVALID, 7, 1, False),
        (OK | Status.BYPASS, 7, 1, False),
    ],
)
def test_only_the_rule_passes_a_part(status, part_id, decision, passes):
    assert Inputs(status=status, part_id=part_id, decision=decision).passes(7) is passes
