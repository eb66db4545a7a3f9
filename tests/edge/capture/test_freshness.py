import time

import numpy as np
import pytest

from edge.capture.freshness import FreshnessCheck
from edge.core.config import FreshnessSettings
from edge.core.datatypes import Reason
from tests.fakes import picture


def check(live=True, **settings):
    return FreshnessCheck(FreshnessSettings(**settings), live)


def reasons(checker, images):
    return [fault.reason if (fault := checker.fault(image)) else None for image in images]


def test_an_ordinary_picture_of_any_size_is_fresh():
    for size in [(1, 1), (1, 9), (33, 1), (61, 83)]:
        assert check().fault(picture(1, *size)) is None, size


def test_a_covered_lens_is_black_even_with_a_little_noise():
    image = np.full((100, 100, 3), 3, np.uint8)
    image[:1, :10] = 90
    fault = check().fault(image)
    assert fault.reason is Reason.BLACK
    assert "0.1 % of the picture" in fault.detail


def test_a_dark_picture_with_enough_light_is_not_black():
    image = np.full((100, 100, 3), 3, np.uint8)
    image[:1, :11] = 90
    assert check().fault(image) is None


def test_an_overexposed_picture_is_saturated_beyond_the_share_only():
    image = np.full((100, 100, 3), 255, np.uint8)
    image[:2] = 120
    assert check().fault(image) is None
    image[1, 0] = 255
    assert check().fault(image).reason is Reason.SATURATED


def test_the_sampled_rows_never_change_the_answer():
    # stripes and blocks near the limits, where a sample alone would be wrong
    random = np.random.default_rng(0)
    checker = check(live=False, black_share=0.05, saturated_share=0.9)
    for number in range(200):
        image = np.full((64, 64, 3), random.choice([0, 255]), np.uint8)
        image[random.integers(0, 64, random.integers(1, 8))] = random.choice([0, 100, 255])
        grey = image[:, :, 0]
        black = (grey >= 8).mean() <= 0.05
        saturated = (grey > 250).mean() > 0.9
        expected = Reason.BLACK if black else Reason.SATURATED if saturated else None
        assert reasons(checker, [image]) == [expected], number


def test_more_identical_pictures_than_believed_are_frozen():
    still = picture(1)
    assert reasons(check(), [still, still.copy(), still.copy(), still.copy()]) == [
        None,
        None,
        Reason.FROZEN,
        Reason.FROZEN,
    ]


def test_one_changed_pixel_thaws_a_frozen_camera():
    still = picture(1)
    moved = still.copy()
    moved[17, 23, 1] += 1
    assert reasons(check(), [still, still.copy(), moved, still]) == [None] * 4


def test_the_frozen_check_can_be_switched_off():
    assert reasons(check(max_identical_frames=0), [picture(1)] * 5) == [None] * 5


def test_files_may_show_the_same_part_again_and_again():
    assert reasons(check(live=False), [picture(1)] * 5) == [None] * 5


def test_a_frozen_black_picture_is_black():
    assert reasons(check(), [np.zeros((8, 8, 3), np.uint8)] * 4) == [Reason.BLACK] * 4


def test_a_live_source_must_keep_the_size_of_its_first_good_frame():
    checker = check()
    images = [np.zeros((10, 10, 3), np.uint8), picture(1, 60, 80), picture(2, 30, 40), picture(3, 60, 80)]
    assert reasons(checker, images) == [Reason.BLACK, None, Reason.WRONG_SIZE, None]


def test_files_may_differ_in_size():
    assert reasons(check(live=False), [picture(1, 60, 80), picture(2, 30, 40)]) == [None, None]


@pytest.mark.parametrize("live", [True, False])
def test_a_configured_size_binds_every_source(live):
    checker = check(live, expected_width_px=80, expected_height_px=60)
    fault = checker.fault(picture(1, 30, 40))
    assert fault.reason is Reason.WRONG_SIZE
    assert fault.detail == "40x30 px; it must be 80x60 px, as freshness.expected_width_px and expected_height_px say"


def test_the_checks_cost_little_next_to_a_frame():
    pictures = [picture(seed, 480, 640) for seed in range(20)]
    checker = check()
    costs_ms = []
    for image in pictures * 10:
        started = time.perf_counter_ns()
        checker.fault(image)
        costs_ms.append((time.perf_counter_ns() - started) / 1e6)
    # 0.05 ms on an idle desktop core; the bound only catches a lost short cut
    assert sorted(costs_ms)[len(costs_ms) // 4] < 0.5
