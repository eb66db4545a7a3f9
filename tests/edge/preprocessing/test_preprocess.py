"""From a frame of any size to the network's field."""

import numpy as np
import pytest

from edge.preprocessing.preprocess import Preprocess


def ramp(height: int, width: int) -> np.ndarray:
    row = np.linspace(0, 255, width)
    return np.repeat(np.repeat(row[None, :, None], height, 0), 3, 2).astype(np.uint8)


def test_frames_of_any_size_become_a_square_field():
    for height, width in [(1, 1), (1, 257), (33, 17), (380, 550), (480, 640), (1080, 1920)]:
        field = Preprocess(32).field(ramp(height, width))
        assert field.shape == (32, 32, 3), (height, width)
        assert field.dtype == np.uint8, (height, width)
        assert field.flags.c_contiguous, (height, width)


def test_shrinking_averages_so_that_fine_noise_does_not_alias():
    for width in [40, 64, 100, 640]:
        stripes = np.zeros((width, width, 3), np.uint8)
        stripes[:, ::2] = 255
        field = Preprocess(32).field(stripes)
        if width >= 64:
            assert field[:, 2:-2].std() < 30, width
        assert field.mean() == pytest.approx(127, abs=8), width


def test_a_ramp_keeps_its_place():
    field = Preprocess(32).field(ramp(100, 320))
    expected = (np.arange(32) + 0.5) / 32 * 255
    assert np.abs(field[16, :, 0] - expected)[1:-1].max() < 3


def test_the_region_of_interest_is_cropped_and_must_lie_inside():
    frame = np.zeros((50, 60, 3), np.uint8)
    frame[10:20, 30:50] = 200
    preprocess = Preprocess(16, rectangle=(30, 10, 20, 10))
    assert (preprocess.field(frame) == 200).all()
    assert preprocess.field_of_view(50, 49) is None


def test_the_polygon_is_in_frame_pixels_and_scaled_into_the_field():
    preprocess = Preprocess(16, rectangle=(10, 0, 32, 32), polygon=((10, 0), (26, 0), (26, 31), (10, 31)))
    weight = preprocess.weight(32, 64)
    assert weight[:, :8].all()
    assert not weight[:, 9:].any()


def test_everything_that_changes_the_input_changes_the_hash():
    hashes = {
        Preprocess(32).sha256,
        Preprocess(64).sha256,
        Preprocess(32, (0, 0, 9, 9)).sha256,
        Preprocess(32, None, ((0, 0), (1, 0), (0, 1))).sha256,
    }
    assert len(hashes) == 4
    assert Preprocess(32).sha256 == Preprocess(32).sha256
