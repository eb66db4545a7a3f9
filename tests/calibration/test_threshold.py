"""Thresholds keep what they state, over many draws of normals and whatever the distribution of their scores."""

from itertools import product

import numpy as np
import pytest

from benchmarks.studies.thresholds import DISTRIBUTIONS, draw_scores, population, rate_above, simulated
from calibration.threshold import (
    FINEST_BUDGET,
    default_budget,
    fitted_threshold,
    image_threshold,
    pixel_threshold,
    review_threshold,
)
from edge.bundles.threshold_report import rejected, upper_bound

BUDGET = 0.05
SMALL = 0.005
DRAWS = 300


def scores(random, shape, distribution="gamma"):
    return draw_scores(distribution, random, shape)


@pytest.fixture(scope="module")
def populations():
    return {distribution: population(distribution) for distribution in DISTRIBUTIONS}


# what lies within the data: no assumption on the distribution


def test_the_share_of_good_parts_rejected_is_the_budget_on_average(populations):
    for case in product(DISTRIBUTIONS, [39, 200, 777]):
        distribution, count = case
        random = np.random.default_rng(count)
        rates = [
            rate_above(populations[distribution], image_threshold(drawn, BUDGET).value)
            for drawn in scores(random, (DRAWS, count), distribution)
        ]
        # split conformal: the mean over draws is at most the budget, and above budget - 1 / (n + 1); 4 standard errors
        error = 4 * np.std(rates) / np.sqrt(DRAWS)
        assert BUDGET - 1 / (count + 1) - error < np.mean(rates) < BUDGET + error, case


def test_the_bound_holds_in_95_of_100_draws_and_is_no_wider_than_it_must_be(populations):
    for case in product(DISTRIBUTIONS, [(39, BUDGET), (200, BUDGET), (1000, SMALL)]):
        distribution, (count, budget) = case
        random = np.random.default_rng(count + 1)
        fitted = [image_threshold(drawn, budget) for drawn in scores(random, (DRAWS, count), distribution)]
        held = np.mean([rate_above(populations[distribution], each.value) <= each.bound for each in fitted])
        # exact for continuous scores: neither less nor more; 4 standard errors
        assert held == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / DRAWS)), case


def test_the_bound_is_that_of_clopper_and_pearson():
    beta = pytest.importorskip("scipy.stats", reason="scipy is not installed: no second opinion on the bound").beta
    random = np.random.default_rng(2)
    for count, budget in [(20, 0.1), (50, 0.05), (199, 0.05), (1000, 0.005)]:
        threshold = image_threshold(scores(random, count), budget)
        above = count - int(np.ceil((count + 1) * (1 - budget)))
        assert threshold.bound == pytest.approx(beta.ppf(0.95, above + 1, count - above), rel=1e-9)
    for count in (5, 8, 40):
        assert image_threshold(scores(random, count), SMALL).bound == pytest.approx(beta.ppf(0.95, 1, count), rel=1e-9)


def test_scores_that_repeat_make_the_rate_smaller_never_larger():
    random = np.random.default_rng(3)
    steps = np.round(scores(random, (DRAWS, 100)), 2)
    later = np.sort(np.round(scores(random, 100_000), 2))
    rates = [rate_above(later, image_threshold(drawn, BUDGET).value) for drawn in steps]
    assert np.mean(rates) <= BUDGET


# the default: what the data support, with an odd part among them


def test_the_default_budget_never_rises_with_the_number_of_scores_and_ends_at_half_a_percent():
    budgets = [default_budget(count) for count in range(5, 6000)]
    assert budgets == sorted(budgets, reverse=True)
    assert default_budget(39) == pytest.approx(0.05) and default_budget(210) == pytest.approx(0.02, abs=0.001)
    assert default_budget(4000) == FINEST_BUDGET


def test_the_default_budget_asks_for_no_score_beyond_those_held_out_and_spares_one_from_19_on():
    for count in [*range(5, 400), 1000, 5000]:
        fitted = fitted_threshold(np.linspace(0, 0.9, count).astype(np.float32), None)
        above = rejected(np.linspace(0, 0.9, count).astype(np.float32), fitted.threshold)
        assert not fitted.extrapolated and not fitted.budget_asked, count
        assert (above >= 1) == (count >= 19), count
        assert (above + 1) / (count + 1) <= fitted.false_reject_budget + 1e-9, count
        assert fitted.false_reject_bound == upper_bound(above, count), count


