"""Every membership function by numbers worked out by hand."""

import math

import numpy as np
import pytest

from training.rules.features import FEATURES, Scaling
from training.rules.membership import (
    FuzzySet,
    Membership,
    SetTextError,
    gaussian,
    hedged,
    set_from_text,
    sigmoid,
    trapezoid,
)


def test_a_trapezoid_rises_stays_and_falls():
    for x, expected in [(0.1, 0), (0.2, 0), (0.3, 0.5), (0.4, 1), (0.5, 1), (0.6, 1), (0.7, 0.75), (0.9, 0.25), (1, 0)]:
        assert float(trapezoid(x, 0.2, 0.4, 0.6, 1.0)) == pytest.approx(expected), x


def test_equal_corners_make_a_step_that_includes_its_end():
    assert trapezoid([0, 0.3, 0.31], 0, 0, 0.3, 0.3).tolist() == [1, 1, 0]
    assert trapezoid([0.69, 0.7, 1], 0.7, 0.7, 1, 1).tolist() == [0, 1, 1]


def test_a_sigmoid_is_half_at_its_centre_and_falls_with_a_negative_width():
    assert float(sigmoid(0.5, 0.5, 0.1)) == 0.5
    assert float(sigmoid(0.6, 0.5, 0.1)) == pytest.approx(1 / (1 + math.exp(-1)))
    assert float(sigmoid(0.6, 0.5, -0.1)) == pytest.approx(1 / (1 + math.exp(1)))
    assert float(sigmoid(1.0, 0.0, 1e-6)) == pytest.approx(1)


def test_a_gaussian_is_one_at_its_centre():
    assert float(gaussian(0.4, 0.4, 0.2)) == 1
    assert float(gaussian(0.6, 0.4, 0.2)) == pytest.approx(math.exp(-0.5))
    assert float(gaussian(0.0, 0.4, 0.2)) == pytest.approx(math.exp(-2))


def test_very_squares_and_somewhat_takes_the_root():
    half = np.array([0.25])
    assert hedged(half, ("very",)).tolist() == [0.0625]
    assert hedged(half, ("somewhat",)).tolist() == [0.5]
    assert hedged(half, ("very", "very")).tolist() == [0.25**4]
    assert hedged(half, ("very", "somewhat")).tolist() == [0.25]


def test_a_circular_feature_has_no_seam():
    red = Membership("gaussian", (0.0, 0.1), circular=True)
    assert float(red(0.95)) == pytest.approx(float(red(0.05)))
    assert float(Membership("gaussian", (0.0, 0.1))(0.95)) < 1e-6
    horizontal = FEATURES["orientation"].words["horizontal"].bound(circular=True)
    assert float(horizontal(0.99)) > 0.9


def test_a_set_is_read_with_or_without_punctuation():
    assert set_from_text("trapezoid(0, 0, 0.2, 0.4)") == set_from_text("trapezoid 0 0 0.2 0.4")
    assert str(set_from_text("Sigmoid q0.95 -0.05")) == "sigmoid q0.95 -0.05"


def test_quantiles_of_good_parts_stand_in_for_numbers():
    low = set_from_text("trapezoid 0 0 q0.05 q0.25")
    bound = low.bound(quantile=lambda share: 0.3 + share)
    assert bound.parameters == pytest.approx((0, 0, 0.35, 0.55))
    assert not low.absolute


def test_a_quantile_before_a_fixed_corner_makes_the_later_corner_give_way():
    assert set_from_text("trapezoid 0.2 0.4 q0.5 q0.9").bound(quantile=lambda share: 0.1).parameters == (
        0.2, 0.4, 0.4, 0.4,
    )  # fmt: skip


