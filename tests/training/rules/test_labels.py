"""From rules and residual to pseudo-labels: what they reach, and what every rule of the procedure does."""

import numpy as np
import pytest

from edge.core.errors import UsageError
from tests.training.rules.plates import bad_plate, good_plate, iou, zmap
from training.labelling import NormalReference, fit_reference, pseudo_labels, with_weak_parts
from training.labelling.pseudo_labels import ANOMALOUS, IGNORED, NORMAL
from training.labelling.rule_scores import model_evidence

SCRATCH = "rules:\n  scratch: if darker is high and elongation is elongated then anomalous with 0.95\n"
REFERENCE = NormalReference(levels=(1.0, 2.0))


@pytest.fixture(scope="module")
def reference():
    goods = [good_plate(seed) for seed in range(12)]
    return fit_reference(goods, [zmap(good) for good in goods])


def scene(*boxes, height=64, width=64):
    """A grey picture with dark boxes (x, y, width, height, z) and its z-map."""
    picture = np.full((height, width, 3), 150, np.uint8)
    z = np.zeros((height, width), np.float32)
    for x, y, w, h, value in boxes:
        picture[y : y + h, x : x + w] = 40
        z[y : y + h, x : x + w] = value
    return picture, z


def test_model_evidence_is_even_at_three():
    assert model_evidence(np.array([3.0, 4.0])).tolist() == pytest.approx([0.5, 1 / (1 + np.exp(-1))])


# --- what they reach


def test_rules_alone_find_artificial_defects(reference, rules):
    book = rules(SCRATCH)
    found = []
    for seed in range(8):
        picture, mask = bad_plate(seed)
        label = pseudo_labels(picture, zmap(picture), book, reference, a=1.0)
        found.append(iou(label.state == ANOMALOUS, mask))
    assert np.mean(found) >= 0.5
    assert min(found) > 0.3


def test_a_defect_that_the_network_rebuilds_is_found_by_a_rule_alone(reference, rules):
    found, unruled, good = [], [], []
    for seed in range(8):
        picture, mask = bad_plate(seed)
        nothing = np.zeros_like(zmap(picture))
        found.append(iou(pseudo_labels(picture, nothing, rules(SCRATCH), reference).state == ANOMALOUS, mask))
        unruled.append((pseudo_labels(picture, nothing, None, reference).state == ANOMALOUS).any())
        good.append(
            (pseudo_labels(good_plate(100 + seed), nothing, rules(SCRATCH), reference).state == ANOMALOUS).any()
        )
    assert np.mean(found) > 0.4
    assert not any(unruled) and not any(good)


def test_rules_tell_defects_from_what_only_looks_unusual(reference, rules):
    book = rules(SCRATCH)
    with_rules, without = [], []
    for seed in range(8):
        picture, mask = bad_plate(seed)
        z = zmap(picture)
        with_rules.append(iou(pseudo_labels(picture, z, book, reference).state == ANOMALOUS, mask))
        without.append(iou(pseudo_labels(picture, z, None, reference).state == ANOMALOUS, mask))
    assert np.mean(with_rules) > np.mean(without) + 0.2


def test_no_rules_are_plain_self_training_whatever_a_is(reference, rules):
    picture, _ = bad_plate(3)
    z = zmap(picture)
    plain = pseudo_labels(picture, z, None, reference, a=0.0)
    for book, a in ((None, 0.5), (rules(""), 1.0), (rules(SCRATCH), 0.0)):
        label = pseudo_labels(picture, z, book, reference, a)
        assert np.array_equal(label.pi, plain.pi)
        assert np.array_equal(label.state, plain.state)
    assert all(region.degree == region.evidence for region in plain.regions)


def test_the_same_pictures_give_the_same_labels(rules):
    goods = [good_plate(seed) for seed in range(6)]
    picture, _ = bad_plate(5)
    labels = []
    for _ in range(2):
        reference = fit_reference([good.copy() for good in goods], [zmap(good) for good in goods])
        labels.append(pseudo_labels(picture.copy(), zmap(picture), rules(SCRATCH), reference))
    assert np.array_equal(labels[0].pi, labels[1].pi) and np.array_equal(labels[0].state, labels[1].state)
    assert labels[0].regions == labels[1].regions


