"""The registers that box and PLC read and write (docs/line/plc.md): one definition for both sides.

Numbers of this file are in the programs of PLCs: none may ever change, and MAP_VERSION counts additions.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag

from edge.core.datatypes import Decision, Reason

MAP_VERSION = 1
# input registers, read by the PLC in one request (function 4)
INPUTS_AT, INPUTS = 0, 16
# holding registers, written by the PLC in one request (function 16)
ORDERS_AT, ORDERS = 100, 12
_LOT_AT = 4
LOT_CHARACTERS = 2 * (ORDERS - _LOT_AT)
HEARTBEAT_EVERY_S = 0.1
WORD = 0xFFFF


class Status(IntFlag):
    """Bits of input register 0."""

    READY = 1 << 0
    BUSY = 1 << 1
    RESULT_VALID = 1 << 2
    OK = 1 << 3
    NG = 1 << 4
    INVALID = 1 << 5
    REVIEW = 1 << 6
    TRIGGER_ACK = 1 << 7
    RECIPE_OK = 1 << 8
    ALARM = 1 << 9
    CHALLENGE_DUE = 1 << 10
    RECORDS_DEGRADED = 1 << 11
    BYPASS = 1 << 12
    FAULT = 1 << 15


# the bits that belong to a result, and are 0 without one
RESULT_BITS = Status.RESULT_VALID | Status.OK | Status.NG | Status.INVALID | Status.REVIEW


_NO_STATUS = Status(0)


class Order(IntFlag):
    """Bits of holding register 100."""

    TRIGGER = 1 << 0
    RESULT_ACK = 1 << 1
    RECIPE_REQUEST = 1 << 2
    FAULT_RESET = 1 << 3


_NO_ORDER = Order(0)


class ErrorCode(IntEnum):
    """Input register 6: 1xx camera and picture, 2xx model, 3xx recipe, 4xx protocol, 5xx records.

    1xx from 110 and 2xx from 210 are what INVALID results name; the others are of the box.
    """

    NONE = 0
    CAMERA_NOT_RUNNING = 101
    NO_PICTURE_YET = 102
    NO_FRAME = 110
    FROZEN = 111
    STALE = 112
    BLACK = 113
    SATURATED = 114
    WRONG_SIZE = 115
    UNDECODABLE = 116
    OVERRUN = 117
    INCOMPLETE = 118
    MISSED_FRAME = 119
    PART_NOT_FOUND = 120
    PART_MOVING = 121
    LOOP_HANGS = 201
    NO_VERDICT = 202
    CHALLENGE_NOT_PASSED = 203
    MODEL_ERROR = 210
    DEADLINE_MISSED = 211
    NO_REFERENCE = 212
    OTHER_REASON = 299
    RECIPE_FAILED = 301
    RECIPE_CHANGING = 302
    RECIPE_UNKNOWN = 303
    TRIGGER_NOT_READY = 401
    ACK_TIMEOUT = 402
    PLC_SILENT = 403
    TRIGGER_REPEATED = 404
    PART_ID_MISSING = 405
    NO_TRIGGER_MODE = 406
    NOT_RECORDED = 501


DECISION_NUMBERS = {Decision.OK: 1, Decision.NG: 2, Decision.INVALID: 3}

# by word, so that a reason has its number before it has a name in `Reason`
_REASON_NUMBERS = {
    "below_threshold": 1,
    "above_threshold": 2,
    "no_frame": 10,
    "frozen": 11,
    "stale": 12,
    "black": 13,
    "saturated": 14,
    "wrong_size": 15,
    "undecodable": 16,
    "overrun": 17,
    "incomplete": 18,
    "missed_frame": 19,
    "part_not_found": 20,
    "part_moving": 21,
    "model_error": 30,
    "deadline_missed": 31,
    "no_reference": 32,
}
_REASON_WORDS = {number: word for word, number in _REASON_NUMBERS.items()}
# of a program whose Reason is newer than this map; a test holds that there is none here
_OTHER_REASON = 99


def reason_number(reason: Reason | None) -> int:
    """For input register 5; None is 0."""
    return 0 if reason is None else _REASON_NUMBERS.get(str(reason), _OTHER_REASON)


def reason_word(number: int) -> str:
    """The word of a reason's number; the number itself where this map does not know it, empty for 0."""
    return _REASON_WORDS.get(number, str(number) if number else "")


def error_of(reason: Reason | None) -> ErrorCode:
    """The error code of a result; NONE for inspected parts."""
    if reason in (None, Reason.BELOW_THRESHOLD, Reason.ABOVE_THRESHOLD):
        return ErrorCode.NONE
    return ErrorCode.__members__.get(str(reason).upper(), ErrorCode.OTHER_REASON)


