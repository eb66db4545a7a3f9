"""Whole pictures with artificial defects: visible, inside the region, and otherwise untouched."""

import numpy as np

from edge.preprocessing.preprocess import Preprocess
from tests.small_bundle import good_part
from training.defects.defective_pictures import defective_pictures


def test_each_picture_has_a_defect_and_is_otherwise_its_source():
    sources = [good_part(number, 80, 120) for number in range(3)]
    made = list(defective_pictures(sources, Preprocess(64, 64), 6, seed=1))
    assert len(made) == 6
    for index, picture in enumerate(made):
        source = sources[index % 3]
        assert picture.shape == source.shape
        changed = (picture != source).any(2).mean()
        assert 0 < changed < 0.95


def test_defects_stay_inside_the_region_of_interest():
    source = good_part(0, 80, 120)
    for picture in defective_pictures([source], Preprocess(64, 64, rectangle=(30, 20, 50, 40)), 4, seed=2):
        outside = np.ones(source.shape[:2], bool)
        outside[20:60, 30:80] = False
        assert (picture[outside] == source[outside]).all()


def test_the_same_seed_makes_the_same_pictures_and_sources_stay():
    source = good_part(0)
    before = source.copy()
    once, again = (list(defective_pictures([source], Preprocess(32, 32), 3, seed=3)) for _ in range(2))
    assert all((a == b).all() for a, b in zip(once, again, strict=True))
    assert (source == before).all()
