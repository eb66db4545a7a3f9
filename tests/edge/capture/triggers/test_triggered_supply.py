"""Parts by trigger: each gets the first picture taken after it, or its own INVALID; none is lost or doubled."""

import queue
import threading
import time
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest

from edge.capture.capture import Capture
from edge.capture.sources import open_source
from edge.capture.triggers.triggered_supply import TriggeredSupply
from edge.core.config import CameraSettings, FreshnessSettings, InspectionSettings, Settings, TriggerSettings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Reason
from edge.core.errors import CameraError
from edge.inspection.inspector_pool import InspectorPool
from edge.inspection.loop import run_loop
from tests.fakes import (  # fmt: skip
    WAIT_S,
    BrightnessBackend,
    HangingBackend,
    ListSink,
    eventually,
    frame,
    inspector,
    picture,
    write_picture,
)

MS = 1_000_000
PATIENT = CameraSettings(read_timeout_ms=60_000, reopen_first_ms=1, reopen_max_ms=4)
AT_ONCE = TriggerSettings(mode="plc", settle_ms=0, frame_timeout_ms=10_000, queue=64)


class Camera:
    """A live source that shows what a test gives it; `show` returns when the picture has been looked at."""

    live, dropped, recorded_fps, name = True, 0, None, "camera"

    def __init__(self):
        self._given, self._looked_at = queue.SimpleQueue(), queue.SimpleQueue()
        self._reads = 0

    def read(self):
        if self._reads:
            self._looked_at.put(self._reads)
        self._reads += 1
        given = self._given.get()
        if isinstance(given, Exception):
            raise given
        return given

    def show(self, seed, image=None, captured_ns=None):
        taken = frame(seed, picture(seed) if image is None else image)
        self._given.put(replace(taken, captured_ns=captured_ns or time.perf_counter_ns()))
        self._looked_at.get(timeout=WAIT_S)

    def fail(self):
        self._given.put(CameraError("unplugged", fix="plug it in"))
        self._looked_at.get(timeout=WAIT_S)

    def interrupt(self):
        self._given.put(CameraError("closed", fix=""))

    def close(self): ...


@contextmanager
def triggered(settings=AT_ONCE, source=None, camera=PATIENT, now_ns=time.perf_counter_ns):
    """(camera, supply, counters)"""
    source, counters = source or Camera(), RunCounters()
    capture = Capture(lambda: source, camera, FreshnessSettings(), counters)
    try:
        yield source, TriggeredSupply(capture, settings, counters, now_ns), counters
    finally:
        capture.close()


def seed_of(taken):
    """Which picture a frame shows; None without one."""
    if taken.image is None:
        return None
    return next(seed for seed in range(1000) if (picture(seed) == taken.image).all())


def test_a_part_gets_the_first_picture_after_its_trigger_and_never_the_newest():
    with triggered() as (camera, supply, counters):
        camera.show(0)
        count = supply.fire("4711", "L7")
        for seed in (1, 2, 3):
            camera.show(seed)
        taken = supply.take(WAIT_S)
        assert seed_of(taken) == 1
        assert (taken.part.number, taken.part.lot, taken.part.trigger) == ("4711", "L7", count) == ("4711", "L7", 1)
        assert supply.take(0.0) is None
        assert (counters.between_parts, counters.dropped, counters.triggers) == (3, 0, 1)


def test_pictures_of_the_time_to_settle_show_no_part():
    moment = [1_000 * MS]
    with triggered(TriggerSettings(mode="plc", settle_ms=40), now_ns=lambda: moment[0]) as (camera, supply, _):
        supply.fire("1", "")
        for seed, after_ms in enumerate((1, 39, 40, 41)):
            camera.show(seed, captured_ns=(1_000 + after_ms) * MS)
        assert seed_of(supply.take(0.0)) == 2


def test_no_picture_in_time_is_one_invalid_frame_of_that_part():
    with triggered(TriggerSettings(mode="plc", settle_ms=1, frame_timeout_ms=30)) as (camera, supply, _):
        supply.fire("4711", "")
        taken = supply.take(WAIT_S)
        assert (taken.fault.reason, taken.part.number, taken.image) == (Reason.NO_FRAME, "4711", None)
        assert "trigger.frame_timeout_ms (30)" in taken.fault.detail
        camera.show(1)
        assert supply.take(0.0) is None


