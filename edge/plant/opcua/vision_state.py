"""What the state of a line is in the words of the companion specification (OPC 40100-1, 8.2 and 8.3)."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from edge.core.files.text_names import storable
from edge.plant.plc.condition import CAMERA_GOES, RECORDS_GO
from edge.plant.status_file import FRESH_S

# states of a VisionStateMachine
PREOPERATIONAL, HALTED, ERROR, OPERATIONAL = "Preoperational", "Halted", "Error", "Operational"
# those of its automatic mode that a line can be in: it starts by itself, and nobody starts single jobs of it
INITIALIZED, CONTINUOUS = "Initialized", "ContinuousExecution"
# SystemStateDataType
PRODUCTION, STAND_BY, UNSCHEDULED_DOWN, NOT_SCHEDULED = "PRD_1", "SBY_2", "UDT_5", "NST_6"


@dataclass(frozen=True)
class VisionState:
    """A line at one moment. words: what is going on. mode: of the automatic mode; None unless it is operational.

    live: whether what the line says of itself is of now.
    """

    state: str
    system: str
    words: str
    mode: str | None = None
    live: bool = True


def vision_state(status: dict[str, Any] | None, now_s: float | None = None) -> VisionState:
    """From what `read_status` gave. now_s: of `time.monotonic`, None: the time now.

    A line that has said nothing for FRESH_S is in Error, whatever it said last.
    """
    if status is None:
        return VisionState(HALTED, NOT_SCHEDULED, "the line does not run, or has not begun", live=False)
    try:
        return _of(status, time.monotonic() if now_s is None else now_s)
    # of another program, or damaged
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        return VisionState(ERROR, UNSCHEDULED_DOWN, f"status.json is none of a line ({error})", live=False)


def _of(status: dict[str, Any], now_s: float) -> VisionState:
    if not status["running"]:
        return VisionState(HALTED, NOT_SCHEDULED, "the line has ended", live=False)
    age_s, beat_s = now_s - float(status["monotonic_s"]), status["beat_age_s"]
    if age_s < 0:
        return VisionState(ERROR, UNSCHEDULED_DOWN, "the line has said nothing since this machine started", live=False)
    if age_s >= FRESH_S:
        words = f"the line has said nothing for {FRESH_S:g} s or more; its last word was at {status['utc']}"
        return VisionState(ERROR, UNSCHEDULED_DOWN, words, live=False)
    if beat_s is None:
        return VisionState(PREOPERATIONAL, STAND_BY, "the line is starting")
    if float(beat_s) + age_s >= FRESH_S:
        return VisionState(ERROR, UNSCHEDULED_DOWN, "inspection hangs: it gives no verdicts")
    camera, ready, records = status["camera_state"], status["ready_state"], status["record_state"]
    if camera not in CAMERA_GOES:
        return VisionState(ERROR, UNSCHEDULED_DOWN, f"the camera is {storable(camera)}")
    if status["recipe"]["changing"]:
        return VisionState(OPERATIONAL, STAND_BY, "the line changes to another product", INITIALIZED)
    if ready not in ("", "ready"):
        return VisionState(OPERATIONAL, STAND_BY, f"the challenge: {storable(ready)}", INITIALIZED)
    degraded = "" if records in RECORDS_GO else f"; records: {storable(records)}"
    return VisionState(OPERATIONAL, PRODUCTION, f"inspecting{degraded}", CONTINUOUS)
