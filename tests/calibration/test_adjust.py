"""Another threshold from the scores that lie in the bundle, and the refusal of one that makes no sense."""

import io
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from calibration.adjust import band_is_automatic, with_budget, with_review, with_value
from calibration.threshold import default_budget, image_threshold
from calibration.tradeoff import choices, in_force, tradeoff_lines
from edge.bundles.calibration import Calibration, calibration_from_bytes
from edge.bundles.threshold_report import normals_for_bound, share_text, statement, upper_bound
from edge.core.errors import BundleError, UsageError

SIDE = 2


def without(calibration, *names):
    """The calibration as it is read from a file that does not have these fields."""
    old = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(calibration.to_bytes())) as whole, zipfile.ZipFile(old, "w") as older:
        for name in whole.namelist():
            if name.removesuffix(".npy") not in names:
                older.writestr(name, whole.read(name))
    return calibration_from_bytes(old.getvalue(), (SIDE, SIDE))


def calibration_of(scores, budget=0.005):
    fitted = image_threshold(scores, budget)
    return Calibration(
        model_sha256="e" * 64,
        preprocess_sha256="p" * 64,
        mean=np.zeros((SIDE, SIDE), np.float32),
        inv_std=np.ones((SIDE, SIDE), np.float32),
        threshold=fitted.value,
        pixel_threshold=fitted.value / 2,
        false_reject_budget=budget,
        false_reject_bound=fitted.bound,
        extrapolated=fitted.extrapolated,
        scores=scores,
        created_utc="2026-01-01T00:00:00+00:00",
        pixel_share=0.001,
        pixel_share_largest=0.02,
    )


@pytest.fixture
def calibration():
    random = np.random.default_rng(0)
    return calibration_of((-np.expm1(-random.gamma(6.0, 0.02, 400))).astype(np.float32))


def test_400_good_parts_promise_what_order_statistics_say(calibration):
    text = "\n".join(statement(calibration))
    assert "1 of the 400 are above it: the rate is below 1.2 % with 95 % confidence" in text
    assert "with 400 held-out good parts, none above the threshold, the 95 % bound is 0.75 %" in text
    assert "198 more would give 0.50 %; 2,595 more would give 0.10 %" in text
    # maps of the first 256 alone
    assert "fewer than 1.2 % of good parts have more" in text


def test_so_many_more_normals_reach_the_bound_and_one_fewer_does_not():
    for rate in [0.1, 0.005, 0.001, 0.00002]:
        count = normals_for_bound(rate)
        assert upper_bound(0, count) <= rate < upper_bound(0, count - 1), rate


def test_an_extrapolation_is_marked_and_has_its_interval(calibration):
    few = with_budget(replace(calibration, scores=calibration.scores[:24]), 0.005)
    text = "\n".join(statement(few))
    assert "EXTRAPOLATED from 24 held-out good parts" in text
    assert "so few only show a false-reject rate below 12 %" in text
    assert "(generalised Pareto): " in text
    assert "90 % interval" in text
    assert f"{share_text(few.tail_high)}, 90 %" in text


def test_a_value_set_by_hand_promises_what_the_held_out_parts_show(calibration):
    value = float(np.sort(calibration.scores)[-4])
    made = with_value(calibration, value)
    assert (made.threshold, made.set_by_hand) == (value, True)
    assert made.false_reject_bound == upper_bound(3, 400)
    assert "SET BY HAND" in statement(made)[0]
    assert "3 of the 400 are above it" in statement(made)[1]
    assert not with_budget(made, 0.005).set_by_hand
    assert with_budget(made, 0.005).threshold == calibration.threshold


def test_a_threshold_outside_the_scores_range_is_refused(calibration, subtests):
    for value in [-0.1, 0.0, 1.0, 7.0]:
        with subtests.test(value=value), pytest.raises(UsageError, match="scores lie between 0 and 1"):
            with_value(calibration, value)


def test_a_threshold_that_rejects_most_good_parts_is_refused_with_their_number(calibration):
    low = float(np.quantile(calibration.scores, 0.3))
    with pytest.raises(UsageError, match="would reject 280 of the 400 held-out good parts"):
        with_value(calibration, low)
    with pytest.raises(UsageError, match="of the 400"):
        with_budget(calibration, 0.8)


def test_a_lower_threshold_takes_the_pixel_threshold_along_so_that_ng_parts_have_a_place(calibration):
    value = float(np.quantile(calibration.scores, 0.6))
    made = with_value(replace(calibration, pixel_threshold=calibration.threshold), value)
    assert made.pixel_threshold == value
    assert made.pixel_share is None


def test_the_unsure_band_is_fitted_shown_and_ends_at_the_threshold(calibration):
    made = with_review(calibration, 0.05)
    assert 0 < made.review_threshold < made.threshold
    assert "19 of the 400 good parts are above it, fewer than 6.9 %" in statement(made)[-1]
    assert with_review(made, None).review_threshold is None
    assert with_value(made, made.review_threshold * 0.99).review_threshold is None
    with pytest.raises(UsageError, match="leave no band below the threshold"):
        with_review(calibration, 0.005)