def test_one_odd_part_among_those_taught_does_not_blind_the_line():
    random = np.random.default_rng(11)
    for count in (19, 31, 60, 210):
        drawn = scores(random, count)
        odd = drawn.copy()
        odd[3] = 0.999
        # not above what the ordinary parts alone would give, whatever the odd one scores
        assert fitted_threshold(odd, None).threshold <= drawn.max(), count
        # it would, and did, by itself
        assert image_threshold(odd, SMALL).value > drawn.max(), count


def test_parts_that_stand_apart_set_nothing_and_are_counted_in_the_bound():
    drawn = scores(np.random.default_rng(14), 60)
    odd = drawn.copy()
    odd[:4] = 0.9, 0.95, 0.97, 0.99
    ordinary, fitted = fitted_threshold(np.sort(odd)[:56], None), fitted_threshold(odd, None)
    assert (fitted.odd_parts, fitted.threshold) == (4, ordinary.threshold)
    assert fitted.false_reject_bound == upper_bound(5, 60) > ordinary.false_reject_bound
    # nor that of a budget that is asked for
    asked = fitted_threshold(odd, 0.02)
    assert asked.threshold == image_threshold(np.sort(odd)[:56], 0.02).value == drawn[4:].max()
    assert asked.false_reject_bound == upper_bound(4, 60)


def test_a_heavy_tail_is_no_odd_part(populations):
    random = np.random.default_rng(16)
    found = {
        distribution: np.mean([fitted_threshold(s, None).odd_parts for s in scores(random, (DRAWS, 60), distribution)])
        for distribution in DISTRIBUTIONS
    }
    assert max(found.values()) == found["wide lognormal"] < 0.3
    assert sum(found.values()) - found["wide lognormal"] < 0.1


def test_two_kinds_of_good_parts_are_no_odd_parts():
    drawn = scores(np.random.default_rng(15), 60)
    drawn[:12] = np.linspace(0.9, 0.99, 12)
    fitted = fitted_threshold(drawn, None)
    assert fitted.odd_parts == 0 and fitted.threshold > 0.9


def test_the_default_threshold_keeps_its_bound_with_odd_parts_among_the_scores(populations):
    for case in product(DISTRIBUTIONS, [24, 60, 210]):
        distribution, count = case
        random = np.random.default_rng(count + 3)
        held = []
        for drawn in scores(random, (DRAWS, count), distribution):
            # one of twenty-four or more is no ordinary part
            drawn[random.integers(count)] = random.uniform(0.5, 1)
            fitted = fitted_threshold(drawn, None)
            held.append(rate_above(populations[distribution], fitted.threshold) <= fitted.false_reject_bound)
        assert np.mean(held) >= 0.95 - 4 * np.sqrt(0.95 * 0.05 / DRAWS), case


def test_a_budget_that_is_asked_for_is_kept_and_what_lies_beyond_the_supported_level_is_marked():
    drawn = scores(np.random.default_rng(12), 60)
    supported, asked = fitted_threshold(drawn, None), fitted_threshold(drawn, SMALL)
    assert (asked.false_reject_budget, asked.budget_asked, asked.extrapolated) == (SMALL, True, True)
    assert asked.threshold == image_threshold(drawn, SMALL).value > supported.threshold
    assert asked.review_threshold == supported.threshold
    assert supported.review_threshold is None
    # within the scores nothing is marked that nobody asked for
    assert fitted_threshold(drawn, 0.1).review_threshold is None
    assert fitted_threshold(drawn, SMALL, review=0.2).review_threshold == image_threshold(drawn, 0.2).value


def test_a_rejected_part_is_close_up_to_where_unusual_good_parts_reach():
    drawn = scores(np.random.default_rng(13), 60)
    fitted = fitted_threshold(drawn, None)
    assert fitted.certain_threshold >= drawn.max() * (1 - 1e-6) > fitted.threshold
    assert fitted_threshold(drawn, SMALL).certain_threshold is None


# beyond the data: an extrapolation, with its interval


def test_the_interval_of_an_extrapolation_covers_the_rate_about_as_often_as_it_says(populations):
    for case in product(DISTRIBUTIONS, [8, 24, 120]):
        distribution, count = case
        random = np.random.default_rng(count + 2)
        above = 0
        for drawn in scores(random, (100, count), distribution):
            found = image_threshold(drawn, SMALL)
            above += rate_above(populations[distribution], found.value) > found.tail.rate_high
        # 5 of 100 where the model holds, more for a heavier tail than it expects
        assert above <= (25 if distribution == "wide lognormal" else 13), case


