"""The report of a run whose times are known."""

import numpy as np
import pytest

from benchmarks.timing.measure.interleaved import LATE, UNFIT
from benchmarks.timing.report.report import MOST_SAMPLES, latency_report
from edge.core.errors import UsageError
from tests.benchmarks.timing.reports import measured, stopwatch


def test_the_overhead_is_end_to_end_over_the_bare_engine_of_the_same_run():
    found = latency_report(measured(stopwatch([6.0] * 10, [4.0] * 10)))
    assert found["overhead_ratio_p50"] == 1.5
    assert found["overhead_ratio_paired"] == 1.5
    assert found["frames_per_s"] == pytest.approx(1000 / 6, abs=0.01)
    assert found["end_to_end_ms"]["p50"] == 6.0
    assert found["engine_ms"]["p50"] == 4.0


def test_the_loop_is_all_that_the_engine_is_not():
    found = latency_report(measured(stopwatch([6.0] * 10, [4.0] * 10, infer_ms=2.0)))
    assert found["loop_ms"]["p50"] == 4.0
    assert found["loop_over_engine_p50"] == 1.0


def test_the_verdict_comes_before_the_sinks_and_after_the_grab():
    found = latency_report(measured(stopwatch([6.0] * 10, [4.0] * 10)))
    outside = found["stages_ms"]["grab"]["p50"] + found["stages_ms"]["sink"]["p50"]
    assert found["verdict_ms"]["p50"] == 6.0 - outside
    assert found["verdict_ratio_p50"] == (6.0 - outside) / 4.0


def test_every_stage_has_its_percentiles_in_the_order_of_a_frames_way():
    found = latency_report(measured(stopwatch([6.0, 7.0, 8.0], [4.0] * 3)))
    assert list(found["stages_ms"]) == ["grab", "wait", "preprocess", "infer", "residual", "decide", "sink"]
    assert found["stages_ms"]["infer"]["p99.9"] == 2.0
    assert found["stages_ms"]["sink"]["max"] == 3.5


def test_nothing_is_clipped():
    whole = [6.0] * 999 + [6000.0]
    found = latency_report(measured(stopwatch(whole, [4.0] * 1000)))
    assert found["end_to_end_ms"]["max"] == 6000.0
    assert sum(count for _, _, count in found["histograms"]["end_to_end"]) == 1000
    assert found["outliers"][0]["end_to_end_ms"] == 6000.0
    assert found["outliers"][0]["most_in"] == "sink"


def test_the_warm_up_is_told_apart():
    found = latency_report(measured(stopwatch([500.0, 50.0] + [6.0] * 8, [90.0, 90.0] + [4.0] * 8), warm_up=2))
    assert found["end_to_end_ms"]["max"] == 6.0
    assert found["engine_ms"]["max"] == 4.0
    assert found["warm_up"]["frames"] == 2
    assert found["warm_up"]["first_ms"] == 500.0


def test_a_late_verdict_counts_and_an_unfit_picture_does_not():
    whole, fates = [6.0, 6.0, 900.0, 0.1], [0, 0, LATE, UNFIT]
    found = latency_report(measured(stopwatch(whole, [4.0] * 4, fates=fates)))
    assert found["frames"] == 3
    assert found["end_to_end_ms"]["max"] == 900.0
    assert found["stages_ms"]["sink"]["max"] == 1.5


def test_without_a_deadline_a_frame_has_until_the_next_one():
    timed = stopwatch([6.0, 30.0, 6.0], [4.0] * 3, gap_ms=20.0)
    timed.dropped = 1
    deadline = latency_report(measured(timed))["deadline"]
    assert (deadline["missed"], deadline["of"]) == (2, 4)


def test_a_deadline_that_is_given_counts():
    deadline = latency_report(measured(stopwatch([6.0, 30.0, 6.0], [4.0] * 3)), deadline_ms=5.0)["deadline"]
    assert (deadline["missed"], deadline["of"]) == (3, 3)


def test_back_to_back_there_is_no_deadline_to_miss():
    assert latency_report(measured(stopwatch([6.0] * 3, [4.0] * 3)))["deadline"] is None


def test_streams_are_taken_together_and_their_rates_added():
    found = latency_report(measured(stopwatch([10.0] * 4, [5.0] * 4), stopwatch([20.0] * 4, [5.0] * 4)))
    assert found["frames"] == 8
    assert found["frames_per_s"] == 150.0
    assert found["end_to_end_ms"]["max"] == 20.0


def test_memory_that_grows_is_told_with_an_interval():
    memory = [(second, second * 100, 200 + second / 100) for second in range(200)]
    found = latency_report(measured(stopwatch([6.0] * 20, [4.0] * 20, memory=memory)))["memory"]
    assert (found["start_mb"], found["max_mb"]) == (200.0, 202.0)
    assert found["slope_mb_per_hour"]["per_unit"] == pytest.approx(36.0, rel=0.01)
    assert found["slope_kb_per_1000_frames"]["per_unit"] == pytest.approx(100.0, rel=0.01)


def test_of_a_long_run_the_samples_are_thinned_and_the_percentiles_are_not():
    whole = np.full(MOST_SAMPLES * 2, 6.0)
    whole[1] = 700.0
    found = latency_report(measured(stopwatch(whole, [4.0] * whole.size)))
    assert len(found["samples"]["end_to_end_ms"]) == MOST_SAMPLES
    assert found["end_to_end_ms"]["max"] == 700.0


def test_a_run_without_a_verdict_says_why():
    timed = stopwatch([1.0] * 3, [4.0] * 3, fates=[UNFIT] * 3)
    timed.invalid["black"] = 3
    with pytest.raises(UsageError, match="black 3"):
        latency_report(measured(timed))