def test_a_picture_belongs_to_one_part_which_is_the_last_whose_time_had_come():
    with triggered() as (camera, supply, _):
        supply.fire("a", "")
        supply.fire("b", "")
        camera.show(5)
        first, second = supply.take(WAIT_S), supply.take(WAIT_S)
        assert (first.part.number, first.fault.reason) == ("a", Reason.NO_FRAME)
        assert "the camera is too slow for these parts" in first.fault.detail
        assert (second.part.number, seed_of(second)) == ("b", 5)


def test_more_parts_than_may_wait_are_overruns_each_in_its_place():
    with triggered(TriggerSettings(mode="plc", settle_ms=0, frame_timeout_ms=10_000, queue=2)) as (camera, supply, _):
        for seed in range(4):
            supply.fire(str(seed), "")
            camera.show(seed)
        taken = [supply.take(WAIT_S) for _ in range(3)]
        supply.fire("4", "")
        camera.show(4)
        taken += [supply.take(WAIT_S) for _ in range(2)]
        assert [each.part.number for each in taken] == ["0", "1", "2", "3", "4"]
        assert [seed_of(each) for each in taken] == [0, 1, None, None, 4]
        assert [each.fault and each.fault.reason for each in taken] == [None, None, *[Reason.OVERRUN] * 2, None]
        assert "trigger.queue" in taken[2].fault.detail


def test_a_part_that_was_not_taken_on_keeps_its_picture_from_the_part_before():
    with triggered(TriggerSettings(mode="plc", settle_ms=0, frame_timeout_ms=10_000, queue=1)) as (camera, supply, _):
        supply.fire("a", "")
        supply.fire("b", "")
        camera.show(1)
        assert [supply.take(WAIT_S).fault.reason for _ in range(2)] == [Reason.NO_FRAME, Reason.OVERRUN]


def test_a_fault_of_the_picture_is_that_parts_own():
    with triggered() as (camera, supply, _):
        supply.fire("dark", "")
        camera.show(0, np.zeros((60, 80, 3), np.uint8))
        camera.show(1)
        taken = supply.take(WAIT_S)
        assert (taken.fault.reason, taken.part.number) == (Reason.BLACK, "dark")


def test_between_triggers_faults_are_counted_and_a_lost_camera_is_told_without_a_part():
    with triggered() as (camera, supply, counters):
        camera.show(0, np.zeros((60, 80, 3), np.uint8))
        assert supply.take(0.05) is None
        camera.fail()
        taken = supply.take(WAIT_S)
        assert (taken.fault.reason, taken.part) == (Reason.NO_FRAME, None)
        camera.show(1)
        assert supply.take(0.0) is None
        assert counters.between_parts == 2


def test_a_camera_that_is_lost_while_a_part_waits_is_that_parts_no_frame_in_time():
    with triggered(TriggerSettings(mode="plc", settle_ms=0, frame_timeout_ms=80)) as (camera, supply, _):
        supply.fire("4711", "")
        camera.fail()
        lost, part = supply.take(WAIT_S), supply.take(WAIT_S)
        assert (lost.part, part.part.number) == (None, "4711")
        assert part.fault.reason is Reason.NO_FRAME and "unplugged" in part.fault.detail


def test_a_camera_that_is_back_in_time_gives_the_part_its_picture():
    with triggered() as (camera, supply, _):
        supply.fire("4711", "")
        camera.fail()
        camera.show(3)
        part, lost = supply.take(WAIT_S), supply.take(WAIT_S)
        assert (part.part.number, seed_of(part)) == ("4711", 3)
        assert (lost.part, lost.fault.reason) == (None, Reason.NO_FRAME)


