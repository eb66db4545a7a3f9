"""A regression is found when there is one, and not when there is none."""

import numpy as np
import pytest

from benchmarks.timing.report.regression import compare_reports, explanation
from edge.core.errors import UsageError
from tests.benchmarks.timing.reports import noisy, report


def compared(before, after, limit=1.05, across=False):
    return compare_reports(before, after, limit, across=across)


def test_two_runs_of_the_same_are_no_regression():
    found = compared(report(noisy(6, 0), noisy(5, 1)), report(noisy(6, 2), noisy(5, 3)))
    assert not found.regressed
    for change in found.changes:
        assert change.low < 1 < change.high


def test_a_slower_loop_is_found_and_told_from_a_slower_engine():
    found = compared(report(noisy(6, 0), noisy(5, 1)), report(noisy(6.9, 2), noisy(5, 3)))
    worse = {change.name for change in found.changes if change.worse}
    assert worse >= {"end_to_end_p50_ms", "overhead_ratio_p50"}
    assert "engine_p50_ms" not in worse
    assert "bare engine is not" in explanation(found)


def test_a_machine_that_is_slower_throughout_is_said_to_be():
    found = compared(report(noisy(6, 0), noisy(5, 1)), report(noisy(7.8, 2), noisy(6.5, 3)))
    assert found.regressed
    assert "bare engine as much" in explanation(found)


def test_within_the_limit_nothing_is_worse():
    found = compared(report(noisy(6, 0), noisy(5, 1)), report(noisy(6.6, 2), noisy(5, 3)), limit=1.3)
    assert not found.regressed


def test_what_may_be_chance_is_no_regression_but_is_said():
    random = np.random.default_rng(0)
    wild = random.lognormal(0, 1, 40) * 6
    found = compared(report(wild, noisy(5, 1, 40)), report(wild[::-1] * 1.1, noisy(5, 2, 40)))
    assert not found.regressed
    assert "Measure longer" in explanation(found)


def test_an_interval_lies_around_its_ratio():
    found = compared(report(noisy(6, 0), noisy(5, 1)), report(noisy(9, 2), noisy(5, 3)))
    whole = found.changes[0]
    assert whole.low < whole.ratio < whole.high
    assert whole.low < 1.5 < whole.high


@pytest.mark.parametrize(
    ("change", "named"),
    [({"bundle_sha256": "c"}, "bundle"), ({"backend": "onnxruntime"}, "backend"), ({"cadence": "2/s"}, "cadence")],
)
def test_different_things_are_compared_only_when_asked_for(change, named):
    before, after = report(noisy(6, 0), noisy(5, 1)), report(noisy(6, 2), noisy(5, 3), **change)
    with pytest.raises(UsageError, match=named) as refused:
        compared(before, after)
    assert "--across" in refused.value.fix
    assert named in compared(before, after, across=True).differences[0]


def test_another_machine_is_another_thing():
    before, after = report(noisy(6, 0), noisy(5, 1)), report(noisy(6, 2), noisy(5, 3))
    after["machine"] = {**after["machine"], "processor": "Other"}
    with pytest.raises(UsageError, match="processor: Test and Other"):
        compared(before, after)


def test_versions_and_governors_are_noted():
    before, after = report(noisy(6, 0), noisy(5, 1)), report(noisy(6, 2), noisy(5, 3))
    after["machine"] = {**after["machine"], "power": {"governor": "powersave"}}
    assert compared(before, after).notes == ("power settings governor: performance and powersave",)


@pytest.mark.parametrize("spoilt", [{}, {"samples": 3}, {"samples": {"end_to_end_ms": ["x"], "engine_ms": [1]}}])
def test_what_is_no_report_is_refused(spoilt):
    good = report(noisy(6, 0), noisy(5, 1))
    with pytest.raises(UsageError):
        compared(good, {**{key: good[key] for key in ("machine", "run")}, **spoilt})


def test_too_few_frames_are_refused():
    with pytest.raises(UsageError, match="too short"):
        compared(report([6.0] * 5, [5.0] * 5), report([6.0] * 5, [5.0] * 5))