def test_a_region_says_which_rule_spoke(reference, rules):
    picture, mask = bad_plate(2)
    label = pseudo_labels(picture, zmap(picture), rules(SCRATCH), reference)
    chosen = [region for region in label.regions if region.chosen]
    assert chosen
    for region in chosen:
        assert region.explanation.startswith("scratch: darker high, elongated (")
        assert mask[region.y : region.y + region.height, region.x : region.x + region.width].any()
    silent = [region for region in label.regions if not region.firings]
    assert all(region.explanation.startswith("no rule; residual") for region in silent)


# --- degrees


def test_the_degree_is_the_weighed_geometric_mean_of_rules_and_residual(rules):
    picture, z = scene((20, 20, 10, 10, 4.0))
    book = rules("rules:\n  a: if darker is high then anomalous with 0.8\n  b: if x is high then normal with 0.5\n")
    (region,) = pseudo_labels(picture, z, book, REFERENCE, a=0.25).regions
    evidence = 1 / (1 + np.exp(-1))
    assert region.kappa == pytest.approx(0.8)
    assert region.evidence == pytest.approx(evidence)
    assert region.degree == pytest.approx(0.8**0.25 * evidence**0.75)


def test_rules_of_one_conclusion_add_up_and_normal_ones_take_away(rules):
    picture, z = scene((20, 20, 10, 10, 4.0))
    book = rules(
        "rules:\n  a: if darker is high then anomalous with 0.5\n  b: if elongation is low then anomalous with 0.6\n"
        "  c: if area is not large then normal with 0.25\n"
    )
    (region,) = pseudo_labels(picture, z, book, REFERENCE).regions
    # area 100 / 4096 lies at 0.637 of its scale: `large` to 0.185
    large = (np.log(100 / 4096 / 0.0003) / np.log(1000) - 0.6) / 0.2
    assert region.kappa == pytest.approx((1 - 0.5 * 0.4) * (1 - 0.25 * (1 - large)))


def test_a_book_of_normal_rules_alone_claims_nothing_about_defects(rules):
    picture, z = scene((20, 20, 10, 10, 4.0), (45, 45, 10, 10, 4.0))
    label = pseudo_labels(picture, z, rules("rules:\n  a: if x is right then normal with 1\n"), REFERENCE)
    left, right = sorted(label.regions, key=lambda region: region.x)
    assert (left.kappa, right.kappa) == (1, pytest.approx(0, abs=0.3))
    assert left.chosen and not right.chosen


def test_nested_regions_give_a_pixel_the_highest_degree(rules):
    picture, z = scene((10, 10, 30, 30, 1.5), (20, 20, 8, 8, 6.0))
    label = pseudo_labels(picture, z, None, REFERENCE)
    inner, outer = sorted(label.regions, key=lambda region: region.area_px)
    assert label.pi[22, 22] == pytest.approx(max(inner.degree, outer.degree))
    assert label.pi[12, 12] == pytest.approx(outer.degree)
    assert label.regions[inner.parent] is outer


# --- states


def test_what_is_labelled_anomalous_keeps_its_distance_from_what_is_called_normal():
    picture, z = scene((20, 20, 10, 10, 8.0))
    state = pseudo_labels(picture, z, None, REFERENCE).state
    row = state[25, 14:24].tolist()
    assert row == [NORMAL] * 4 + [IGNORED] * 2 + [ANOMALOUS] * 4
    assert (state == ANOMALOUS).sum() == 100
    assert (state == IGNORED).sum() == 14 * 14 - 100
    assert (state.dtype, set(np.unique(state))) == (np.int8, {-1, 0, 1})


def test_a_doubtful_region_is_ignored():
    picture, z = scene((20, 20, 10, 10, 8.0), (45, 45, 10, 10, 2.5))
    label = pseudo_labels(picture, z, None, REFERENCE)
    assert label.pi[50, 50] == pytest.approx(1 / (1 + np.exp(0.5)), abs=1e-6)
    assert label.state[50, 50] == IGNORED


def test_the_best_region_is_taken_when_none_is_sure():
    picture, z = scene((20, 20, 10, 10, 2.8), (45, 45, 10, 10, 2.5))
    label = pseudo_labels(picture, z, None, REFERENCE)
    assert label.state[25, 25] == ANOMALOUS
    assert label.state[50, 50] == IGNORED
    assert label.pi[25, 25] == pytest.approx(1 / (1 + np.exp(0.2)), abs=1e-6)