def test_a_thousand_random_triggers_each_get_the_first_picture_after_their_time():
    settle, patience, delay = 20 * MS, 60 * MS, 3 * MS
    random = np.random.default_rng(7)
    fired = np.cumsum(random.integers(5 * MS, 90 * MS, 1000)) + 1_000 * MS
    captured = np.cumsum(random.integers(10 * MS, 70 * MS, 1400)) + 1_000 * MS
    events = sorted([(int(at), 0, number) for number, at in enumerate(fired)]
                    + [(int(at) + delay, 1, number) for number, at in enumerate(captured)])  # fmt: skip
    moment, taken = [0], []
    shown = [picture(0, 4, 6), picture(1, 4, 6)]
    settings = TriggerSettings(mode="plc", settle_ms=20, frame_timeout_ms=60, queue=64)
    with triggered(settings, now_ns=lambda: moment[0]) as (camera, supply, _):
        for at, is_picture, number in events:
            moment[0] = at
            if is_picture:
                camera.show(number, shown[number % 2], int(captured[number]))
            else:
                assert supply.fire(str(number), "") == number + 1
            # a model that is busy now and then
            while random.random() < 0.7 and (frame := supply.take(0.0)) is not None:
                taken.append(frame)
        moment[0] += 10_000 * MS
        while (frame := supply.take(0.0)) is not None:
            taken.append(frame)
    assert [each.part.trigger for each in taken] == list(range(1, 1001))
    assert [each.index for each in taken] == list(range(1000))
    matched = unsure = 0
    for number, each in enumerate(taken):
        start = fired[number] + settle
        following = fired[number + 1] + settle if number + 1 < 1000 else np.inf
        first = captured[captured >= start].min(initial=np.iinfo(np.int64).max)
        if first < following and first <= start + patience - delay:
            matched += 1
            assert each.fault is None and each.captured_ns == first, number
        elif first < following and first <= start + patience:
            # whether a picture that is on its way when patience ends is still in time depends on who looks first
            unsure += 1
        else:
            assert each.fault.reason is Reason.NO_FRAME, number
    assert matched > 500 and unsure < 50


class Loop:
    """A loop over triggered parts in a thread of its own."""

    def __init__(self, supply, counters, backend=None, count=1, deadline_ms=30_000, **limits):
        self.sink, self.stop = ListSink(), threading.Event()
        chosen = Settings(freshness=FreshnessSettings(max_age_ms=min(deadline_ms, 30_000)),
                          inspection=InspectionSettings(deadline_ms=deadline_ms))  # fmt: skip
        pool = InspectorPool([inspector(backend) for _ in range(count)])
        arguments = supply, pool, [self.sink], chosen, counters
        self._thread = threading.Thread(target=run_loop, args=arguments, kwargs={"stop": self.stop, **limits})
        self._thread.start()

    def verdicts(self, count):
        """(number, reason) of that many verdicts of parts."""
        self.sink.wait_until(lambda verdicts: len(self.parts()) >= count)
        return self.parts()

    def parts(self):
        pairs = zip(list(self.sink.frames), list(self.sink.verdicts), strict=False)
        return [(taken.part.trigger, str(verdict.reason)) for taken, verdict in pairs if taken.part is not None]

    def end(self):
        self.stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


@contextmanager
def loop_over(supply, counters, *others, **limits):
    loop = Loop(supply, counters, *others, **limits)
    try:
        yield loop
    finally:
        loop.end()


def test_a_slow_model_gives_each_trigger_one_verdict_in_order_and_tells_overruns():
    settings = TriggerSettings(mode="plc", settle_ms=0, frame_timeout_ms=10_000, queue=3)
    with (
        triggered(settings) as (camera, supply, counters),
        loop_over(supply, counters, BrightnessBackend(slow_s=0.01)) as loop,
    ):
        for seed in range(60):
            supply.fire(str(seed), "")
            camera.show(seed)
        told = loop.verdicts(60)
        assert supply.take(0.0) is None
    assert [trigger for trigger, _ in told] == list(range(1, 61))
    assert {reason for _, reason in told} == {"below_threshold", "overrun"}
    for taken, (trigger, reason) in zip(loop.sink.frames, told, strict=True):
        assert reason == "overrun" or seed_of(taken) == trigger - 1


def test_triggers_of_several_threads_have_counts_of_their_own_and_one_verdict_each():
    settings = TriggerSettings(mode="plc", settle_ms=0, frame_timeout_ms=20, queue=8)
    with triggered(settings) as (camera, supply, counters), loop_over(supply, counters) as loop:
        counts = queue.SimpleQueue()

        def fire():
            for _ in range(50):
                counts.put(supply.fire("", ""))

        threads = [threading.Thread(target=fire) for _ in range(4)]
        for thread in threads:
            thread.start()
        for seed in range(20):
            camera.show(seed)
        for thread in threads:
            thread.join(WAIT_S)
        told = loop.verdicts(200)
    assert sorted(counts.get() for _ in range(200)) == [trigger for trigger, _ in told] == list(range(1, 201))


