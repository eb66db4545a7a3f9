"""Circuits are known by their pictures, and get the variant that is made for them, unless another is asked for."""

from dataclasses import replace

import pytest

pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")

from calibration.auto.circuits import circuits
from edge.capture.images.image_reader import PLAIN
from tests.fakes import circuit, write_picture
from tests.small_bundle import good_part
from training.run.preparation import Recipe

AUTO = Recipe("auto", "pretrained", 0)


def folder(place, picture, count=20):
    place.mkdir()
    for seed in range(count):
        write_picture(place / f"{seed:02d}.png", picture(seed))
    return place


def test_circuits_get_their_variant_and_are_told_why(tmp_path):
    made_for = circuits(AUTO, folder(tmp_path / "boards", circuit), PLAIN)
    assert made_for is not None
    recipe, why = made_for
    assert recipe == replace(AUTO, method="isstad", variant="board")
    assert "two tones: 100% of the good parts" in why and why.count("\n") == 0


def test_other_parts_and_other_wishes_are_left_to_the_choice(tmp_path):
    boards, plates = folder(tmp_path / "boards", circuit), folder(tmp_path / "plates", good_part)
    assert circuits(AUTO, plates, PLAIN) is None
    for changes in ({"variant": "tiny"}, {"layout": "aligned"}, {"polygon": ((0, 0), (9, 0), (9, 9))}):
        assert circuits(replace(AUTO, **changes), boards, PLAIN) is None, changes


def test_one_board_that_always_lies_the_same_way_is_no_free_layout(tmp_path):
    assert circuits(AUTO, folder(tmp_path / "one", lambda seed: circuit(0, dark=10 + seed)), PLAIN) is None


def test_circuits_without_a_field_of_their_own_scale_are_left_to_the_choice_until_a_region_is_cut(tmp_path):
    large = folder(tmp_path / "large", lambda seed: circuit(seed, 600, 800))
    assert circuits(AUTO, large, PLAIN) is None
    assert circuits(replace(AUTO, rectangle=(100, 100, 512, 320)), large, PLAIN) is not None