def test_nothing_is_taken_when_the_rules_exclude_everything(rules):
    picture, z = scene((20, 20, 10, 10, 8.0))
    label = pseudo_labels(picture, z, rules("rules:\n  a: if brighter is high then anomalous with 1\n"), REFERENCE)
    assert not (label.state == ANOMALOUS).any()
    # yet it is not called normal either: the residual saw something that no rule explains
    assert label.state[25, 25] == IGNORED


def test_what_rules_call_normal_is_normal(rules):
    picture, z = scene((20, 20, 10, 10, 8.0))
    book = rules(
        "rules:\n  a: if brighter is high then anomalous with 1\n  b: if darker is high then normal with 0.9\n"
    )
    assert pseudo_labels(picture, z, book, REFERENCE).state[25, 25] == NORMAL


def test_the_innermost_region_decides_whether_something_is_unexplained(rules):
    # a glint is called normal, its halo by nobody
    picture, z = scene((18, 18, 14, 14, 3.5), (20, 20, 10, 10, 8.0))
    picture[18:32, 18:32], picture[20:30, 20:30] = 150, 250
    book = rules(
        "rules:\n  a: if darker is high then anomalous with 1\n  b: if brighter is very high then normal with 0.9\n"
    )
    state = pseudo_labels(picture, z, book, REFERENCE).state
    assert (state[20:30, 20:30] == NORMAL).all()
    assert state[18, 18] == IGNORED


def test_a_picture_without_regions_is_background_alone():
    picture, z = scene()
    label = pseudo_labels(picture, z, None, REFERENCE)
    assert label.regions == ()
    assert (label.state == NORMAL).all()


def test_an_elevated_background_is_doubtful_unless_a_rule_calls_it_normal(rules):
    reference = NormalReference(levels=(5.0, 6.0))
    picture, z = scene(height=32, width=32)
    z += np.float32(2.5)
    assert (pseudo_labels(picture, z, None, reference).state == IGNORED).all()
    book = rules("rules:\n  even: if gradient is flat and area is large then normal with 0.9\n")
    assert (pseudo_labels(picture, z, book, reference).state == NORMAL).all()


# --- rules about the whole picture


def areas(book, *boxes):
    picture, z = scene(*boxes)
    state = pseudo_labels(picture, z, book, REFERENCE).state
    return [bool((state[y : y + h, x : x + w] == ANOMALOUS).all()) for x, y, w, h, _ in boxes]


SURE, SURER, SUREST = (5, 5, 10, 10, 5.0), (25, 5, 10, 10, 6.0), (45, 5, 10, 10, 7.0)


def test_the_weakest_regions_go_until_the_area_fits(rules):
    assert areas(None, SURE, SURER, SUREST) == [True, True, True]
    assert areas(rules("picture: {area: [0, 0.05]}\n"), SURE, SURER, SUREST) == [False, True, True]
    assert areas(rules("picture: {area: [0, 0.03]}\n"), SURE, SURER, SUREST) == [False, False, True]


def test_a_best_region_too_large_for_the_picture_gives_way(rules):
    book = rules("picture: {area: [0, 0.03]}\n")
    assert areas(book, (5, 5, 40, 20, 9.0), (50, 50, 10, 10, 5.0)) == [False, True]
    # something is wrong with the picture: where nothing fits, the smallest is taken
    assert areas(book, (5, 5, 40, 20, 9.0), (5, 40, 20, 20, 8.0)) == [False, True]


def test_what_goes_is_ignored_not_normal(rules):
    picture, z = scene(SURE, SURER)
    label = pseudo_labels(picture, z, rules("picture: {area: [0, 0.03]}\n"), REFERENCE)
    assert label.state[10, 10] == IGNORED
    assert label.pi[10, 10] > 0.6


def test_doubtful_regions_join_until_the_least_area_is_reached(rules):
    doubtful, hopeless = (25, 25, 10, 10, 2.8), (45, 45, 10, 10, 1.2)
    assert areas(None, SURE, doubtful, hopeless) == [True, False, False]
    assert areas(rules("picture: {area: [0.04, 0.3]}\n"), SURE, doubtful, hopeless) == [True, True, False]
    assert areas(rules("picture: {area: [0.2, 0.3]}\n"), SURE, doubtful, hopeless) == [True, True, False]


def test_no_more_defects_than_allowed(rules):
    assert areas(rules("picture: {count: [1, 2]}\n"), SURE, SURER, SUREST) == [False, True, True]
    assert areas(rules("picture: {count: [2, 2]}\n"), SURE, (25, 25, 10, 10, 2.8)) == [True, True]


