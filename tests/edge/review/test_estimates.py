"""Rates of escapes and overkill, and whether their intervals hold the truth of lines whose rates are known."""

from __future__ import annotations

import pytest

from benchmarks.studies.review_estimates import LINES, RATES, escapes, looked_up, overkill
from edge.metrics import rate_interval, weighted_interval
from edge.review.estimates import Stratum, escape_estimate, overkill_estimate

LEAST = 0.93


def test_three_hundred_clean_parts_say_at_most_one_percent():
    estimate = escape_estimate([Stratum(10_000, 300, 0)])
    assert (estimate.value, estimate.low) == (0, 0)
    assert estimate.at_most == pytest.approx(1 - 0.05 ** (1 / 300))
    assert estimate.at_most < 0.01 < estimate.high


def test_a_part_stands_for_as_many_as_its_stratum_has_for_each_that_was_looked_at():
    estimate = escape_estimate([Stratum(9_000, 90, 9), Stratum(1_000, 100, 1)])
    assert estimate.value == pytest.approx(0.9 * 0.1 + 0.1 * 0.01)
    interval = weighted_interval([9, 1], [0.9 / 90, 0.1 / 100])
    assert (estimate.low, estimate.high) == pytest.approx((interval.low, interval.high))
    alone = escape_estimate([Stratum(9_000, 90, 9)])
    assert (alone.low, alone.high) == pytest.approx((rate_interval(9, 90).low, rate_interval(9, 90).high))


def test_all_of_a_stratum_that_nobody_looked_at_could_be_defective():
    known = escape_estimate([Stratum(9_000, 300, 1)])
    partly = escape_estimate([Stratum(9_000, 300, 1), Stratum(1_000, 0, 0)])
    assert partly.value == known.value
    assert partly.low == pytest.approx(0.9 * known.low)
    assert partly.high == pytest.approx(0.9 * known.high + 0.1)
    assert escape_estimate([Stratum(9_000, 0, 0)]).value is None
    assert escape_estimate([]).value is None


def test_overkill_is_the_share_of_rejects_times_that_of_good_ones_among_them():
    estimate = overkill_estimate(10_000, Stratum(200, 50, 10))
    assert estimate.value == pytest.approx(0.02 * 0.2)
    assert estimate.low < estimate.value < estimate.high
    assert overkill_estimate(10_000, Stratum(200, 0, 0)).value is None
    assert overkill_estimate(0, Stratum(0, 0, 0)).value is None
    none = overkill_estimate(300, Stratum(0, 0, 0))
    assert (none.value, none.at_most) == (0, pytest.approx(1 - 0.05 ** (1 / 300)))


def test_intervals_of_escapes_hold_the_truth_also_when_the_probability_changed_and_with_an_unsure_band(subtests):
    # the other lines are in the study, with other samples
    for line in (LINES[0], LINES[2], LINES[4]):
        for rate in RATES:
            with subtests.test(line=line.name, rate=rate):
                found = escapes(line, rate, 300)
                assert found["interval_held"] >= LEAST and found["bound_held"] >= LEAST, found
                # on average it is the rate itself, and no other
                assert found["mean"] == pytest.approx(found["rate"], rel=0.25 if rate < 0.01 else 0.1)


def test_intervals_of_overkill_hold_the_truth(subtests):
    for reject_rate, good_share, sample in ((0.001, 0.3, 50), (0.01, 0.02, 50), (0.01, 0.9, 50)):
        with subtests.test(reject_rate=reject_rate, good_share=good_share):
            found = overkill(reject_rate, good_share, sample)
            assert found["interval_held"] >= LEAST and found["bound_held"] >= LEAST, found


def test_whoever_looks_for_escapes_makes_the_rate_neither_better_nor_worse():
    found = looked_up(runs=80)
    assert found["interval_held"] >= LEAST
    assert found["mean"] == pytest.approx(found["rate"], rel=0.1)
    # the shares of all labels, and of those that were asked for, are far off
    assert found["all_labels"] > 2 * found["rate"] and found["asked_only"] < 0.6 * found["rate"]
