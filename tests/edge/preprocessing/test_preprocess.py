"""From a frame of any size to the network's field."""

import numpy as np
import pytest

from edge.core.datatypes import AnomalyMap
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.regions import defect_regions


def ramp(height: int, width: int) -> np.ndarray:
    row = np.linspace(0, 255, width)
    return np.repeat(np.repeat(row[None, :, None], height, 0), 3, 2).astype(np.uint8)


def test_frames_of_any_size_become_the_field():
    for height, width in [(1, 1), (1, 257), (33, 17), (380, 550), (480, 640), (1080, 1920)]:
        field = Preprocess(32, 32).field(ramp(height, width))
        assert field.shape == (32, 32, 3), (height, width)
        assert field.dtype == np.uint8, (height, width)
        assert field.flags.c_contiguous, (height, width)


def test_shrinking_averages_so_that_fine_noise_does_not_alias():
    for width in [40, 64, 100, 640]:
        stripes = np.zeros((width, width, 3), np.uint8)
        stripes[:, ::2] = 255
        field = Preprocess(32, 32).field(stripes)
        if width >= 64:
            assert field[:, 2:-2].std() < 30, width
        assert field.mean() == pytest.approx(127, abs=8), width


def test_a_ramp_keeps_its_place():
    field = Preprocess(32, 32).field(ramp(100, 320))
    expected = (np.arange(32) + 0.5) / 32 * 255
    assert np.abs(field[16, :, 0] - expected)[1:-1].max() < 3


def test_the_region_of_interest_is_cropped_and_must_lie_inside():
    frame = np.zeros((50, 60, 3), np.uint8)
    frame[10:20, 30:50] = 200
    preprocess = Preprocess(16, 16, rectangle=(30, 10, 20, 10))
    assert (preprocess.field(frame) == 200).all()
    assert preprocess.field_of_view(50, 49) is None


def test_the_polygon_is_in_frame_pixels_and_scaled_into_the_field():
    preprocess = Preprocess(16, 16, rectangle=(10, 0, 32, 32), polygon=((10, 0), (26, 0), (26, 31), (10, 31)))
    weight = preprocess.weight(32, 64)
    assert weight[:, :8].all()
    assert not weight[:, 9:].any()


def test_a_field_of_another_aspect_is_stretched_or_letterboxed():
    frame = ramp(40, 40)
    stretched = Preprocess(32, 64)
    assert stretched.field(frame).shape == (32, 64, 3)
    assert stretched.weight(40, 40) is None
    boxed = Preprocess(32, 64, fit="letterbox")
    field, weight = boxed.field(frame), boxed.weight(40, 40)
    assert field.shape == (32, 64, 3) and weight.shape == (32, 64)
    # the frame is in the middle, as wide as high, and its border goes on beside it
    assert weight[:, 16:48].all() and weight.sum() == 32 * 32
    assert np.abs(field[:, 16:48].astype(int) - Preprocess(32, 32).field(frame)).max() <= 4
    assert (field[:, :15] == field[:1, :1]).all()


def test_a_letterboxed_map_lies_where_the_frame_shows_what_it_is_about():
    for shape, rectangle in [((60, 100), None), ((200, 90), None), ((120, 160), (30, 40, 50, 70))]:
        random = np.random.default_rng(1)
        frame = random.integers(0, 256, (*shape, 3), np.uint8)
        preprocess = Preprocess(64, 96, rectangle, fit="letterbox")
        view = preprocess.field_of_view(*shape)
        at = view.y + view.height // 3, view.x + view.width // 4
        frame[:] = 0
        frame[at] = 255
        field = preprocess.field(frame).astype(float)[..., 0]
        rows, columns = np.mgrid[:64, :96]
        middle = (columns * field).sum() / field.sum(), (rows * field).sum() / field.sum()
        found = preprocess.field_to_frame(frame) @ (*middle, 1)
        assert found == pytest.approx((at[1], at[0]), abs=1.0), shape
        # the same by the pose that comes with the map
        values = np.zeros((32, 48), np.float32)
        values[round(middle[1] / 2 - 0.25), round(middle[0] / 2 - 0.25)] = 1
        pose = preprocess.pose_of_map(frame, preprocess.placed(frame)[0])
        (region,) = defect_regions(AnomalyMap(values, 1.0, 1, pose), 0.5, view)
        assert region.x - 2 <= at[1] <= region.x + region.width + 2, shape
        assert region.y - 2 <= at[0] <= region.y + region.height + 2, shape


def test_a_polygon_counts_in_a_letterbox_too():
    boxed = Preprocess(32, 64, polygon=((0, 0), (39, 0), (39, 20), (0, 20)), fit="letterbox")
    weight = boxed.weight(40, 40)
    assert weight[:16, 16:48].all()
    assert not weight[18:].any() and not weight[:, :16].any() and not weight[:, 48:].any()


def test_everything_that_changes_the_input_changes_the_hash():
    hashes = {
        Preprocess(32, 32).sha256,
        Preprocess(64, 64).sha256,
        Preprocess(32, 32, (0, 0, 9, 9)).sha256,
        Preprocess(32, 32, None, ((0, 0), (1, 0), (0, 1))).sha256,
        Preprocess(32, 64).sha256,
        Preprocess(64, 32).sha256,
        Preprocess(64, 32, fit="letterbox").sha256,
    }
    assert len(hashes) == 7
    assert Preprocess(32, 32).sha256 == Preprocess(32, 32).sha256
