"""Candidate regions and what is measured on them, on pictures small enough to work out by hand."""

import numpy as np
import pytest

from training.labelling.region_features import measure
from training.labelling.regions import MOST_REGIONS, Candidate, candidate_regions, minimum_area

LEVELS = (1.0, 2.0)


def blank(height=40, width=60):
    return np.zeros((height, width), np.float32)


def test_the_minimum_area_follows_the_side():
    assert [minimum_area(128, 128), minimum_area(256, 256), minimum_area(128, 512)] == [8, 16, 16]


def test_a_place_inside_another_is_kept_with_its_parent():
    z = blank()
    z[10:20, 10:30] = 1.2
    z[12:16, 14:18] = 2.5
    inner, outer = candidate_regions(z, LEVELS)
    assert (inner.x, inner.y, inner.width, inner.height, inner.area_px) == (14, 12, 4, 4, 16)
    assert (outer.area_px, outer.level, outer.parent) == (200, 0, None)
    assert (inner.level, inner.parent) == (1, 1)
    assert inner.mean_z == pytest.approx(2.5) and inner.max_z == outer.max_z == pytest.approx(2.5)
    assert outer.mean_z == pytest.approx(1.2 + 16 * 1.3 / 200)


def test_a_place_that_stands_out_alone_is_one_region_of_the_highest_level():
    z = blank()
    z[10:20, 10:30] = 2.5
    (only,) = candidate_regions(z, LEVELS)
    assert (only.level, only.area_px) == (1, 200)


def test_pixels_that_touch_at_a_corner_belong_together():
    z = blank()
    z[10:14, 10:14] = z[14:18, 14:18] = 2.5
    (only,) = candidate_regions(z, LEVELS)
    assert (only.area_px, only.mask.shape) == (32, (8, 8))


def test_specks_are_left_out():
    z = blank()
    z[5, 5] = 9.0
    assert candidate_regions(z, LEVELS) == ()


def test_a_level_is_not_above_itself():
    z = blank() + np.float32(1.0)
    assert candidate_regions(z, LEVELS) == ()


def test_levels_go_on_above_those_of_good_parts():
    # two peaks on one plateau: no level of good parts separates them
    z = blank()
    z[10:20, 10:50] = 8.0
    z[12:18, 14:20] = z[12:18, 40:46] = 20.0
    places = candidate_regions(z, LEVELS)
    assert sorted(place.area_px for place in places) == [36, 36, 400]


def test_outside_the_inspected_polygon_nothing_is_found_and_what_crosses_is_cut():
    z = blank()
    z[5:15, 5:15] = z[25:35, 25:35] = 2.5
    roi = np.zeros(z.shape, bool)
    roi[:, :12] = True
    (cut,) = candidate_regions(z, LEVELS, roi)
    assert (cut.area_px, cut.mask.any(0).sum()) == (70, 7)
    assert candidate_regions(z, LEVELS, roi, inside_roi=0.8) == ()


def test_the_number_is_capped_and_the_strongest_stay():
    z = np.zeros((128, 128), np.float32)
    peaks = np.linspace(1.1, 1.4, 100)
    for index, peak in enumerate(peaks):
        row, column = divmod(index, 10)
        z[12 * row + 2 : 12 * row + 6, 12 * column + 2 : 12 * column + 6] = peak
    places = candidate_regions(z, LEVELS)
    assert len(places) == MOST_REGIONS
    assert min(place.max_z for place in places) == pytest.approx(peaks[100 - MOST_REGIONS], abs=1e-6)
    assert [place.max_z for place in places] == sorted((place.max_z for place in places), reverse=True)


# --- features


def region(x, y, mask, level=0):
    return Candidate(x, y, np.asarray(mask, bool), level, mean_z=4.0, max_z=6.0)


def box(x, y, width, height):
    return region(x, y, np.ones((height, width), bool))


def features(picture, *regions, roi=None):
    raw = measure(picture, regions, roi)
    return [{name: float(values[index]) for name, values in raw.items()} for index in range(len(regions))]


def plain(grey=100, height=40, width=60):
    return np.full((height, width, 3), grey, np.uint8)


