"""The product's own loop under the stopwatch, with a backend and an engine that take their time."""

import threading
import time
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.timing.measure.cadence import BACK_TO_BACK, cadence_from_text
from benchmarks.timing.measure.run import Plan, measure
from benchmarks.timing.report.report import latency_report
from edge.core.config import FreshnessSettings, InspectionSettings, Settings
from tests.fakes import BrightnessBackend, BrokenBackend, ScriptedSource, frame, inspector, picture

# generous limits: a busy machine must not turn a slow frame into an INVALID one
PATIENT = Settings(freshness=FreshnessSettings(max_age_ms=20_000), inspection=InspectionSettings(deadline_ms=20_000))
PLAN = Plan(PATIENT, [picture(0), picture(1)], frames=12, warm_up=2)


class SleepingEngine:
    def __init__(self, seconds=0.002):
        self.seconds, self.calls = seconds, 0

    def run(self):
        self.calls += 1
        time.sleep(self.seconds)

    def close(self): ...


def test_frames_and_bare_calls_take_turns():
    backend, engine = BrightnessBackend(), SleepingEngine()
    found = latency_report(measure(PLAN, [inspector(backend)], [engine]))
    assert backend.scored == 14
    assert abs(engine.calls - backend.scored) <= 1
    assert found["frames"] == 12
    assert found["invalid"] == {}


def test_times_of_backend_and_engine_are_found_where_they_were_spent():
    found = latency_report(measure(PLAN, [inspector(BrightnessBackend(slow_s=0.03))], [SleepingEngine(0.01)]))
    assert found["stages_ms"]["infer"]["p50"] >= 30
    assert found["engine_ms"]["p50"] >= 10
    assert found["end_to_end_ms"]["p50"] >= found["stages_ms"]["infer"]["p50"]
    # the fakes' own time is not the loop's; what a busy machine adds, it adds to both
    assert found["loop_ms"]["p50"] < found["stages_ms"]["infer"]["p50"]


def test_a_cadence_is_kept():
    plan = replace(PLAN, cadence=cadence_from_text("100/s"), frames=20)
    timed = measure(plan, [inspector()], [SleepingEngine()]).streams[0]
    grabbed = np.sort(np.concatenate([timed.frames.columns()["at_s"], timed.engine.columns()["at_s"]]))
    # 22 inspections and as many calls, 10 ms apart; how late a single one was is the machine's business
    assert grabbed[-1] - grabbed[0] >= 0.01 * (grabbed.size - 2)
    assert set(timed.frames.columns()["gap"]) == {10.0}


def test_a_pause_longer_than_the_camera_time_out_is_no_lost_camera():
    settings = PATIENT.model_copy(update={"camera": PATIENT.camera.model_copy(update={"read_timeout_ms": 20})})
    plan = replace(PLAN, settings=settings, cadence=cadence_from_text("60ms"), frames=2, warm_up=0)
    assert latency_report(measure(plan, [inspector()], [SleepingEngine()]))["invalid"] == {}


def test_several_streams_run_at_the_same_time():
    count = 3
    # each stream's frames wait for those of the others: one stream after the other would wait in vain
    together = threading.Barrier(count, timeout=30)

    class Waiting(BrightnessBackend):
        def score(self, image, clock):
            together.wait()
            return super().score(image, clock)

    inspectors = [inspector(Waiting()) for _ in range(count)]
    found = measure(replace(PLAN, frames=6), inspectors, [SleepingEngine() for _ in range(count)])
    assert [timed.frames.count for timed in found.streams] == [8] * count
    assert not together.broken


def test_a_duration_ends_a_run():
    plan = replace(PLAN, frames=None, duration_s=0.2)
    found = measure(plan, [inspector()], [SleepingEngine()])
    assert 0.2 <= found.usage.wall_s < 10
    assert found.streams[0].frames.count > PLAN.warm_up


def test_a_model_that_fails_is_counted():
    backend = BrokenBackend(RuntimeError("no"), when=lambda count: count == 5)
    found = latency_report(measure(PLAN, [inspector(backend)], [SleepingEngine()]))
    assert found["invalid"] == {"model_error": 1}


def test_a_camera_with_its_own_pace_has_no_grab_time():
    source = ScriptedSource([frame(index, picture(index)) for index in range(3)] * 40)
    plan = replace(PLAN, pictures=(), open_camera=lambda: Slowly(source), frames=4)
    found = latency_report(measure(plan, [inspector()], [SleepingEngine(0.0)]))
    assert "grab" not in found["stages_ms"]
    assert found["deadline"] is None


class Slowly:
    """A source that shows a frame every few milliseconds."""

    live, name, dropped, recorded_fps = True, "slowly", 0, None

    def __init__(self, source):
        self._source = source

    def read(self):
        time.sleep(0.005)
        return self._source.read()

    def interrupt(self): ...

    def close(self):
        self._source.close()


def test_sinks_are_told_before_the_clock_stops():
    class SlowSink:
        def write(self, frame, verdict):
            time.sleep(0.015)

        def close(self): ...

    plan = replace(PLAN, cadence=BACK_TO_BACK, sinks_for=lambda inspector, counters, source: [SlowSink()])
    found = latency_report(measure(plan, [inspector()], [SleepingEngine()]))
    assert found["stages_ms"]["sink"]["p50"] >= 15


def test_an_error_of_the_engine_reaches_the_caller():
    class BrokenEngine(SleepingEngine):
        def run(self):
            raise RuntimeError("engine broke")

    with pytest.raises(RuntimeError, match="engine broke"):
        measure(PLAN, [inspector()], [BrokenEngine()])


def test_ctrl_c_ends_a_run_with_what_was_measured_until_then():
    pressed = []

    def advance(done, total):
        if not pressed:
            pressed.append(done)
            raise KeyboardInterrupt

    found = measure(replace(PLAN, frames=None, duration_s=60), [inspector()], [SleepingEngine()], advance)
    assert found.interrupted
    assert found.usage.wall_s < 30
    assert found.streams[0].frames.count > 0