@dataclass(frozen=True)
class Inputs:
    """What the PLC reads, all of one moment. Numbers too large for their register stand at its largest value.

    heartbeat, part_id, sequence, missed_triggers, silences: 16 bits, which wrap. decision: 0 none, 1 OK, 2 NG,
    3 INVALID. score_per_mille: score / threshold * 1000. frame_index: 32 bits, which wrap.
    """

    status: Status = _NO_STATUS
    heartbeat: int = 0
    part_id: int = 0
    sequence: int = 0
    decision: int = 0
    reason: int = 0
    error: int = 0
    recipe: int = 0
    score_per_mille: int = 0
    regions: int = 0
    latency_ms: int = 0
    missed_triggers: int = 0
    frame_index: int = 0
    silences: int = 0
    version: int = MAP_VERSION

    def passes(self, part_id: int) -> bool:
        """Whether the PLC may pass its part, if the heartbeat moved within a second: docs/line/plc.md has the rule."""
        wanted = Status.RESULT_VALID | Status.OK
        others = Status.NG | Status.INVALID | Status.BYPASS
        return (
            self.status & (wanted | others) == wanted
            and self.part_id == part_id != 0
            and self.decision == DECISION_NUMBERS[Decision.OK]
        )


def encode_inputs(inputs: Inputs) -> tuple[int, ...]:
    """The 16 input registers."""
    frame = inputs.frame_index & 0xFFFFFFFF
    return (
        int(inputs.status) & WORD,
        inputs.heartbeat & WORD,
        inputs.part_id & WORD,
        inputs.sequence & WORD,
        inputs.decision,
        inputs.reason,
        inputs.error,
        _at_most(inputs.recipe),
        _at_most(inputs.score_per_mille),
        _at_most(inputs.regions),
        _at_most(inputs.latency_ms),
        inputs.missed_triggers & WORD,
        frame >> 16,
        frame & WORD,
        inputs.silences & WORD,
        inputs.version,
    )


def decode_inputs(words: Sequence[int]) -> Inputs:
    """What a PLC has read. Raises ValueError where it is not all 16 registers."""
    if len(words) != INPUTS:
        raise ValueError(f"need {INPUTS} input registers, got {len(words)}")
    return Inputs(
        status=Status(words[0]),
        heartbeat=words[1],
        part_id=words[2],
        sequence=words[3],
        decision=words[4],
        reason=words[5],
        error=words[6],
        recipe=words[7],
        score_per_mille=words[8],
        regions=words[9],
        latency_ms=words[10],
        missed_triggers=words[11],
        frame_index=(words[12] << 16) | words[13],
        silences=words[14],
        version=words[15],
    )


@dataclass(frozen=True)
class Orders:
    """What the PLC writes. part_id, recipe, heartbeat: 16 bits. lot: LOT_CHARACTERS of ASCII at most."""

    bits: Order = _NO_ORDER
    part_id: int = 0
    recipe: int = 0
    heartbeat: int = 0
    lot: str = ""


def encode_orders(orders: Orders) -> tuple[int, ...]:
    """The 12 holding registers, to be written in one request. Raises ValueError for a lot that does not fit."""
    if len(orders.lot) > LOT_CHARACTERS or not orders.lot.isascii():
        raise ValueError(f"lot {orders.lot!r}: need at most {LOT_CHARACTERS} characters of ASCII")
    lot = orders.lot.encode("ascii").ljust(LOT_CHARACTERS, b"\0")
    words = (int.from_bytes(lot[at : at + 2], "big") for at in range(0, LOT_CHARACTERS, 2))
    return int(orders.bits), orders.part_id & WORD, orders.recipe & WORD, orders.heartbeat & WORD, *words


def decode_orders(words: Sequence[int]) -> Orders:
    """What a PLC has written. The lot ends at the first NUL; other characters that cannot be printed become `?`.

    Bits without a meaning are left out. Raises ValueError where it is not all 12 registers.
    """
    if len(words) != ORDERS:
        raise ValueError(f"need {ORDERS} holding registers, got {len(words)}")
    known = Order.TRIGGER | Order.RESULT_ACK | Order.RECIPE_REQUEST | Order.FAULT_RESET
    lot = b"".join((word & WORD).to_bytes(2, "big") for word in words[_LOT_AT:]).partition(b"\0")[0]
    text = "".join(chr(byte) if 0x20 <= byte < 0x7F else "?" for byte in lot).strip()
    return Orders(Order(words[0]) & known, words[1], words[2], words[3], text)


def _at_most(value: int) -> int:
    return min(max(0, value), WORD)
