"""Outlines of parts: found whatever the light, dark or bright, and measured in frame pixels."""

from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.studies.drawn_parts import SCENES, Lying, Scene, frame_of, part_drawn, picture_of
from edge.preprocessing.regions import FieldOfView
from edge.preprocessing.silhouette import Seen

VIEW = FieldOfView(0, 0, 640, 480)
CONTRAST = {name: "bright" if scene.part > scene.ground else "dark" for name, scene in SCENES.items()}


@pytest.mark.parametrize("scene", SCENES)
def test_a_part_is_found_where_it_lies_in_every_light(scene):
    for seed in range(6):
        picture, lying = picture_of("screw", seed, SCENES[scene])
        (found,) = Seen(picture, VIEW).silhouettes(CONTRAST[scene])
        assert math.hypot(found.x - lying.x, found.y - lying.y) < 8
        assert abs((found.angle_deg - lying.turn_deg + 180) % 360 - 180) < 0.5
        # drawn 287 px long, of which the sharp tip is hardly seen
        assert 274 < found.length < 292


def test_the_heavier_end_comes_first():
    random = np.random.default_rng(0)
    for turn in (0.0, 90.0, 180.0, 270.0):
        picture = frame_of([(part_drawn("bolt", random), Lying(320, 240, turn, 300))], Scene(), random)
        (found,) = Seen(picture, VIEW).silhouettes("dark")
        assert abs((found.angle_deg - turn + 180) % 360 - 180) < 0.5
        assert found.lean > 0.03


def test_an_empty_ground_has_no_outline():
    for scene in SCENES.values():
        picture = frame_of([], scene, np.random.default_rng(1))
        for contrast in ("dark", "bright", "any"):
            assert Seen(picture, VIEW).silhouettes(contrast) == [], scene


def test_a_part_on_the_border_is_seen_to_lie_there():
    random = np.random.default_rng(2)
    inside, across = (
        frame_of([(part_drawn("bolt", random), Lying(x, 240, 0.0, 300))], Scene(), random) for x in (320, 20)
    )
    assert Seen(inside, VIEW).silhouettes("dark")[0].on_border == 0
    assert Seen(across, VIEW).silhouettes("dark")[0].on_border > 0.1


def test_a_view_is_measured_in_frame_pixels():
    random = np.random.default_rng(3)
    picture = frame_of([(part_drawn("bolt", random), Lying(400, 300, 30.0, 200))], Scene(), random)
    (found,) = Seen(picture, FieldOfView(240, 120, 400, 360)).silhouettes("dark")
    (whole,) = Seen(picture, VIEW).silhouettes("dark")
    assert math.hypot(found.x - whole.x, found.y - whole.y) < 1
    assert abs(found.area - whole.area) < 0.05 * whole.area