def test_outside_the_polygon_nothing_is_labelled(rules):
    book = rules("roi: [[0, 0], [0.5, 0], [0.5, 1], [0, 1]]\n")
    picture, z = scene(SURE, SUREST)
    label = pseudo_labels(picture, z, book, REFERENCE)
    assert (label.state[:, 33:] == IGNORED).all() and (label.pi[:, 33:] == 0).all()
    assert label.state[10, 10] == ANOMALOUS
    given = np.zeros(z.shape, bool)
    given[:8] = True
    both = pseudo_labels(picture, z, book, REFERENCE, roi=given)
    assert (both.state[8:] == IGNORED).all()


# --- the reference


def test_levels_are_quantiles_of_good_pixels_inside_the_polygon():
    z = np.arange(10000, dtype=np.float32).reshape(100, 100) / 1000
    picture = np.zeros((100, 100, 3), np.uint8)
    assert fit_reference([picture], [z]).levels == pytest.approx((9.499, 9.799, 9.899, 9.949, 9.989), abs=0.001)
    roi = np.zeros(z.shape, bool)
    roi[:50] = True
    assert fit_reference([picture], [z], roi).levels[0] == pytest.approx(4.749, abs=0.001)


def test_words_relative_to_good_parts_follow_them(rules):
    book = rules(
        "sets:\n  grey:\n    low: trapezoid 0 0 q0.05 q0.25\n"
        "rules:\n  a: if grey is low then anomalous with 1\n"
    )  # fmt: skip
    picture, z = scene((20, 20, 10, 10, 8.0))
    kappas = []
    for quantiles in (np.linspace(0.0, 0.1, 101), np.linspace(0.3, 0.9, 101)):
        reference = NormalReference((1.0, 2.0), {"grey": quantiles})
        (region,) = pseudo_labels(picture, z, book, reference).regions
        kappas.append(region.kappa)
    # 40 / 255 is bright among the first parts and dark among the second
    assert kappas == [0, 1]


def test_auto_words_are_fitted_to_the_strongest_regions_of_weak_parts(rules):
    book = rules("sets:\n  grey:\n    inky: auto low\nrules:\n  a: if grey is inky then anomalous with 1\n")
    picture, z = scene((20, 20, 10, 10, 8.0))
    with pytest.raises(UsageError, match="fitted to pictures of defects") as caught:
        pseudo_labels(picture, z, book, REFERENCE)
    assert "train/weak/" in caught.value.fix
    reference = with_weak_parts(REFERENCE, [picture], [z])
    assert reference.quartiles["grey"] == pytest.approx((40 / 255, 40 / 255))
    (region,) = pseudo_labels(picture, z, book, reference).regions
    assert region.kappa == pytest.approx(0.5)


def test_weak_parts_without_any_region_change_nothing():
    assert with_weak_parts(REFERENCE, *([value] for value in scene())) == REFERENCE


def test_good_parts_without_any_region_leave_the_plain_scales(rules):
    flat = np.full((64, 64, 3), 150, np.uint8)
    reference = fit_reference([flat], [np.zeros((64, 64), np.float32)])
    assert (reference.pictures, reference.regions, reference.quantiles) == (1, 0, {})
    picture, z = scene((20, 20, 10, 10, 8.0))
    (region,) = pseudo_labels(picture, z, rules(SCRATCH), reference).regions
    assert region.features["grey"] == pytest.approx(40 / 255)


def test_what_is_no_picture_with_its_map_is_refused(subtests):
    for picture, z, says in [
        (np.zeros((8, 8), np.uint8), np.zeros((8, 8), np.float32), "need uint8"),
        (np.zeros((8, 8, 3), np.float32), np.zeros((8, 8), np.float32), "need uint8"),
        (np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9), np.float32), "the z-map is"),
        (np.zeros((8, 8, 3), np.uint8), np.full((8, 8), np.nan, np.float32), "not finite"),
    ]:
        with subtests.test(says=says):
            with pytest.raises(ValueError, match=says):
                pseudo_labels(picture, z, None, REFERENCE)
            with pytest.raises(ValueError, match=says):
                fit_reference([picture], [z])


def test_a_reference_needs_good_parts_and_a_lies_between_zero_and_one():
    with pytest.raises(ValueError, match="at least one"):
        fit_reference([], [])
    with pytest.raises(ValueError, match="not 0 to 1"):
        pseudo_labels(*scene(), None, REFERENCE, a=1.5)
