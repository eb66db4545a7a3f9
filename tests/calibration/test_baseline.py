"""Thresholds keep what they state, over many draws of normals."""

import numpy as np
import pytest

from calibration.baseline import image_threshold

BUDGET = 0.05


def scores(random, count):
    """Scores as a line gives them: bunched near zero, with an exponential tail, in 0..1."""
    return -np.expm1(-random.gamma(6.0, 0.02, count)).astype(np.float32)


def test_the_share_of_good_parts_rejected_is_the_budget_on_average():
    random = np.random.default_rng(0)
    rates = [
        float((scores(random, 2000) > image_threshold(scores(random, 199), BUDGET).value).mean()) for _ in range(200)
    ]
    # split conformal: the mean over draws is at most the budget, and above budget - 1 / (n + 1)
    assert np.mean(rates) == pytest.approx(BUDGET, abs=0.004)


def test_the_upper_bound_holds_in_at_least_95_of_100_draws():
    random = np.random.default_rng(1)
    held = []
    for _ in range(300):
        threshold = image_threshold(scores(random, 120), BUDGET)
        held.append(float((scores(random, 4000) > threshold.value).mean()) <= threshold.bound)
    # three standard errors of 300 draws
    assert np.mean(held) >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / 300)


def test_the_bound_is_that_of_clopper_and_pearson():
    beta = pytest.importorskip("scipy.stats", reason="scipy is not installed: no second opinion on the bound").beta
    random = np.random.default_rng(2)
    for count, budget in [(20, 0.1), (50, 0.05), (199, 0.05), (1000, 0.005)]:
        threshold = image_threshold(scores(random, count), budget)
        above = count - int(np.ceil((count + 1) * (1 - budget)))
        assert threshold.bound == pytest.approx(beta.ppf(0.95, above + 1, count - above), rel=1e-9)
    for count in (5, 8, 40):
        assert image_threshold(scores(random, count), 0.005).bound == pytest.approx(beta.ppf(0.95, 1, count), rel=1e-9)


@pytest.mark.parametrize("count", [5, 6, 8, 13, 39, 60, 150])
def test_an_extrapolated_threshold_is_never_below_the_largest_score(count):
    random = np.random.default_rng(count)
    for _ in range(50):
        held_out = scores(random, count)
        threshold = image_threshold(held_out, 0.005)
        assert threshold.extrapolated
        assert threshold.value >= held_out.max() * (1 - 1e-6)
        assert threshold.value <= 1


def test_enough_normals_need_no_extrapolation():
    random = np.random.default_rng(3)
    held_out = scores(random, 199)
    threshold = image_threshold(held_out, 0.005)
    assert not threshold.extrapolated
    assert threshold.value == held_out.max()
    assert image_threshold(held_out[:198], 0.005).extrapolated


def test_an_extrapolated_threshold_rejects_about_what_was_asked_where_the_tail_is_as_assumed():
    random = np.random.default_rng(4)
    later = scores(random, 200_000)
    rates = [float((later > image_threshold(scores(random, 40), 0.005).value).mean()) for _ in range(200)]
    assert 0.5 * 0.005 < np.mean(rates) < 3 * 0.005


def test_a_smaller_budget_never_lowers_the_threshold():
    held_out = scores(np.random.default_rng(5), 60)
    values = [image_threshold(held_out, budget).value for budget in (0.3, 0.1, 0.05, 0.02, 0.005, 0.001)]
    assert values == sorted(values)


@pytest.mark.parametrize("level", [0.0, 0.3, 1.0])
def test_equal_scores_give_their_own_value(level):
    threshold = image_threshold(np.full(12, level, np.float32), 0.005)
    assert threshold.value == pytest.approx(level, abs=1e-5)