def test_auto_has_three_quarters_of_the_strongest_regions_on_its_side():
    low = FuzzySet("auto", side="low").bound(strongest=(0.2, 0.6))
    high = FuzzySet("auto", side="high").bound(strongest=(0.2, 0.6))
    assert (low.parameters, high.parameters) == ((0.6, pytest.approx(-0.1)), (0.2, pytest.approx(0.1)))
    assert float(low(0.6)) == float(high(0.2)) == 0.5
    assert float(low(0.2)) > 0.95 and float(high(0.6)) > 0.95


def test_auto_of_equal_regions_is_no_step():
    assert FuzzySet("auto", side="high").bound(strongest=(0.4, 0.4)).parameters[1] == pytest.approx(0.02)


def test_auto_cannot_be_used_before_weak_parts_were_seen():
    with pytest.raises(ValueError, match="weak parts"):
        FuzzySet("auto", side="low").bound()


def test_a_set_that_cannot_be_meant_is_refused(subtests):
    for text, says, fix in [
        ("triangle 0 1 2", "`triangle` is no shape", "trapezoid a b c d"),
        ("", "is no shape", "gaussian"),
        ("trapezoid 0 1", "trapezoid needs 4 numbers, got 2", "trapezoid a b c d"),
        ("sigmoid 0.5 steep", "`steep` is no number", "q0.05"),
        ("sigmoid nan 0.1", "`nan` is no number", "0.3"),
        ("trapezoid 0 0 q5 q25", "`q5` is no quantile", "q0 to q1"),
        ("trapezoid 0 0.5 0.4 1", "the corner 0.4 comes after 0.5", "ascending"),
        ("trapezoid 0 0 q0.5 q0.2", "the corner q0.2 comes after q0.5", "ascending"),
        ("gaussian 0.5 0", "the width 0 is impossible", "above 0"),
        ("gaussian 0.5 -0.1", "the width -0.1 is impossible", "above 0"),
        ("sigmoid 0.5 0", "the width 0 is impossible", "below 0 to fall"),
        ("sigmoid 0.5 q0.1", "the width cannot be a quantile", "0.1"),
        ("auto", "does not say a side", "auto low"),
        ("auto medium", "does not say a side", "auto high"),
    ]:
        with subtests.test(text=text):
            with pytest.raises(SetTextError) as caught:
                set_from_text(text)
            assert says in caught.value.message
            assert fix in caught.value.fix


def test_an_empty_set_is_known_for_what_it_is():
    assert set_from_text("trapezoid 1.2 1.3 1.4 1.5").is_empty(circular=False)
    assert set_from_text("sigmoid 3 0.1").is_empty(circular=False)
    assert not set_from_text("gaussian 1.05 0.1").is_empty(circular=False)
    assert not set_from_text("trapezoid -0.2 -0.1 -0.1 -0.05").is_empty(circular=True)
    assert not set_from_text("trapezoid 2 2 q0.5 q0.6").is_empty(circular=False)


def test_scales_are_linear_logarithmic_or_ranks_among_good_parts():
    assert Scaling("range", 10, 20)([5, 10, 15, 30]).tolist() == [0, 0, 0.5, 1]
    assert Scaling("log", 0.001, 0.1)([0, 0.001, 0.01, 1]).tolist() == pytest.approx([0, 0, 0.5, 1])
    rank = Scaling("normal", 0, 1)
    assert rank([-1, 0, 25.5, 99, 300], np.arange(101.0)).tolist() == pytest.approx([0, 0, 0.255, 0.99, 1])
    assert rank([0.25]).tolist() == [0.25]


def test_a_value_that_many_good_regions_share_has_their_middle_rank():
    # half of the good regions are exactly zero: zero is not low among them
    quantiles = np.concatenate([np.zeros(51), np.linspace(0.1, 1, 50)])
    assert float(Scaling("normal", 0, 1)(0.0, quantiles)) == pytest.approx(0.25)


def test_every_feature_knows_low_medium_and_high_and_has_no_empty_word():
    for feature in FEATURES.values():
        assert {"low", "medium", "high"} <= set(feature.words)
        assert not [word for word, found in feature.words.items() if found.is_empty(feature.circular)]
