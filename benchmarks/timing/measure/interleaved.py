"""The product's own loop with a stopwatch: frames take turns with bare engine calls on the inspection thread.

A frame that arrives is either inspected or, in its stead, the bare engine is called once. Both are met by the same
machine after the same pause, so their ratio is the loop's, whatever clocks and neighbours do. Who comes first changes
from pair to pair: it finds the caches as the other left them.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.timing.measure.bare_engine import BareEngine
from benchmarks.timing.measure.cadence import Trigger
from benchmarks.timing.measure.samples import Samples
from benchmarks.timing.measure.source import Moments
from benchmarks.timing.measure.usage import resident_mb
from edge.capture.capture import FrameSupply
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Fault, Frame, Reason, Verdict

# of the frame times in edge/core/datatypes.py, those that follow each other from the grab to the verdict
INSIDE = ("wait", "preprocess", "infer", "residual", "decide")
FRAME_COLUMNS = ("at_s", "grab", *INSIDE, "sink", "end_to_end", "gap", "cpu", "fate")
ENGINE_COLUMNS = ("at_s", "engine", "cpu")
MEMORY_COLUMNS = ("at_s", "frames", "resident_mb")
JUDGED, LATE, UNFIT = 0, 1, 2
_LATE_REASONS = (Reason.DEADLINE_MISSED, Reason.STALE, Reason.MODEL_ERROR)
_MEMORY_EVERY = 20


class Stopwatch:
    """Times of one stream, as a sink that must come after all others; used by the inspection thread alone.

    All times in milliseconds; gap is NaN where the next frame's moment is not known, grab where the source runs by
    itself. fate: JUDGED, LATE (it had a verdict too late, or none in time) or UNFIT (INVALID for what it showed).
    dropped: frames replaced in the slot during inspections; those of engine calls are not the product's.
    """

    def __init__(
        self,
        moments: Moments,
        trigger: Trigger | None,
        counters: RunCounters,
        started_ns: int,
        stop_after: Callable[[int, float], bool],
        stop: Callable[[], None],
    ) -> None:
        self.frames = Samples(FRAME_COLUMNS)
        self.engine = Samples(ENGINE_COLUMNS)
        self.memory = Samples(MEMORY_COLUMNS)
        self.invalid: dict[str, int] = {}
        self.rejected = self.dropped = 0
        self.frame_px: tuple[int, int] | None = None
        self._moments = moments
        self._trigger = trigger
        self._counters = counters
        self._started_ns = started_ns
        self._stop_after = stop_after
        self._stop = stop
        self._cpu_ns = time.process_time_ns()
        self._dropped_before = 0

    def begin(self) -> None:
        """A turn begins: an inspection, or an engine call."""
        self._cpu_ns = time.process_time_ns()
        self._dropped_before = self._counters.dropped

    def engine_ran(self, began_ns: int, ended_ns: int) -> None:
        self.engine.add((began_ns - self._started_ns) / 1e9, (ended_ns - began_ns) / 1e6, self._cpu_ms())
        self._released()

    def write(self, frame: Frame, verdict: Verdict) -> None:
        published_ns = time.perf_counter_ns()
        times = verdict.times
        moment = self._moments.of(frame.captured_ns)
        grab = float("nan") if moment.due_ns is None else (frame.captured_ns - moment.due_ns) / 1e6
        sink = (published_ns - frame.captured_ns) / 1e6 - times.total
        at_s = (frame.captured_ns - self._started_ns) / 1e9
        invalid = verdict.decision is Decision.INVALID
        fate = JUDGED if not invalid else LATE if verdict.reason in _LATE_REASONS else UNFIT
        self.frames.add(
            at_s,
            grab,
            *(getattr(times, name) for name in INSIDE),
            sink,
            (published_ns - (frame.captured_ns if moment.due_ns is None else moment.due_ns)) / 1e6,
            float("nan") if moment.gap_ns is None else moment.gap_ns / 1e6,
            self._cpu_ms(),
            fate,
        )
        if frame.image is not None:
            self.frame_px = (frame.image.shape[0], frame.image.shape[1])
        self.rejected += verdict.decision is Decision.NG
        if invalid:
            self.invalid[str(verdict.reason)] = self.invalid.get(str(verdict.reason), 0) + 1
        if self.frames.count % _MEMORY_EVERY == 1:
            self._note_memory(at_s)
        self.dropped += self._counters.dropped - self._dropped_before
        self._dropped_before = self._counters.dropped
        if self._stop_after(self.frames.count, at_s):
            self._stop()
        self._released()

    def close(self) -> None:
        self._note_memory((time.perf_counter_ns() - self._started_ns) / 1e9)

    def _note_memory(self, at_s: float) -> None:
        resident = resident_mb()
        if resident is not None:
            self.memory.add(at_s, self.frames.count, resident)

    def _cpu_ms(self) -> float:
        return (time.process_time_ns() - self._cpu_ns) / 1e6

    def _released(self) -> None:
        if self._trigger is not None:
            self._trigger.release()


@dataclass
class InterleavedSupply:
    """A FrameSupply that gives every second frame to the bare engine; frames with a fault are nobody's turn."""

    frames: FrameSupply
    engine: BareEngine
    stopwatch: Stopwatch

    def __post_init__(self) -> None:
        self.live = self.frames.live
        self._turns = 0

    @property
    def ended(self) -> bool:
        return self.frames.ended

    def take(self, timeout_s: float) -> Frame | None:
        frame = self.frames.take(timeout_s)
        if frame is None or frame.fault is not None:
            return frame
        # inspect, engine, engine, inspect, ...
        inspects = self._turns % 4 in (0, 3)
        self._turns += 1
        self.stopwatch.begin()
        if inspects:
            return frame
        began_ns = time.perf_counter_ns()
        self.engine.run()
        self.stopwatch.engine_ran(began_ns, time.perf_counter_ns())
        return None

    def blank(self, fault: Fault) -> Frame:
        return self.frames.blank(fault)
