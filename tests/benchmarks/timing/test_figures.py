"""Figures say what the times say: all of them, with the worst."""

import numpy as np

from benchmarks.timing.report.figures import block_bootstrap, deadline_misses, histogram, percentiles, slope


def test_percentiles_are_those_of_all_values():
    values = np.arange(1.0, 1002.0)
    assert percentiles(values) == {
        "p50": 501.0, "p90": 901.0, "p95": 951.0, "p99": 991.0, "p99.9": 1000.0, "max": 1001.0, "mean": 501.0
    }  # fmt: skip


def test_one_value_a_thousand_times_as_long_is_the_maximum_and_has_its_bin():
    values = np.array([1.0] * 999 + [1000.0])
    bins = histogram(values)
    assert percentiles(values)["max"] == 1000.0
    assert sum(count for _, _, count in bins) == 1000
    assert bins[-1][2] == 1
    assert bins[-1][0] < 1000.0 <= bins[-1][1]


def test_a_histogram_holds_every_value_also_of_degenerate_runs():
    for values in [[3.0], [3.0, 3.0], [0.0, 3.0]]:
        assert sum(count for _, _, count in histogram(np.array(values))) == len(values), values


def test_frames_that_were_never_looked_at_are_missed_deadlines():
    misses = deadline_misses(np.array([9.0, 10.0, 11.0]), np.full(3, 10.0), dropped=2)
    assert (misses["missed"], misses["of"], misses["dropped"]) == (3, 5, 2)
    assert misses["share_low_95"] < 3 / 5 < misses["share_high_95"]


def test_a_drift_is_found_with_an_interval_around_it():
    at = np.linspace(0, 2, 2000)
    values = 10 + 0.5 * at + np.random.default_rng(0).normal(0, 0.3, at.size)
    found = slope(at, values, lambda block: float(np.median(block)))
    assert found["low_95"] < 0.5 < found["high_95"]
    assert found["low_95"] > 0.3


def test_noise_is_no_drift():
    at = np.linspace(0, 2, 2000)
    values = np.random.default_rng(1).exponential(1, at.size)
    found = slope(at, values, lambda block: float(np.median(block)))
    assert found["low_95"] < 0 < found["high_95"]


def test_a_few_values_have_no_drift():
    assert slope(np.arange(4.0), np.arange(4.0), lambda block: float(block.mean())) is None


def test_the_bootstrap_draws_stretches_of_neighbours():
    rows = block_bootstrap(400, np.random.default_rng(0))
    steps = np.diff(rows) % 400
    assert rows.size == 400
    assert np.count_nonzero(steps == 1) >= 0.9 * steps.size
