"""Defects for the start of a shift: visible, of the stated size, where the network looks, and the same every time."""

from itertools import product

import numpy as np
import pytest

from benchmarks.studies.drawn_parts import Scene, picture_of
from edge.core.config import AlignSettings
from edge.inspection.synthetic_defects import KINDS, synthetic_defects
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.regions import FieldOfView
from edge.preprocessing.upright_reference import outlines_of, upright_spec
from tests.small_bundle import good_part


def flat(level, height=60, width=80):
    return np.full((height, width, 3), level, np.uint8)


def test_defects_have_about_the_size_that_was_asked_for():
    for area, size in product([0.005, 0.02, 0.08], [(96, 128), (201, 333)]):
        for defect in synthetic_defects(good_part(1, *size), Preprocess(32, 32), 6, area):
            # one that lies at the edge is cut off, and a pixel is the least width
            assert 0.3 * area < defect.area < 1.5 * area, (area, size, defect.name)


def test_every_kind_comes_in_turn_and_has_its_number():
    names = [defect.name for defect in synthetic_defects(good_part(1), Preprocess(32, 32), 5, 0.02)]
    assert names == ["scratch 1", "spot 1", "missing patch 1", "scratch 2", "spot 2"]


@pytest.mark.parametrize(
    "picture", [good_part(2), flat(10), flat(128), flat(250)], ids=["part", "dark", "grey", "bright"]
)
def test_a_person_would_see_each_of_them(picture):
    for defect in synthetic_defects(picture, Preprocess(32, 32), len(KINDS), 0.02):
        change = np.abs(defect.picture.astype(int) - picture).max(axis=2)
        assert change.max() >= 30, defect.name
        assert (change > 0).mean() < 0.2, defect.name


def test_the_picture_itself_is_not_touched_and_the_same_defects_come_again():
    picture = good_part(3)
    before = picture.copy()
    first, second = ([d.picture for d in synthetic_defects(picture, Preprocess(32, 32), 4, 0.02)] for _ in range(2))
    assert np.array_equal(picture, before)
    assert all(np.array_equal(one, other) for one, other in zip(first, second, strict=True))
    assert not np.array_equal(first[0], first[3])


def test_defects_lie_where_the_network_looks():
    picture = good_part(4)
    region = Preprocess(32, 32, rectangle=(20, 10, 30, 30), polygon=((20, 10), (49, 10), (20, 39)))
    for defect in synthetic_defects(picture, region, 6, 0.05):
        rows, columns = np.nonzero((defect.picture != picture).any(axis=2))
        assert rows.min() >= 10
        assert columns.min() >= 20
        # below the diagonal of the triangle nothing is scored; a pixel of its border counts as inside
        assert (rows - 10 + columns - 20).max() <= 30


def test_a_missing_patch_shows_the_background_where_there_is_one():
    picture = flat(240)
    picture[20:40, 20:60] = 60
    defect = list(synthetic_defects(picture, Preprocess(32, 32), 3, 0.02))[2]
    changed = (defect.picture != picture).any(axis=2)
    assert defect.name == "missing patch 1"
    assert defect.picture[changed].max() == 240


def test_of_parts_that_are_stood_upright_defects_lie_on_the_part():
    pictures = [picture_of("bolt", seed, Scene())[0] for seed in range(6)]
    outlines = outlines_of(pictures, [FieldOfView(0, 0, 640, 480)] * 6)
    assert not isinstance(outlines, str)
    preprocess = Preprocess(96, 320, align=upright_spec(outlines, (96, 320), AlignSettings()))
    for defect in synthetic_defects(pictures[0], preprocess, 6, 0.02):
        changed = np.abs(defect.picture.astype(int) - pictures[0]).max(axis=2) > 20
        # the part is dark, and drawn round: its brightest place stays far below the ground
        assert changed.any() and pictures[0][changed].mean() < 130
        assert 0.003 < defect.area < 0.05
