"""What is chosen from good parts alone: alignment, shape of the field, and how a view comes to its aspect."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.studies.drawn_parts import SCENES, Lying, Scene, frame_of, part_drawn, picture_of
from edge.core.config import AlignSettings
from edge.core.errors import UsageError
from edge.preprocessing.field_shape import field_shape, upright_shape
from edge.preprocessing.geometry import Geometry, GeometryWish, chosen_geometry
from edge.preprocessing.preprocess import Preprocess
from edge.samples import sample_data

SQUARE = Preprocess(256, 256)


def stored(folder: Path, pictures: list[np.ndarray]) -> Path:
    for number, picture in enumerate(pictures):
        assert cv2.imwrite(str(folder / f"{number:02d}.png"), picture)
    return folder


def chosen(data: Path, mode: str | None = None, any_shape: bool = True, **wish) -> Geometry:
    settings = AlignSettings.model_validate({"mode": mode})
    return chosen_geometry(SQUARE, data, GeometryWish(settings, **wish), any_shape=any_shape)


def textures(count: int, height: int = 120, width: int = 160) -> list[np.ndarray]:
    random = np.random.default_rng(3)
    return [random.integers(80, 170, (height, width, 3), dtype=np.uint8) for _ in range(count)]


def test_a_field_has_the_aspect_and_the_area():
    assert field_shape(1.0, 256**2) == (256, 256)
    assert field_shape(2.0, 256**2) == (192, 384)
    assert field_shape(0.5, 256**2) == (384, 192)
    for aspect in (0.1, 0.3, 0.8, 1.3, 3.0, 10.0):
        height, width = field_shape(aspect, 320**2)
        assert height % 32 == 0 and width % 32 == 0 and max(height, width) <= 512


def test_an_upright_field_has_the_parts_aspect_and_enlarges_no_part_beyond_reason():
    assert upright_shape(900, 270, 0.06, 256, 2.0) == (192, 640)
    height, width = upright_shape(120, 30, 0.06, 256, 2.0)
    assert width <= 320 and height <= 96


@pytest.mark.parametrize(
    ("kind", "scene"), [("screw", "shadow"), ("capsule", "bright on plain"), ("cable", "textured")]
)
def test_elongated_parts_that_lie_anyhow_are_stood_upright(tmp_path, kind, scene):
    geometry = chosen(stored(tmp_path, [picture_of(kind, seed, SCENES[scene])[0] for seed in range(16)]))
    align = geometry.preprocess.align
    assert align is not None and align.upright is not None
    assert geometry.preprocess.shape == (align.upright.height, align.upright.width)
    assert geometry.preprocess.width >= 3 * geometry.preprocess.height
    assert geometry.said[0].startswith("align: upright (one part a picture, ")
    assert geometry.said[1].endswith("the part's own aspect")


def test_a_square_network_stands_parts_upright_in_its_square(tmp_path):
    data = stored(tmp_path, [picture_of("bolt", seed, Scene())[0] for seed in range(12)])
    geometry = chosen(data, any_shape=False)
    assert geometry.preprocess.shape == (256, 256) and geometry.preprocess.align is not None


def test_parts_that_always_lie_the_same_way_stay_as_they_are(tmp_path):
    pictures = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        lying = Lying(320 + float(random.normal(0, 2)), 240, float(random.normal(0, 0.5)), 400)
        pictures.append(frame_of([(part_drawn("bolt", random), lying)], Scene(), random))
    geometry = chosen(stored(tmp_path, pictures))
    assert geometry.preprocess.align is None
    assert "always lie the same way" in geometry.said[0] and "they keep their place" in geometry.said[0]


def test_parts_that_shift_a_little_are_followed(tmp_path):
    pictures = []
    for seed in range(12):
        random = np.random.default_rng(seed)
        picture = np.full((240, 320, 3), 60, np.uint8)
        left, top = 60 + int(random.integers(-16, 17)), 50 + int(random.integers(-12, 13))
        cv2.rectangle(picture, (left, top), (left + 190, top + 140), (170, 175, 180), -1)
        cv2.circle(picture, (left + 50, top + 50), 22, (80, 80, 80), -1)
        pictures.append(picture)
    geometry = chosen(stored(tmp_path, pictures))
    assert geometry.preprocess.align is not None and geometry.preprocess.align.mode == "template"
    assert geometry.said[0].startswith("align: template (the parts lie nearly the same way")


def test_textures_are_left_alone_and_say_why(tmp_path):
    geometry = chosen(stored(tmp_path, textures(10)))
    assert geometry.preprocess.align is None and geometry.preprocess.fit == "stretch"
    assert geometry.said[0].startswith("align: none (the parts ") and "do not match each other" in geometry.said[0]
    assert geometry.preprocess.shape == field_shape(160 / 120, 256**2)
    assert "field: 288x224 px" in geometry.said[1]


def test_aspects_that_vary_get_a_letterbox(tmp_path):
    pictures = [texture for width in (90, 140, 220) for texture in textures(3, 120, width)]
    for any_shape in (True, False):
        geometry = chosen(stored(tmp_path, pictures), any_shape=any_shape)
        assert geometry.preprocess.fit == "letterbox"
        assert "fit: letterbox (aspects vary from 0.75 to 1.83)" in geometry.said[-1]


def test_wishes_are_kept(tmp_path):
    data = stored(tmp_path, [picture_of("bolt", seed, Scene())[0] for seed in range(8)])
    plain = chosen(data, mode="none", fit="letterbox", field=(192, 384)).preprocess
    assert (plain.shape, plain.fit, plain.align) == ((192, 384), "letterbox", None)
    upright = chosen(data, mode="upright", field=(128, 512)).preprocess
    assert upright.shape == (128, 512) and upright.align is not None


def test_native_shows_a_pixel_for_a_pixel_or_says_what_to_do(tmp_path):
    data = stored(tmp_path, textures(6, 224, 320))
    assert chosen(data, fit="native").preprocess.shape == (224, 320)
    with pytest.raises(UsageError, match="this network takes 256x256 px"):
        chosen(data, fit="native", any_shape=False)
    with pytest.raises(UsageError, match="align mode upright moves them"):
        chosen(data, fit="native", mode="upright")
    odd = tmp_path / "odd"
    odd.mkdir()
    with pytest.raises(UsageError, match=r"300x700 px are no field; .* up to 512 px") as error:
        chosen(stored(odd, textures(6, 700, 300)), fit="native")
    assert "such as 288x512 px" in error.value.fix


def test_wishes_that_cannot_be_had_are_refused(tmp_path):
    data = stored(tmp_path, textures(6))
    with pytest.raises(UsageError, match="a field of 100x96 px does not fit"):
        chosen(data, field=(96, 100))
    with pytest.raises(UsageError, match="inspects a field of 256x256 px here, and no other"):
        chosen(data, field=(128, 512), any_shape=False)
    with pytest.raises(UsageError, match="align mode upright: the parts do not stand out"):
        chosen(data, mode="upright")
    square = Preprocess(256, 256, polygon=((0, 0), (50, 0), (50, 50)))
    with pytest.raises(UsageError, match="inside a polygon"):
        chosen_geometry(square, data, GeometryWish(AlignSettings(mode="upright")), any_shape=True)


def test_the_sample_parts_which_stand_are_followed_and_not_turned():
    align = chosen(sample_data()).preprocess.align
    assert align is not None and align.mode == "template"