def test_an_extrapolated_threshold_rejects_about_what_was_asked(populations):
    for count in [24, 120]:
        random = np.random.default_rng(4)
        for distribution in ("gamma", "exponential", "lognormal"):
            rates = [
                rate_above(populations[distribution], image_threshold(drawn, SMALL).value)
                for drawn in scores(random, (100, count), distribution)
            ]
            assert SMALL / 4 < np.median(rates) < 3 * SMALL, count


def test_the_benchmark_reports_a_case_as_it_came_out(populations):
    row = simulated("gamma", 24, populations["gamma"])
    assert (row["held_out"], row["extrapolated"]) == (24, True)
    assert row["bound_held"] > 0.9
    assert row["tail_interval_held"] <= row["tail_upper_end_held"] <= 1


def test_the_benchmark_says_how_often_an_odd_part_sets_the_threshold(populations):
    default, asked = (simulated("gamma", 60, populations["gamma"], budget, odd=1e-6) for budget in (None, SMALL))
    assert (default["odd_parts"], default["above_all_good"]) == (1, 0.0)
    # a few draws have an ordinary part that stands apart, too
    assert 1 <= default["odd_parts_found"] < 1.1
    assert default["bound_held"] > 0.95 and 0.01 < default["rate_mean"] < default["budget"]
    # with it in the tail, next to nothing would be rejected
    assert SMALL / 4 < asked["rate_median"] < 3 * SMALL


def test_more_normals_make_the_interval_narrower():
    drawn = scores(np.random.default_rng(5), 190)
    widths = []
    for count in (8, 40, 190):
        tail = image_threshold(drawn[:count], SMALL).tail
        assert 0 <= tail.rate_low < tail.rate_high < 1
        assert 0 <= tail.level_low < tail.level_high < 1
        widths.append(tail.rate_high)
    assert widths == sorted(widths, reverse=True)


def test_the_same_scores_give_the_same_extrapolation():
    drawn = scores(np.random.default_rng(6), 30)
    assert image_threshold(drawn, SMALL) == image_threshold(drawn[::-1], SMALL)


def test_an_extrapolated_threshold_is_never_below_the_largest_score():
    for count in [5, 6, 8, 13, 39, 60, 150]:
        random = np.random.default_rng(count)
        for _ in range(20):
            held_out = scores(random, count)
            threshold = image_threshold(held_out, SMALL)
            assert threshold.extrapolated, count
            assert threshold.value >= held_out.max() * (1 - 1e-6), count
            assert threshold.value <= 1, count


def test_enough_normals_need_no_extrapolation():
    random = np.random.default_rng(3)
    held_out = scores(random, 199)
    threshold = image_threshold(held_out, SMALL)
    assert not threshold.extrapolated
    assert threshold.value == held_out.max()
    assert image_threshold(held_out[:198], SMALL).extrapolated


def test_a_smaller_budget_never_lowers_the_threshold():
    held_out = scores(np.random.default_rng(5), 60)
    values = [image_threshold(held_out, budget).value for budget in (0.3, 0.1, 0.05, 0.02, 0.005, 0.001)]
    assert values == sorted(values)


def test_equal_scores_give_their_own_value():
    for level in [0.0, 0.3, 1.0]:
        threshold = image_threshold(np.full(12, level, np.float32), SMALL)
        assert threshold.value == pytest.approx(level, abs=1e-5), level


# the unsure band, and the map


def test_the_unsure_band_marks_its_share_of_good_parts_on_average(populations):
    random = np.random.default_rng(7)
    rates = []
    for drawn in scores(random, (DRAWS, 400)):
        rates.append(
            rate_above(populations["gamma"], review_threshold(drawn, BUDGET, image_threshold(drawn, SMALL).value))
        )
    assert np.mean(rates) == pytest.approx(BUDGET, abs=0.003)


def test_equal_scores_leave_no_unsure_band():
    drawn = np.full(300, 0.2, np.float32)
    assert review_threshold(drawn, BUDGET, image_threshold(drawn, SMALL).value) is None


def test_the_pixel_threshold_says_how_much_of_good_parts_lies_above_it():
    maps = np.random.default_rng(8).exponential(0.05, (40, 32 * 32)).astype(np.float32)
    maps[3, :50] += 1
    found = pixel_threshold(maps, image_level=2.0)
    assert found.share == pytest.approx(0.001, abs=1 / maps.size)
    assert found.largest_share == (maps[3] > np.float32(found.value)).mean()


def test_the_pixel_threshold_is_at_most_the_image_threshold():
    maps = np.random.default_rng(9).exponential(0.05, (40, 100)).astype(np.float32)
    found = pixel_threshold(maps, image_level=0.1)
    assert found.value == 0.1
    assert found.share > 0.1
