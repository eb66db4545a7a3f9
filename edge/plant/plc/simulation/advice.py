"""What each error code means to an engineer who commissions a line, and what to do about it."""

from __future__ import annotations

from edge.plant.plc.register_map import ErrorCode

_CAMERA = "look at the camera, its cable and its light; `edge-inspect doctor`"
_PLC_PROGRAM = "mend the PLC's program"

# code → (what it means, what to do)
_CODES = {
    ErrorCode.CAMERA_NOT_RUNNING: ("the camera does not run", _CAMERA),
    ErrorCode.NO_PICTURE_YET: ("no usable picture has come since the start", _CAMERA),
    ErrorCode.NO_FRAME: ("no picture came after the trigger", "see trigger.frame_timeout_ms and the camera's rate"),
    ErrorCode.FROZEN: ("the camera repeats one picture", _CAMERA),
    ErrorCode.STALE: ("the picture was too old", "see freshness.max_age_ms; the machine may have too much to do"),
    ErrorCode.BLACK: ("the picture is black", "look at the light and the lens"),
    ErrorCode.SATURATED: ("the picture is white", "less light, or a shorter exposure"),
    ErrorCode.WRONG_SIZE: ("the picture has another size", "look at the camera's settings"),
    ErrorCode.UNDECODABLE: ("the picture arrived damaged", "look at the cable and the network"),
    ErrorCode.OVERRUN: ("parts come faster than they are judged", "let the PLC wait for READY; slow the line down"),
    ErrorCode.INCOMPLETE: ("a part of the picture is missing", "look at the cable and the network"),
    ErrorCode.MISSED_FRAME: ("the camera left a picture out", "look at the cable and the network"),
    ErrorCode.PART_NOT_FOUND: ("no part where one should be", "look at the trigger's place and at trigger.settle_ms"),
    ErrorCode.PART_MOVING: ("the part did not come to rest", "a shorter exposure, or a later trigger"),
    ErrorCode.LOOP_HANGS: ("inspection hangs, and the heartbeat with it", "read the log; the watchdog starts it anew"),
    ErrorCode.NO_VERDICT: ("inspection gave no verdict in time", "read the log"),
    ErrorCode.CHALLENGE_NOT_PASSED: ("the challenge of this shift is missing or failed", "`edge-inspect challenge`"),
    ErrorCode.MODEL_ERROR: ("the network failed", "read the log; `edge-inspect doctor`"),
    ErrorCode.DEADLINE_MISSED: (
        "the verdict came too late", "see inspection.deadline_ms; the machine may have too much to do",
    ),
    ErrorCode.NO_REFERENCE: ("there is no golden picture to compare with", "see inspection.reference"),
    ErrorCode.OTHER_REASON: ("INVALID for a reason that this program does not know", "use the box's own version"),
    ErrorCode.RECIPE_FAILED: ("the recipe did not load", "`edge-inspect recipe` says why; the old one stays"),
    ErrorCode.RECIPE_CHANGING: ("a recipe is being loaded", "wait for RECIPE_OK"),
    ErrorCode.RECIPE_UNKNOWN: ("there is no recipe with this number", "look it up with `edge-inspect recipe`"),
    ErrorCode.TRIGGER_NOT_READY: ("a trigger came while READY was off", f"wait for READY: {_PLC_PROGRAM}"),
    ErrorCode.ACK_TIMEOUT: ("a result was not taken in time", f"give RESULT_ACK, then FAULT_RESET: {_PLC_PROGRAM}"),
    ErrorCode.PLC_SILENT: (
        "the PLC's heartbeat stood still", f"count register 103 up, faster than plc.silent_after_ms: {_PLC_PROGRAM}",
    ),
    ErrorCode.TRIGGER_REPEATED: ("one part was triggered twice", f"look for a bouncing switch, or {_PLC_PROGRAM}"),
    ErrorCode.PART_ID_MISSING: ("a trigger came without a part id", f"count part ids from 1: {_PLC_PROGRAM}"),
    ErrorCode.NOT_RECORDED: ("the disk takes no verdicts", "make room on the disk, or set plc.pass_unrecorded"),
    ErrorCode.NO_TRIGGER_MODE: ("the line takes no triggers", "set trigger.mode: plc, and restart the line"),
}  # fmt: skip
_NO_CODE = "the line may be set to trigger.mode free or part, and then READY never comes: set it to plc"


def meaning(code: int) -> str:
    """`code 301: the recipe did not load`."""
    known = _CODES.get(ErrorCode(code)) if code in ErrorCode._value2member_map_ else None
    return f"code {code}: {known[0] if known else 'this program does not know it'}"


def advice(code: int) -> str:
    """What to do; code 0: READY stayed off, and nothing said why."""
    if not code:
        return _NO_CODE
    known = _CODES.get(ErrorCode(code)) if code in ErrorCode._value2member_map_ else None
    return known[1] if known else "use the version of this program that the box has"