def test_a_model_that_hangs_leaves_each_trigger_one_verdict_in_order():
    backend = HangingBackend(hang_at=1)
    with (
        triggered() as (camera, supply, counters),
        loop_over(supply, counters, backend, deadline_ms=400) as loop,
    ):
        for seed in range(2):
            supply.fire(str(seed), "")
            camera.show(seed)
            assert eventually(lambda scored=seed: len(loop.parts()) > scored or backend.hanging.is_set())
        for seed in range(2, 8):
            supply.fire(str(seed), "")
            camera.show(seed)
        told = loop.verdicts(8)
        backend.hang_at = -1
        backend.released.set()
        assert eventually(lambda: counters.late_results == 1)
        supply.fire("8", "")
        camera.show(8)
        told = loop.verdicts(9)
    assert [trigger for trigger, _ in told] == list(range(1, 10))
    assert [reason for _, reason in told] == ["below_threshold", *["deadline_missed"] * 7, "below_threshold"]


def test_a_part_that_waited_too_long_for_the_model_is_stale():
    backend = HangingBackend()
    with triggered() as (camera, supply, counters):
        supply.fire("0", "")
        camera.show(0)
        time.sleep(0.06)
        with loop_over(supply, counters, backend, deadline_ms=50) as loop:
            assert loop.verdicts(1) == [(1, "stale")]
    assert loop.sink.verdicts[0].decision is Decision.INVALID


def pictures(folder, count):
    for seed in range(count):
        write_picture(folder / f"{seed:02d}.png", picture(seed))
    return open_source(str(folder), CameraSettings())


def test_of_files_each_trigger_gets_the_next_picture_and_parts_without_one_are_invalid(tmp_path):
    with triggered(source=pictures(tmp_path, 4)) as (_, supply, counters):
        assert supply.take(0.05) is None
        for number in range(6):
            supply.fire(str(number), "")
        with loop_over(supply, counters, count=3) as loop:
            told = loop.verdicts(6)
    assert told == [*((n, "below_threshold") for n in range(1, 5)), (5, "no_frame"), (6, "no_frame")]
    assert [seed_of(each) for each in loop.sink.frames] == [0, 1, 2, 3, None, None]
    assert "the source has ended" in loop.sink.verdicts[5].detail


def test_the_demo_shows_each_trigger_the_next_part_of_the_sample_line():
    with triggered(source=open_source("demo", CameraSettings(fps=60))) as (_, supply, _counters):
        fired_ns = []
        taken = []
        for number in range(3):
            fired_ns.append(time.perf_counter_ns())
            supply.fire(str(number), "")
            taken.append(supply.take(WAIT_S))
    assert [each.part.number for each in taken] == ["0", "1", "2"]
    assert all(each.fault is None and each.captured_ns >= at for each, at in zip(taken, fired_ns, strict=True))


def test_the_number_of_verdicts_may_be_limited():
    with triggered() as (camera, supply, counters), loop_over(supply, counters, max_frames=2) as loop:
        for seed in range(2):
            supply.fire(str(seed), "")
            camera.show(seed)
        assert [trigger for trigger, _ in loop.verdicts(2)] == [1, 2]


def test_what_the_plant_calls_a_part_is_cleaned():
    with triggered() as (camera, supply, _):
        supply.fire("../\x1b[31m47\n11\0 ", "😀" * 5000)
        camera.show(0)
        part = supply.take(WAIT_S).part
        assert part.number == "../ [31m47 11"
        assert part.lot == "😀" * 63 + "…"


def test_the_mode_plc_wants_a_plc_and_no_watched_folder():
    with pytest.raises(ValueError, match=r"trigger.mode plc needs plc\.port"):
        Settings(trigger=TriggerSettings(mode="plc"))
    with pytest.raises(ValueError, match="watched folder"):
        Settings(trigger=TriggerSettings(mode="plc"), camera=CameraSettings(watch=True))


def test_another_product_brings_its_own_settling_time_from_the_next_trigger_on():
    with triggered() as (camera, supply, _):
        supply.fire("1", "")
        supply.follow(TriggerSettings(mode="plc", settle_ms=60_000, frame_timeout_ms=60_000))
        supply.fire("2", "")
        assert supply.waiting == 2
        camera.show(1)
        camera.show(2)
        assert supply.take(WAIT_S).part.number == "1"
        assert supply.waiting == 2, "whoever took it may judge it still"
        assert supply.take(0.0) is None and supply.waiting == 1
