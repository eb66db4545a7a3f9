"""Pictures that ranges are collected on: good parts, and good parts with something foreign in them."""

import numpy as np

from calibration.ranges import with_foreign_patches


def pictures(count=5, side=48):
    y, x = np.mgrid[:side, :side] / side
    return [np.stack([y * 0.5, x * 0.5, (x + y) / 4]).astype(np.float32) - 0.1 * index for index in range(count)]


def test_every_picture_is_there_as_it_was_and_once_more_altered():
    before = pictures()
    seen = with_foreign_patches(before)
    assert len(seen) == 2 * len(before)
    for plain, kept, altered in zip(pictures(), seen[: len(before)], seen[len(before) :], strict=True):
        assert np.array_equal(plain, kept)
        changed = (np.abs(plain - altered).max(0) > 0.05).mean()
        assert 0.003 < changed < 0.4
        assert altered.dtype == np.float32
        assert np.abs(altered).max() <= 1


def test_the_same_pictures_are_altered_the_same_way():
    first, second = with_foreign_patches(pictures()), with_foreign_patches(pictures())
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_one_small_picture_will_do():
    assert len(with_foreign_patches(pictures(1, 16))) == 2
