"""What a PLC is told of the line itself, read from the run's counters."""

from __future__ import annotations

from dataclasses import dataclass

from edge.core.counters import RunCounters
from edge.plant.plc.register_map import ErrorCode, Status

# inspection that has not come round for so long has no heartbeat
BEAT_WITHIN_S = 1.0
# ended: the last picture of a folder or a recording is read, and may wait for its trigger
CAMERA_GOES = ("running", "ended")
RECORDS_GO = ("off", "opening", "recording", "closed")


@dataclass(frozen=True)
class LineCondition:
    """A line at one moment.

    beats: inspection came round within BEAT_WITHIN_S. error: why no part may be asked for, recipes aside. status: the
    bits ALARM, CHALLENGE_DUE and RECORDS_DEGRADED. recipe, recipe_name: of the active one; 0 and empty without recipes.
    """

    beats: bool
    error: ErrorCode
    status: Status
    recipe: int = 0
    recipe_changing: bool = False
    recipe_failed: bool = False
    recipe_name: str = ""


def condition_of(counters: RunCounters, *, challenge_watched: bool, records_needed: bool) -> LineCondition:
    """challenge_watched: no part may be asked for while the newest challenge does not count (challenge.require).
    records_needed: nor while the disk takes no verdicts."""
    age_s = counters.beat_age_s()
    beats = age_s is not None and age_s < BEAT_WITHIN_S
    due = challenge_watched and counters.ready_state != "ready"
    error = ErrorCode.NONE
    if not beats:
        error = ErrorCode.LOOP_HANGS
    elif counters.camera_state not in CAMERA_GOES:
        error = ErrorCode.CAMERA_NOT_RUNNING
    elif counters.sound == 0:
        error = ErrorCode.NO_PICTURE_YET
    elif due:
        error = ErrorCode.CHALLENGE_NOT_PASSED
    elif counters.verdicts_wait and records_needed:
        error = ErrorCode.NOT_RECORDED
    status = Status(0)
    for holds, bit in (
        (bool(counters.alarms.standing()), Status.ALARM),
        (due, Status.CHALLENGE_DUE),
        (counters.record_state not in RECORDS_GO, Status.RECORDS_DEGRADED),
    ):
        status |= bit if holds else Status(0)
    return LineCondition(
        beats,
        error,
        status,
        counters.recipe_index,
        counters.recipe_changing,
        bool(counters.recipe_error),
        counters.recipe_name,
    )