def test_grey_and_its_steps_to_the_ring():
    picture = plain(153)
    picture[10:20, 10:20] = 51
    picture[10:20, 40:50] = 204
    dark, bright = features(picture, box(10, 10, 10, 10), box(40, 10, 10, 10))
    assert dark["grey"] == pytest.approx(0.2)
    assert (dark["contrast"], dark["darker"], dark["brighter"]) == pytest.approx((0.4, 0.4, 0))
    assert (bright["contrast"], bright["darker"], bright["brighter"]) == pytest.approx((0.2, 0, 0.2))


def test_a_region_without_a_ring_has_no_contrast():
    (whole,) = features(plain(height=8, width=8), box(0, 0, 8, 8))
    assert (whole["contrast"], whole["area"], whole["border_distance"]) == (0, 1, 0)


def test_colour_is_a_mean_on_the_circle_weighed_by_saturation():
    picture = plain()
    # half slightly to the violet, half slightly to the orange side of red, and a grey stripe that must not count
    picture[10:20, 10:14] = (40, 0, 200)
    picture[10:20, 14:18] = (0, 40, 200)
    (red,) = features(picture, box(10, 10, 10, 10))
    assert min(red["hue"], 1 - red["hue"]) < 0.01
    assert red["saturation"] == pytest.approx(0.8)
    (grey,) = features(picture, box(30, 10, 5, 5))
    assert grey["saturation"] == 0


def test_shape_of_a_bar():
    (bar,) = features(plain(), box(10, 10, 30, 3))
    assert bar["elongation"] == pytest.approx(0.9)
    assert (bar["solidity"], bar["extent"]) == pytest.approx((1, 1))
    assert min(bar["orientation"], 1 - bar["orientation"]) < 1e-6
    assert bar["thickness"] == pytest.approx(3 / np.sqrt(40 * 60))
    assert bar["area"] == pytest.approx(90 / 2400)
    assert (bar["x"], bar["y"]) == pytest.approx((25 / 60, 11.5 / 40))
    (upright,) = features(plain(), box(10, 5, 3, 30))
    assert upright["orientation"] == pytest.approx(0.5)


def test_orientation_rises_to_the_upper_right():
    rising, falling = features(plain(), region(5, 5, np.eye(20)[::-1]), region(5, 5, np.eye(20)))
    assert rising["orientation"] == pytest.approx(0.25)
    assert falling["orientation"] == pytest.approx(0.75)
    assert rising["elongation"] > 0.9


def test_a_hook_is_not_solid():
    hook = np.zeros((10, 10), bool)
    hook[:2] = hook[:, :2] = True
    (measured,) = features(plain(), region(10, 10, hook))
    assert measured["extent"] == pytest.approx(0.36)
    assert measured["solidity"] == pytest.approx(36 / (100 - 8 * 8 / 2))


def test_border_distance_is_to_the_inspected_polygon():
    inside = box(10, 15, 10, 10)
    (alone,) = features(plain(), inside)
    assert alone["border_distance"] == pytest.approx(10 / 20, abs=0.02)
    roi = np.zeros((40, 60), bool)
    roi[14:, 5:] = True
    (near,) = features(plain(), inside, roi=roi)
    assert near["border_distance"] == pytest.approx(1 / 20, abs=0.02)


def test_gradient_and_texture_tell_smooth_from_rough():
    picture = plain()
    picture[:, 30:] = np.where(np.indices((40, 30)).sum(0) % 2, 90, 110).astype(np.uint8)[..., None]
    ramp = np.repeat((np.arange(40) * 5).astype(np.uint8)[:, None, None], 3, 2)
    smooth, rough = features(picture, box(8, 8, 10, 10), box(40, 8, 10, 10))
    assert (smooth["texture"], smooth["gradient"]) == pytest.approx((0, 0), abs=1e-3)
    assert rough["texture"] == pytest.approx(10 / 255, rel=0.02)
    (sloped,) = features(np.repeat(ramp, 60, 1), box(10, 10, 10, 10))
    assert sloped["gradient"] == pytest.approx(5 / 255)


def test_regions_of_one_kind_are_counted():
    picture = plain()
    picture[30:, 30:] = 250
    same, other, large, bright = (
        box(5, 5, 4, 4), box(15, 5, 4, 4), box(5, 15, 20, 12), box(40, 32, 4, 4),
    )  # fmt: skip
    higher = region(50, 5, np.ones((4, 4)), level=2)
    counts = [found["count"] for found in features(picture, same, other, large, bright, higher)]
    assert counts == [2, 2, 1, 1, 1]


def test_no_regions_have_no_features():
    assert {len(values) for values in measure(plain(), []).values()} == {0}
