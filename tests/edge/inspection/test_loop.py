import logging
import threading
import time
from itertools import pairwise

import pytest

from edge.capture.capture import Capture
from edge.core.config import CameraSettings, FreshnessSettings, InspectionSettings, Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Fault, Reason
from edge.core.errors import ModelError
from edge.inspection.inspector_pool import InspectorPool
from edge.inspection.loop import in_time, run_loop
from tests.fakes import (
    WAIT_S,
    BrightnessBackend,
    BrokenBackend,
    HangingBackend,
    ListSink,
    RaisingSink,
    ScriptedSource,
    ScriptedSupply,
    eventually,
    frame,
    inspector,
    picture,
)


def settings(max_age_ms=30_000, deadline_ms=30_000):
    return Settings(
        freshness=FreshnessSettings(max_age_ms=max_age_ms), inspection=InspectionSettings(deadline_ms=deadline_ms)
    )


class Running:
    """run_loop in a thread of its own, so that a test can look on and stop it."""

    def __init__(self, supply, backend=None, sinks=None, chosen=None, beside=(), **limits):
        self.sink = ListSink()
        self.counters = RunCounters()
        self.stop = threading.Event()
        self.finished = None
        self._arguments = (supply, pool(backend, *beside), sinks or [self.sink], chosen or settings(), self.counters)
        self._limits = limits
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        self.finished = run_loop(*self._arguments, stop=self.stop, **self._limits)

    def end(self):
        """Stop it and return the seconds that took."""
        started = time.perf_counter()
        self.stop.set()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()
        return time.perf_counter() - started


def pool(*backends):
    return InspectorPool([inspector(backend) for backend in backends])


def run(frames, backend=None, sinks=None, chosen=None, live=True, endless=False, beside=(), **limits):
    """The verdicts and counters of a loop over these frames, to its end."""
    sink, counters = ListSink(), RunCounters()
    run_loop(
        ScriptedSupply(frames, live, endless),
        pool(backend, *beside),
        [*(sinks or []), sink],
        chosen or settings(),
        counters,
        stop=threading.Event(),
        **limits,
    )
    return sink, counters


# frames to verdicts


def test_every_frame_gets_its_verdict_in_order_until_the_source_ends():
    sink, counters = run([frame(number) for number in range(5)])
    assert [verdict.frame_index for verdict in sink.verdicts] == list(range(5))
    assert {verdict.decision for verdict in sink.verdicts} == {Decision.OK}
    assert (counters.frames, counters.ok, counters.ng, counters.invalid) == (5, 5, 0, 0)


