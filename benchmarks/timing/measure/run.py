"""One timed run: streams of frames through the product's capture, loop and sinks, with bare engine calls in between."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from benchmarks.timing.measure.bare_engine import BareEngine
from benchmarks.timing.measure.cadence import BACK_TO_BACK, Cadence, trigger_for
from benchmarks.timing.measure.interleaved import InterleavedSupply, Stopwatch
from benchmarks.timing.measure.machine import machine_state
from benchmarks.timing.measure.source import Moments, TriggeredPictures
from benchmarks.timing.measure.usage import ProcessUsage, UsageClock
from edge.capture.capture import Capture
from edge.capture.sources import FrameSource
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import U8
from edge.inspection.inspector import Inspector
from edge.inspection.loop import run_loop
from edge.monitoring.sink import Sink


@dataclass(frozen=True)
class Plan:
    """What to time.

    frames: inspections of each stream after the warm-up, None for as many as fit into duration_s. open_camera: the
    source when it is a camera with a rhythm of its own; then pictures and cadence are not used. sinks_for: the sinks of
    one stream, from its inspector, its counters and its source's name.
    """

    settings: Settings
    pictures: Sequence[U8] = ()
    source: str = "pictures"
    cadence: Cadence = BACK_TO_BACK
    frames: int | None = 1000
    duration_s: float | None = None
    warm_up: int = 20
    open_camera: Callable[[], FrameSource] | None = None
    sinks_for: Callable[[Inspector, RunCounters, str], Sequence[Sink]] = lambda inspector, counters, source: ()


@dataclass
class Measured:
    """A finished run, a stopwatch for each stream. interrupted: by Ctrl-C, with what was measured until then."""

    plan: Plan
    streams: list[Stopwatch]
    usage: ProcessUsage
    before: dict[str, Any]
    after: dict[str, Any]
    interrupted: bool


def measure(
    plan: Plan,
    inspectors: Sequence[Inspector],
    engines: Sequence[BareEngine],
    advance: Callable[[int, int], None] = lambda done, total: None,
) -> Measured:
    """Time one stream for each inspector and engine, all at once; they start together, as cameras of one trigger do.

    Ctrl-C ends the run early. advance: called now and then with the share that is done, in thousandths.
    """
    before = machine_state()
    settings = _wait_when_full(plan)
    runs = [
        _StreamRun(plan, settings, inspector, engine) for inspector, engine in zip(inspectors, engines, strict=True)
    ]
    usage = UsageClock()
    with ExitStack() as opened:
        for run in runs:
            opened.callback(run.close)
            run.start()
        interrupted = _waited(runs, advance)
        measured = usage.usage()
    for run in runs:
        if run.error is not None:
            raise run.error
    advance(1000, 1000)
    return Measured(plan, [run.stopwatch for run in runs], measured, before, machine_state(), interrupted)


def _waited(runs: Sequence[_StreamRun], advance: Callable[[int, int], None]) -> bool:
    """Wait for all streams; True when Ctrl-C ended them."""
    interrupted = False
    while True:
        try:
            if all(run.wait(0.2) for run in runs):
                return interrupted
            advance(min(999, round(1000 * min(run.done() for run in runs))), 1000)
        except KeyboardInterrupt:
            interrupted = True
            for run in runs:
                run.stop.set()


def _wait_when_full(plan: Plan) -> Settings:
    """The line's settings; a pause of the cadence is no camera that has stopped answering."""
    longest_ms = math.ceil(2000 * max(plan.cadence.gaps_s, default=0))
    camera = plan.settings.camera
    return plan.settings.model_copy(
        update={
            "camera": camera.model_copy(update={"read_timeout_ms": max(camera.read_timeout_ms, longest_ms)}),
            # the size is what is asked for here, not what a line expects
            "freshness": plan.settings.freshness.model_copy(
                update={"expected_width_px": None, "expected_height_px": None}
            ),
        }
    )


class _StreamRun:
    """One capture, one loop, one stopwatch; the loop's caller is a thread of this object."""

    def __init__(self, plan: Plan, settings: Settings, inspector: Inspector, engine: BareEngine) -> None:
        self._plan, self._settings, self._inspector, self._engine = plan, settings, inspector, engine
        self.error: BaseException | None = None
        self.stop = threading.Event()
        self.counters = RunCounters()
        self._started_ns = time.perf_counter_ns()
        moments = Moments()
        self._trigger = None if plan.open_camera else trigger_for(plan.cadence)
        self.stopwatch = Stopwatch(moments, self._trigger, self.counters, self._started_ns, self._enough, self.stop.set)
        trigger = self._trigger
        if trigger is None:
            assert plan.open_camera is not None
            self._open = plan.open_camera
        else:
            self._open = lambda: TriggeredPictures(plan.pictures, trigger, moments, plan.source)
        self._thread = threading.Thread(target=self._work, name="timed stream", daemon=True)
        self._capture: Capture | None = None
        self._sinks: list[Sink] = []

    def start(self) -> None:
        self._capture = Capture(self._open, self._settings.camera, self._settings.freshness, self.counters)
        self._sinks = [*self._plan.sinks_for(self._inspector, self.counters, self._capture.name), self.stopwatch]
        self._thread.start()

    def _work(self) -> None:
        assert self._capture is not None
        supply = InterleavedSupply(self._capture, self._engine, self.stopwatch)
        try:
            run_loop(
                supply, self._inspector, self._sinks, self._settings, self.counters,
                stop=self.stop, max_frames=self._most_frames(),
            )  # fmt: skip
        # raised again in the caller's thread
        except BaseException as error:  # noqa: BLE001
            self.error = error

    def _most_frames(self) -> int | None:
        return None if self._plan.frames is None else self._plan.warm_up + self._plan.frames

    def _enough(self, frames: int, at_s: float) -> bool:
        duration_s = self._plan.duration_s
        return frames > self._plan.warm_up and duration_s is not None and at_s >= duration_s

    def done(self) -> float:
        shares = [0.0]
        if (most := self._most_frames()) is not None:
            shares.append(self.stopwatch.frames.count / most)
        if self._plan.duration_s is not None:
            shares.append((time.perf_counter_ns() - self._started_ns) / 1e9 / self._plan.duration_s)
        return max(shares)

    def wait(self, timeout_s: float) -> bool:
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def close(self) -> None:
        self.stop.set()
        if self._thread.is_alive():
            self._thread.join(2.0)
        if self._trigger is not None:
            # else the capture would wait for a moment that never comes
            self._trigger.end()
        if self._capture is not None:
            self._capture.close()
        for sink in self._sinks:
            sink.close()
