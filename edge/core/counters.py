"""What one run counts; read by the terminal view, the summary and the records."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

from edge.core.alarms import AlarmBoard


@dataclass
class RunCounters:
    """Counts since the start. Every number has one writer at a time, so no lock is needed; any thread may read.

    undelivered: verdicts that the reader of `--json` did not get.
    sound: pictures of the camera in which no fault was found.
    late_results: verdicts that came after the watchdog had given one for their frame, and were discarded.
    review: OK parts in the unsure band. skipped: pictures right after an opening (camera.skip_first_frames).
    stalls: looks that brought nothing, each a no_frame verdict. camera_state: opening, running, stalled (the driver has
    not answered for read_timeout_ms), frozen, lost (being reopened), ended (a file source is through) or closed.
    camera_names: of a group, which of its cameras are in that state, when it is not `running`.
    counted: what a verdict is of, frames or parts. between_parts: pictures between parts, which have no verdict;
    short_stops: parts that moved on before they could be judged; empty_places: rests without a part. triggers: those
    that asked for a picture of a part; None where nobody asks. trigger_state: what is seen now, empty where every frame
    counts.
    switches: bundle versions taken up since the start. bundle_state: which version judges, and what is beside it.
    learning_state: what is learned for the bundle beside the run, empty where nothing is.
    verdicts_wait: the disk takes no verdicts now, and they are kept in memory; without room for pictures alone it does.
    records_lost, alarms_lost: those that the disk did not take in time. record_run: the run's number in the records,
    None while it is not known.
    beat_ns: when inspection began, or last came round with a verdict or with nothing to do (`time.perf_counter_ns`); 0
    before. A verdict that the watchdog gives for a model that hangs is no such round.
    recipe_index: the active recipe's number in recipes.yaml; 0 without recipes. recipe_name: its name. recipe_changing:
    a change-over is going on, and no part may be asked for. recipe_error: why the newest change-over failed, in words;
    empty when it did not. The line then judges by the recipe before, and is not ready.
    missed_triggers: triggers that came while the line was not ready for one.
    ready_state: ready or NOT READY, as the newest challenge says; empty where none is asked for.
    unmeasured: pictures that came while the drift monitor was busy.
    """

    # the inspection loop
    frames: int = 0
    ok: int = 0
    review: int = 0
    ng: int = 0
    invalid: int = 0
    late_results: int = 0
    sink_errors: int = 0
    undelivered: int = 0
    beat_ns: int = 0
    # capture: the grab thread, but for stalls, which the taking side counts
    grabbed: int = 0
    sound: int = 0
    dropped: int = 0
    skipped: int = 0
    reconnects: int = 0
    stalls: int = 0
    camera_state: str = "opening"
    camera_names: str = ""
    # the trigger
    counted: str = "frames"
    between_parts: int = 0
    short_stops: int = 0
    empty_places: int = 0
    triggers: int | None = None
    trigger_state: str = ""
    # the watching of the bundle
    switches: int = 0
    bundle_state: str = ""
    learning_state: str = ""
    # the change-over of recipes
    recipe_index: int = 0
    recipe_name: str = ""
    recipe_changing: bool = False
    recipe_error: str = ""
    # the PLC's handshake
    missed_triggers: int = 0
    # the record writer
    recorded: int = 0
    images_stored: int = 0
    images_skipped: int = 0
    records_lost: int = 0
    alarms_lost: int = 0
    record_state: str = "off"
    verdicts_wait: bool = False
    record_run: int | None = None
    # the readiness watch
    ready_state: str = ""
    # the drift monitor
    unmeasured: int = 0
    drift_state: str = "off"
    alarms: AlarmBoard = field(default_factory=AlarmBoard)

    @property
    def camera_text(self) -> str:
        """The state of the camera, or of the group's camera that is worst off, for a person."""
        return f"{self.camera_state} ({self.camera_names})" if self.camera_names else self.camera_state

    def beat_age_s(self) -> float | None:
        """Seconds since inspection last came round; None before it began."""
        return (time.perf_counter_ns() - self.beat_ns) / 1e9 if self.beat_ns else None


def worth_a_line(count: int) -> bool:
    """Whether to log something that has happened so often: at the 1st, 10th and 100th time, then every 1000th."""
    return count in (1, 10, 100) or count % 1000 == 0