def test_ok_ng_and_invalid_are_counted():
    fault = Fault(Reason.UNDECODABLE, "torn")
    frames = [frame(0), frame(1, picture(1) // 16 + 240), frame(2, fault=fault)]
    sink, counters = run(frames)
    assert [verdict.decision for verdict in sink.verdicts] == [Decision.OK, Decision.NG, Decision.INVALID]
    assert sink.verdicts[2].detail == "torn"
    assert (counters.ok, counters.ng, counters.invalid) == (1, 1, 1)


def test_a_frame_with_a_fault_is_not_inspected_although_it_has_a_picture():
    backend = BrightnessBackend()
    sink, _ = run([frame(0, picture(0), Fault(Reason.FROZEN, "still"))], backend)
    assert sink.reasons == ["frozen"]
    assert backend.scored == 0


def test_every_sink_hears_every_verdict():
    other = ListSink()
    sink, _ = run([frame(0), frame(1)], sinks=[other])
    assert other.verdicts == sink.verdicts


# time


def test_an_old_frame_of_a_live_source_is_stale():
    backend = BrightnessBackend()
    sink, _ = run([frame(0, age_ms=400), lambda: frame(1)], backend, chosen=settings(max_age_ms=300))
    assert sink.reasons == ["stale", "below_threshold"]
    assert "freshness.max_age_ms allows 300" in sink.verdicts[0].detail
    assert backend.scored == 1


def test_a_file_has_no_age_and_no_deadline():
    chosen = settings(max_age_ms=10, deadline_ms=10)
    sink, _ = run([frame(0, age_ms=400)], BrightnessBackend(slow_s=0.03), chosen=chosen, live=False)
    assert sink.reasons == ["below_threshold"]


def test_a_frame_kept_waiting_by_a_slow_model_is_stale_and_the_one_before_it_is_dropped():
    counters = RunCounters()
    busy = threading.Event()
    source = ScriptedSource([frame(0), busy, frame(1), frame(2), threading.Event()])
    capture = Capture(lambda: source, CameraSettings(read_timeout_ms=60_000), FreshnessSettings(), counters)

    class Slow(BrightnessBackend):
        def score(self, image, clock):
            busy.set()
            assert eventually(lambda: counters.grabbed == 3)
            time.sleep(0.4)
            return super().score(image, clock)

    running = Running(capture, Slow(), chosen=settings(max_age_ms=300))
    assert running.sink.wait_until(lambda verdicts: len(verdicts) == 2)
    running.end()
    source.release()
    capture.close()
    assert running.sink.reasons == ["below_threshold", "stale"]
    assert (running.sink.frames[1].image == picture(2)).all()
    assert counters.dropped == 1


def test_a_verdict_after_the_deadline_is_invalid_and_carries_no_score():
    on_time = inspector().inspect(frame(0, age_ms=100))
    late = in_time(on_time, deadline_ms=60)
    assert in_time(on_time, deadline_ms=30_000) is on_time
    assert (late.decision, late.reason, late.score) == (Decision.INVALID, Reason.DEADLINE_MISSED, None)
    assert late.detail.startswith("OK came 1")
    assert late.detail.endswith("ms after the grab; inspection.deadline_ms allows 60")


def test_an_invalid_verdict_keeps_its_own_reason_however_late():
    black = inspector().inspect(frame(0, fault=Fault(Reason.BLACK, "dark"), age_ms=100))
    assert in_time(black, deadline_ms=60) is black


def test_a_late_frame_gets_one_verdict_from_the_loop_or_from_the_watchdog():
    chosen = settings(max_age_ms=150, deadline_ms=150)
    sink, counters = run([lambda: frame(0)], BrightnessBackend(slow_s=0.2), chosen=chosen)
    assert [verdict.frame_index for verdict in sink.verdicts].count(0) == 1
    assert set(sink.reasons) == {"deadline_missed"}
    assert counters.invalid == counters.frames == len(sink.verdicts)


def test_without_a_deadline_a_slow_verdict_stands():
    sink, _ = run([lambda: frame(0)], BrightnessBackend(slow_s=0.05), chosen=settings(deadline_ms=None))
    assert sink.reasons == ["below_threshold"]


# a model that hangs


def test_a_hung_model_gives_a_verdict_every_deadline_and_its_late_result_is_discarded():
    backend = HangingBackend(hang_at=1)
    chosen = settings(max_age_ms=150, deadline_ms=150)
    supply = ScriptedSupply([lambda: frame(0), lambda: frame(1)], endless=True)
    running = Running(supply, backend, chosen=chosen)
    assert running.sink.wait_until(lambda verdicts: len(verdicts) >= 4)
    assert running.counters.late_results == 0
    backend.released.set()
    assert eventually(lambda: running.counters.late_results == 1)
    spoken = len(running.sink.verdicts)
    running.end()
    assert running.finished is True
    assert running.sink.reasons[:4] == ["below_threshold"] + ["deadline_missed"] * 3
    assert len(running.sink.verdicts) == spoken
    indexes = [verdict.frame_index for verdict in running.sink.verdicts]
    assert indexes == sorted(set(indexes)) and indexes[:2] == [0, 1]
    details = [verdict.detail for verdict in running.sink.verdicts]
    assert details[1] == "no verdict within 150 ms of the grab"
    assert details[2].startswith("not inspected: the model has been busy with frame 1 for 0.")


def test_the_watchdog_speaks_once_per_deadline_not_more():
    backend = HangingBackend()
    running = Running(
        ScriptedSupply([lambda: frame(0)], endless=True), backend, chosen=settings(max_age_ms=150, deadline_ms=150)
    )
    assert running.sink.wait_until(lambda verdicts: len(verdicts) >= 4)
    running.end()
    backend.released.set()
    grabbed_ns = [one.captured_ns for one in running.sink.frames]
    # from the second on a frame is made when the watchdog speaks
    assert all(later - earlier >= 149e6 for earlier, later in pairwise(grabbed_ns[1:]))


def test_while_the_model_hangs_the_newest_frame_gets_the_verdict():
    backend = HangingBackend()
    counters = RunCounters()
    go = threading.Event()
    source = ScriptedSource([frame(0), go, frame(1), frame(2), threading.Event()])
    capture = Capture(lambda: source, CameraSettings(read_timeout_ms=60_000), FreshnessSettings(), counters)
    running = Running(capture, backend, chosen=settings(max_age_ms=150, deadline_ms=150))
    assert backend.hanging.wait(WAIT_S)
    go.set()
    assert running.sink.wait_until(lambda verdicts: len(verdicts) >= 2)
    running.end()
    backend.released.set()
    source.release()
    capture.close()
    assert running.sink.reasons[:2] == ["deadline_missed"] * 2
    assert (running.sink.frames[1].image == picture(2)).all()
    assert counters.dropped == 1


def test_inspection_resumes_when_the_model_comes_back():
    backend = HangingBackend()
    supply = ScriptedSupply([lambda: frame(0)], endless=True)
    running = Running(supply, backend, chosen=settings(max_age_ms=150, deadline_ms=150))
    assert running.sink.wait_until(lambda verdicts: len(verdicts) >= 2)
    backend.hang_at = -1
    backend.released.set()
    assert eventually(lambda: running.counters.late_results == 1)
    supply.add(lambda: frame(9))
    assert running.sink.wait_until(lambda verdicts: verdicts[-1].decision is Decision.OK)
    running.end()


# several inspectors


class UnevenBackend(BrightnessBackend):
    """Every third picture takes long, and how many are inside at once is noted."""

    def __init__(self, among):
        super().__init__()
        self.among = among

    def score(self, image, clock):
        self.among.append(self)
        self.slow_s = 0.02 if image[0, 0, 0] % 3 == 0 else 0.001
        return super().score(image, clock)


def test_several_inspectors_share_the_frames_and_verdicts_keep_their_order():
    among = []
    backends = [UnevenBackend(among) for _ in range(3)]
    frames = [frame(number) for number in range(40)]
    frames[7] = frame(7, fault=Fault(Reason.UNDECODABLE, "torn"))
    sink, counters = run(frames, backends[0], live=False, beside=backends[1:])
    assert [verdict.frame_index for verdict in sink.verdicts] == list(range(40))
    assert [one.index for one in sink.frames] == list(range(40))
    assert sink.reasons[7] == "undecodable"
    assert counters.frames == 40
    assert {id(backend) for backend in among} == {id(backend) for backend in backends}


def test_a_live_source_has_one_inspector_however_many_are_offered():
    idle = BrightnessBackend()
    sink, _ = run([frame(number) for number in range(10)], live=True, beside=[idle])
    assert len(sink.verdicts) == 10
    assert idle.scored == 0


def test_one_slow_frame_lets_the_others_run_ahead_only_so_far():
    slow, quick = HangingBackend(), BrightnessBackend()
    supply = ScriptedSupply([frame(number) for number in range(100)], live=False)
    running = Running(supply, slow, beside=[quick])
    assert slow.hanging.wait(WAIT_S)
    assert eventually(lambda: quick.scored >= 2)
    time.sleep(0.05)
    ahead = quick.scored
    slow.hang_at = -1
    slow.released.set()
    assert running.sink.wait_until(lambda verdicts: len(verdicts) == 100)
    running.end()
    assert ahead <= 4
    assert [verdict.frame_index for verdict in running.sink.verdicts] == list(range(100))


def test_max_frames_ends_several_inspectors_exactly():
    sink, counters = run(
        [frame(number) for number in range(20)], live=False, max_frames=7, beside=[BrightnessBackend()]
    )  # fmt: skip
    assert len(sink.verdicts) == counters.frames == 7


def test_a_stop_while_one_of_several_hangs_gives_every_taken_frame_its_verdict_in_order():
    slow, quick = HangingBackend(), BrightnessBackend()
    supply = ScriptedSupply([frame(number) for number in range(100)], live=False)
    running = Running(supply, slow, beside=[quick])
    assert slow.hanging.wait(WAIT_S)
    assert eventually(lambda: quick.scored >= 1)
    assert running.end() < 1
    assert running.finished is False
    slow.released.set()
    indexes = [verdict.frame_index for verdict in running.sink.verdicts]
    assert indexes == list(range(len(indexes))) and len(indexes) >= 2
    assert running.sink.reasons.count("deadline_missed") >= 1


# a model that fails


@pytest.mark.parametrize(
    ("error", "detail"),
    [
        (ModelError("network failed: out of memory", fix=""), "network failed: out of memory"),
        (ZeroDivisionError("in a kernel"), "ZeroDivisionError: in a kernel"),
    ],
)
def test_a_model_that_raises_is_an_invalid_verdict_with_its_text(error, detail):
    sink, counters = run([frame(0), frame(1)], BrokenBackend(error, when=lambda count: count == 0))
    assert sink.reasons == ["model_error", "below_threshold"]
    assert sink.verdicts[0].detail == detail
    assert counters.invalid == 1


def test_a_model_that_keeps_failing_is_reported_now_and_then_and_goes_on(caplog):
    sink, counters = run([frame(number, picture(1)) for number in range(150)], BrokenBackend(ValueError("no")))
    assert counters.invalid == 150 and set(sink.reasons) == {"model_error"}
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert [line.split(":")[0] for line in lines] == [f"the model failed {n} times in a row" for n in (1, 10, 100)]


# sinks that fail


def test_a_raising_sink_is_counted_and_reported_and_the_others_hear_the_verdict(caplog):
    raising = RaisingSink()
    sink, counters = run([frame(number) for number in range(12)], sinks=[raising])
    assert len(sink.verdicts) == len(raising.verdicts) == 12
    assert counters.sink_errors == 12
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 2
    assert lines[0] == "RaisingSink failed 1 times in a row, verdicts are missing there: disk full"


class BlockingSink(ListSink):
    def __init__(self):
        super().__init__()
        self.released = threading.Event()

    def write(self, frame, verdict):
        assert self.released.wait(WAIT_S * 3)
        super().write(frame, verdict)


def test_a_sink_that_blocks_is_named_and_does_not_keep_the_loop_from_stopping(caplog):
    sink = BlockingSink()
    running = Running(ScriptedSupply([frame(0)], endless=True), sinks=[sink])
    assert eventually(lambda: any("BlockingSink has not returned for 1 s" in line for line in caplog.messages))
    assert running.end() < 1
    assert running.finished is False
    sink.released.set()


# the end


def test_max_frames_ends_the_loop_exactly():
    sink, counters = run([frame(number) for number in range(5)], max_frames=3, endless=True)
    assert len(sink.verdicts) == counters.frames == 3


def test_max_frames_counts_this_run_only():
    counters = RunCounters(frames=10)
    sink = ListSink()
    supply = ScriptedSupply([frame(number) for number in range(5)])
    run_loop(supply, inspector(), [sink], settings(), counters, stop=threading.Event(), max_frames=1)
    assert len(sink.verdicts) == 1


def test_a_duration_ends_the_loop():
    started = time.perf_counter()
    run([frame(0)], endless=True, duration_s=0.1)
    assert 0.1 <= time.perf_counter() - started < 1.1


def test_a_stop_ends_the_loop_within_a_second():
    running = Running(ScriptedSupply([frame(0)], endless=True))
    assert running.sink.wait_until(lambda verdicts: len(verdicts) == 1)
    assert running.end() < 1
    assert running.finished is True


@pytest.mark.parametrize("deadline_ms", [None, 30_000])
def test_a_stop_ends_the_loop_within_a_second_while_the_model_hangs_and_its_frame_has_a_verdict(deadline_ms):
    backend = HangingBackend()
    running = Running(ScriptedSupply([lambda: frame(0)]), backend, chosen=settings(deadline_ms=deadline_ms))
    assert backend.hanging.wait(WAIT_S)
    assert running.end() < 1
    backend.released.set()
    assert running.finished is False
    assert running.sink.reasons == ["deadline_missed"]
    assert running.sink.verdicts[0].detail == "stopped before the model returned"


def test_an_error_of_capture_itself_reaches_the_caller():
    class Broken(ScriptedSupply):
        def take(self, timeout_s):
            raise AssertionError("a bug")

    with pytest.raises(AssertionError, match="a bug"):
        run_loop(Broken([]), inspector(), [], settings(), RunCounters(), stop=threading.Event())


def test_the_loop_costs_little_beside_the_inspection():
    frames = [frame(number, picture(1, 8, 8), Fault(Reason.BLACK, "")) for number in range(2000)]
    started = time.perf_counter()
    run(frames, live=False)
    # about 10 us each on an idle core; the bound only catches a wait per frame
    assert (time.perf_counter() - started) / 2000 < 0.0005