def test_known_defective_parts_are_shown_and_move_nothing(calibration):
    seen = replace(calibration, ng_scores=np.array([0.05, 0.4, 0.5], np.float32))
    assert "2 of 3 NG" in statement(seen)[-1]
    assert with_budget(seen, 0.01).threshold == with_budget(calibration, 0.01).threshold
    table, plain = (
        tradeoff_lines(seen.scores, seen.ng_scores),
        tradeoff_lines(calibration.scores, calibration.ng_scores),
    )
    assert all("of 3 NG" in line for line in table[1:])
    for with_recall, without in zip(table, plain, strict=True):
        assert with_recall.startswith(without.split("(extrapolated)")[0].rstrip()[:20])


def test_the_table_has_the_threshold_in_force_for_its_budget_and_no_other(calibration):
    # as another version of the program fitted it
    older = replace(calibration, threshold=calibration.threshold - 0.01)
    (row,) = [choice for choice in choices(older.scores, in_force(older)) if choice.in_force]
    assert (row.budget, row.threshold) == (0.005, older.threshold)
    table = tradeoff_lines(older.scores, older.ng_scores, in_force(older))
    (line,) = [line for line in table if line.startswith("  0.50 % ")]
    assert f"{older.threshold:.4f}" in line and line.endswith("<- in force")
    assert f"threshold {older.threshold:.4f} for a false-reject budget of 0.50 %" in statement(older)[0]
    assert len(table) == 7


def test_a_budget_between_those_of_the_table_gets_its_own_row_and_a_hand_set_threshold_none(calibration):
    other = replace(calibration, false_reject_budget=0.003)
    found = choices(other.scores, in_force(other))
    assert [choice.budget for choice in found if choice.in_force] == [0.003]
    assert [choice.budget for choice in found] == sorted(choice.budget for choice in found)
    assert in_force(with_value(calibration, float(calibration.scores.max()))) is None


def test_every_field_survives_the_file(calibration):
    made = replace(
        with_review(calibration, 0.05), ng_scores=np.array([0.4], np.float32), tail_low=0.001, tail_high=0.1,
        budget_asked=False, certain_threshold=0.7, part_names=np.array([f"{number:016x}" for number in range(400)]),
    )  # fmt: skip
    read = calibration_from_bytes(made.to_bytes(), (SIDE, SIDE))
    for name in Calibration.__dataclass_fields__:
        assert np.array_equal(getattr(read, name), getattr(made, name)), name


def test_a_file_of_before_there_were_these_fields_reads_as_it_was_meant(calibration):
    made = with_review(calibration, 0.05)
    read = without(
        made, "tail_low", "tail_high", "review_threshold", "pixel_share", "pixel_share_largest", "set_by_hand",
        "ng_scores",
    )  # fmt: skip
    assert (read.threshold, read.review_threshold, read.pixel_share, read.set_by_hand) == (
        made.threshold,
        None,
        None,
        False,
    )
    assert len(read.ng_scores) == 0
    assert "pixel threshold" in statement(read)[-1]


def test_a_file_that_does_not_say_who_set_its_budget_keeps_it_as_one_that_was_asked_for(calibration):
    read = without(calibration, "budget_asked", "certain_threshold", "part_names")
    assert (read.budget_asked, read.certain_threshold, len(read.part_names)) == (True, None, 0)
    assert read.false_reject_budget == 0.005


def test_without_a_budget_the_threshold_is_what_the_held_out_parts_support(calibration):
    made = with_budget(calibration, None)
    assert not made.budget_asked and made.false_reject_budget == default_budget(400)
    assert made.threshold == np.sort(calibration.scores)[-6]
    assert "which is what they support, from 400 held-out good parts" in statement(made)[0]
    assert f"rejected up to {made.certain_threshold:.4f} is close" in "\n".join(statement(made))
    assert with_value(made, 0.5).certain_threshold is None


def test_the_band_that_comes_with_an_extrapolated_threshold_goes_with_it_and_one_asked_for_stays(calibration):
    few = replace(calibration, scores=calibration.scores[:60])
    extrapolated = with_budget(few, 0.005)
    assert extrapolated.review_threshold == with_budget(few, None).threshold
    assert band_is_automatic(extrapolated)
    assert with_budget(extrapolated, None).review_threshold is None
    asked = with_review(few, 0.2)
    assert not band_is_automatic(asked)
    assert with_budget(asked, 0.05).review_threshold == asked.review_threshold


def test_a_file_whose_parts_do_not_fit_its_scores_is_refused(calibration):
    named = replace(calibration, part_names=np.array(["0" * 16] * 399))
    with pytest.raises(BundleError, match="399 parts are named for 400 scores"):
        calibration_from_bytes(named.to_bytes(), (SIDE, SIDE))
    control = replace(calibration, part_names=np.array(["\x07" + "0" * 15] * 400))
    with pytest.raises(BundleError, match="part_names is not plain text"):
        calibration_from_bytes(control.to_bytes(), (SIDE, SIDE))
