"""What a PLC is told of the line itself."""

import time

import pytest

from edge.core.counters import RunCounters
from edge.plant.plc.condition import condition_of
from edge.plant.plc.register_map import ErrorCode, Status


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({}, ErrorCode.NONE),
        ({"beat_ns": 1}, ErrorCode.LOOP_HANGS),
        ({"beat_ns": 0}, ErrorCode.LOOP_HANGS),
        ({"camera_state": "lost"}, ErrorCode.CAMERA_NOT_RUNNING),
        ({"camera_state": "frozen"}, ErrorCode.CAMERA_NOT_RUNNING),
        # the last picture of a folder is read, and waits for its trigger
        ({"camera_state": "ended"}, ErrorCode.NONE),
        ({"sound": 0}, ErrorCode.NO_PICTURE_YET),
        ({"ready_state": ""}, ErrorCode.CHALLENGE_NOT_PASSED),
        ({"ready_state": "NOT READY"}, ErrorCode.CHALLENGE_NOT_PASSED),
        ({"record_state": "disk full; 7 verdicts waiting", "verdicts_wait": True}, ErrorCode.NOT_RECORDED),
        ({"record_state": "disk full but for verdicts; 3 pictures waiting"}, ErrorCode.NONE),
    ],
)
def test_what_keeps_a_line_from_a_part(changes, error):
    counters = RunCounters(beat_ns=time.perf_counter_ns(), camera_state="running", sound=1, ready_state="ready")
    for name, value in changes.items():
        setattr(counters, name, value)
    condition = condition_of(counters, challenge_watched=True, records_needed=True)
    assert condition.error is error
    assert bool(condition.status & Status.CHALLENGE_DUE) == ("ready_state" in changes)
    assert bool(condition.status & Status.RECORDS_DEGRADED) == ("record_state" in changes)
    without = condition_of(counters, challenge_watched=True, records_needed=False)
    assert without.status == condition.status
    assert without.error is (ErrorCode.NONE if error is ErrorCode.NOT_RECORDED else error)
