"""The tolerant difference: ragged and shifted edges pass, holes and missing lines do not, in every kind of picture."""

import cv2
import numpy as np
import pytest

from edge.kernels.reference_difference import difference_levels, laid_upon, tolerant_difference

TOLERANCE, SIGMA, REACH = 2, 2.0, 6


def board(height=200, width=240, dark=0, bright=255):
    """Traces and pads, uint8 (h, w): wide, narrow (three pixels), straight, round and askew."""
    picture = np.full((height, width), bright, np.uint8)
    cv2.rectangle(picture, (20, 20), (90, 40), dark, -1)
    cv2.line(picture, (10, 60), (230, 60), dark, 3)
    cv2.circle(picture, (150, 120), 25, dark, -1)
    cv2.line(picture, (30, 190), (110, 100), dark, 7)
    cv2.line(picture, (200, 10), (200, 190), dark, 5)
    return picture


def shifted(picture, x, y):
    matrix = np.array([[1, 0, x], [0, 1, y]], np.float32)
    return cv2.warpAffine(picture, matrix, picture.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)


def largest(picture, golden):
    return float(difference_levels(picture, golden, TOLERANCE, SIGMA, REACH).max())


def test_edges_within_the_tolerance_are_no_difference_and_beyond_it_they_are():
    golden = board()
    assert not tolerant_difference(shifted(golden, 2, -2), golden, TOLERANCE).any()
    beyond = tolerant_difference(shifted(golden, 3, 0), golden, TOLERANCE)
    # the one column by which each upright edge lies too far
    assert beyond.max() == 255 and 0 < (beyond > 0).sum() < 2 * 200 * 4


def test_a_hole_of_five_pixels_is_found_where_it_is_and_as_large_as_it_is():
    golden = board()
    picture = golden.copy()
    picture[118:123, 148:153] = 255
    found = tolerant_difference(picture, golden, TOLERANCE)
    assert np.argwhere(found == 255).tolist() == [[y, x] for y in range(118, 123) for x in range(148, 153)]


@pytest.mark.parametrize("damage", ["open", "short", "missing line"])
def test_what_is_missing_and_what_is_too_much_are_found_both_ways(damage):
    golden, picture = board(), board()
    if damage == "open":
        picture[58:63, 110:120] = 255
    elif damage == "short":
        picture[40:60, 50:54] = 0
    else:
        picture[:, 195:206] = 255
        picture[58:63, 195:206] = golden[58:63, 195:206]
    assert largest(picture, golden) > 60 > 5 > largest(golden, golden)
    assert largest(golden, picture) == pytest.approx(largest(picture, golden), abs=20)


def test_a_picture_that_lies_off_by_a_few_pixels_is_compared_in_its_place():
    golden = board()
    for x, y in ((6, 0), (-5, 4), (0, -6)):
        picture = shifted(golden, x, y)
        assert largest(picture, golden) < 5, (x, y)
        picture[118 + y : 123 + y, 148 + x : 153 + x] = 255
        levels = difference_levels(picture, golden, TOLERANCE, SIGMA, REACH)
        assert levels.max() > 60
        assert np.unravel_index(levels.argmax(), levels.shape) == (120 + y, 150 + x)


def test_a_board_that_is_stretched_or_turned_a_little_passes_and_its_hole_does_not():
    golden = board(320, 320)
    turned = cv2.getRotationMatrix2D((160, 160), 0.7, 1.006)
    picture = cv2.warpAffine(golden, turned, (320, 320), borderMode=cv2.BORDER_REPLICATE)
    picture = np.where(picture > 127, 255, 0).astype(np.uint8)
    x, y = (turned @ (150, 120, 1)).round().astype(int)
    assert largest(picture, golden) < 25
    picture[y - 3 : y + 3, x - 3 : x + 3] = 255
    assert largest(picture, golden) > 60


def test_the_shift_is_found_and_what_lies_beyond_the_golden_picture_is_not_known():
    golden = board()
    laid, known = laid_upon(golden, shifted(golden, 5, 0), REACH)
    assert np.array_equal(laid[10:-10, 10:-10], shifted(golden, 5, 0)[10:-10, 10:-10])
    assert not known[:, :5].any() and known[20:-20, 20:-20].all()


def test_grey_and_colour_pictures_are_compared_as_two_tones_are():
    golden = board(dark=70, bright=150)
    noise = np.random.default_rng(0).normal(0, 3, golden.shape)
    picture = np.clip(golden + noise, 0, 255).astype(np.uint8)
    good = largest(picture, golden)
    picture[118:123, 148:153] = 150
    assert largest(picture, golden) > 3 * good
    coloured = np.stack([golden, np.full_like(golden, 90), 255 - golden], 2)
    wrong = coloured.copy()
    # as bright as before in the mean, and of another colour
    wrong[110:130, 140:160, 1] = 160
    assert largest(coloured, coloured) == 0
    levels = difference_levels(wrong, coloured, TOLERANCE, SIGMA, REACH)
    assert levels.max() > 40 and np.unravel_index(levels.argmax(), levels.shape)[0] in range(105, 135)


def test_three_equal_channels_give_what_one_gives():
    golden, picture = board(), shifted(board(), 3, 1)
    picture[118:123, 148:153] = 255
    one = difference_levels(picture, golden, TOLERANCE, SIGMA, REACH)
    three = difference_levels(
        *(np.repeat(each[..., None], 3, 2) for each in (picture, golden)), TOLERANCE, SIGMA, REACH
    )
    assert np.array_equal(one, three)


@pytest.mark.parametrize(("height", "width"), [(40, 700), (9, 13), (1100, 90)])
def test_pictures_of_any_size_and_shape_are_compared(height, width):
    golden = np.random.default_rng(1).integers(0, 255, (height, width), dtype=np.uint8)
    levels = difference_levels(golden, golden, TOLERANCE, SIGMA, REACH)
    assert levels.shape == (height, width) and levels.max() == 0
