"""A new part that lies still is seen once, by pictures alone."""

import numpy as np

from edge.capture.triggers.motion_trigger import MotionTrigger
from tests.fakes import picture

PERIOD_S = 1 / 30


def noisy(image: np.ndarray, seed: int, gain: float = 1.0) -> np.ndarray:
    noise = np.random.default_rng(seed).normal(0, 3, image.shape)
    return np.clip(image * gain + noise, 0, 255).astype(np.uint8)


def moments(pictures) -> list[int]:
    """At which of the pictures, which come at 30 a second, a new and still part was seen."""
    watch = MotionTrigger()
    return [index for index, image in enumerate(pictures) if watch.is_new_and_still(image, index * PERIOD_S)]


def lying(part: int, count: int) -> list[np.ndarray]:
    image = picture(part, 240, 320)
    # the light flickers, and the sensor is noisy
    return [noisy(image, 100 * part + number, 1 + 0.02 * (number % 2)) for number in range(count)]


def moving(part: int, count: int) -> list[np.ndarray]:
    return [np.roll(picture(part, 240, 320), 20 * number, 1) for number in range(count)]


def test_a_part_that_lies_still_is_seen_once_however_long_it_lies():
    assert len(moments(lying(1, 60))) == 1


def test_it_is_not_seen_before_it_has_lain_still_for_a_moment():
    assert moments(lying(1, 60)) == [9]
    assert moments(lying(1, 8)) == []


def test_each_part_is_seen_once_when_parts_come_and_go():
    line = [*lying(1, 20), *moving(1, 5), *lying(2, 20), *moving(2, 5), *lying(3, 20)]
    assert len(moments(line)) == 3


def test_a_part_that_never_lies_still_is_never_seen():
    assert moments(moving(1, 60)) == []


def test_the_same_part_put_back_is_a_new_look():
    line = [*lying(1, 20), *moving(2, 5), *lying(1, 20)]
    assert len(moments(line)) == 2


def test_a_slow_camera_needs_more_than_two_pictures():
    watch = MotionTrigger()
    assert [watch.is_new_and_still(image, float(second)) for second, image in enumerate(lying(1, 4))] == [
        False,
        False,
        True,
        False,
    ]
