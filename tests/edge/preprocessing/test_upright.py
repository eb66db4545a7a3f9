"""Parts that lie anyhow are stood upright, judged so, and told where they lie in the frame."""

from __future__ import annotations

import math
import time
from functools import lru_cache

import cv2
import numpy as np
import pytest

from benchmarks.studies.drawn_parts import SCENES, Lying, Scene, frame_of, part_drawn, picture_of
from edge.backends.aligning import AligningBackend
from edge.core.config import AlignSettings
from edge.core.datatypes import AnomalyMap, Decision, Frame, Pose, Reason
from edge.core.errors import PartNotFound
from edge.core.manifest import AlignSpec
from edge.inspection.inspector import Inspector
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.regions import FieldOfView, values_in_view
from edge.preprocessing.upright import upright_aligner_of
from edge.preprocessing.upright_reference import outlines_of, upright_spec
from tests.edge.records.records_fakes import START

HEIGHT, WIDTH = 480, 640
VIEW = FieldOfView(0, 0, WIDTH, HEIGHT)
CANVAS = (160, 640)


@lru_cache(maxsize=8)
def spec_of(kind: str, scene: str, **settings) -> AlignSpec:
    pictures = [picture_of(kind, 100 + seed, SCENES[scene])[0] for seed in range(10)]
    outlines = outlines_of(pictures, [VIEW] * len(pictures))
    assert not isinstance(outlines, str), outlines
    return upright_spec(outlines, CANVAS, AlignSettings(mode="upright", **settings))


def turn_error(pose: Pose, lying: Lying) -> float:
    return abs((pose.angle_deg - lying.turn_deg + 180) % 360 - 180)


def middle_of(pose: Pose) -> np.ndarray:
    """Where the middle of the canvas lies in the frame."""
    return np.array(pose.matrix).reshape(2, 3) @ ((WIDTH - 1) / 2, (HEIGHT - 1) / 2, 1)


def places_on_part(found: list[tuple[Pose, Lying]]) -> np.ndarray:
    """Where the middle of the canvas lies on each part, along and across it from its drawn middle."""
    offsets = np.array([middle_of(pose) - (lying.x, lying.y) for pose, lying in found])
    cosine, sine = (of(np.radians([lying.turn_deg for _, lying in found])) for of in (np.cos, np.sin))
    return np.stack(
        [offsets[:, 0] * cosine + offsets[:, 1] * sine, offsets[:, 1] * cosine - offsets[:, 0] * sine], axis=1
    )


def lying_anyhow(kind: str, scene: str, turns: range, defect: str | None = None) -> list[tuple[Pose, Lying]]:
    aligner, found = upright_aligner_of(spec_of(kind, scene)), []
    for turn in turns:
        random = np.random.default_rng(turn)
        lying = Lying(320 + float(random.uniform(-60, 60)), 240 + float(random.uniform(-20, 20)), turn, 300)
        picture = frame_of([(part_drawn(kind, random, defect), lying)], SCENES[scene], random)
        ((_, pose),) = aligner.placed(picture, VIEW)
        found.append((pose, lying))
    return found


@pytest.mark.parametrize("scene", ["dark on plain", "bright on plain", "shadow", "textured"])
def test_a_part_is_stood_upright_from_every_turn(scene):
    found = lying_anyhow("screw", scene, range(0, 360, 24))
    assert max(turn_error(*each) for each in found) < 1.0
    # the same place of every part, to a pixel; shadows fall another way on each
    assert places_on_part(found).std(axis=0).max() < (2.0 if scene == "shadow" else 0.7)


def test_ends_of_one_outline_are_told_apart_by_what_is_on_the_part():
    found = lying_anyhow("capsule", "dark on plain", range(0, 360, 30))
    turned = {round(((pose.angle_deg - lying.turn_deg) % 360) / 180) % 2 for pose, lying in found}
    assert len(turned) == 1


@pytest.mark.parametrize("defect", ["bent tip", "missing thread", "cut end"])
def test_a_defect_does_not_move_the_part(defect):
    turns = range(10, 360, 50)
    good, bad = (lying_anyhow("screw", "dark on plain", turns, each) for each in (None, defect))
    assert max(turn_error(*each) for each in bad) < 1.5
    assert np.abs(places_on_part(bad) - places_on_part(good)).max() < 2


def test_the_canvas_keeps_the_parts_aspect():
    random = np.random.default_rng(0)
    picture = frame_of([(part_drawn("bolt", random), Lying(320, 240, 70.0, 300))], Scene(), random)
    canvas = Preprocess(*CANVAS, align=spec_of("bolt", "dark on plain")).field(picture)
    assert canvas.shape == (*CANVAS, 3)
    inside = canvas[..., 1] < 140
    columns, rows = np.nonzero(inside.any(axis=0))[0], np.nonzero(inside.any(axis=1))[0]
    # the drawn bolt: 840 long, head 240 broad, thread 124 to 140
    assert abs(np.ptp(columns) / np.ptp(rows) - 840 / 240) < 0.15
    head, shaft = (inside[:, columns[0] + offset].sum() for offset in (30, 400))
    assert head > 1.5 * shaft


def test_parts_of_other_sizes_are_brought_to_one():
    pictures = [picture_of("bolt", seed, Scene(), length_px=240 + 8 * seed)[0] for seed in range(10)]
    outlines = outlines_of(pictures, [VIEW] * 10)
    spec = upright_spec(outlines, CANVAS, AlignSettings())
    assert spec.upright is not None and spec.upright.own_size
    preprocess = Preprocess(*CANVAS, align=spec)
    small, large = (
        preprocess.field(picture_of("bolt", 99, Scene(), length_px=length)[0]).astype(float) for length in (245, 310)
    )
    assert np.abs(small - large).mean() < 6


def test_the_whole_part_is_found_where_a_piece_of_it_stands_out_most():
    # a thread far darker than a body that is nearly as bright as its ground
    scene = Scene(ground=200, part=150, vignette=60)
    pictures = [picture_of("screw", seed, scene, length_px=400, size=(600, 640))[0] for seed in range(10)]
    outlines = outlines_of(pictures, [FieldOfView(0, 0, 640, 600)] * 10)
    assert not isinstance(outlines, str)
    # the thread alone is half as long
    assert outlines.median("length") > 340 and outlines.median("lean") > 0.03


def test_what_is_no_part_is_not_found():
    aligner = upright_aligner_of(spec_of("screw", "dark on plain"))
    random = np.random.default_rng(5)
    empty = frame_of([], Scene(), random)
    with pytest.raises(PartNotFound, match="no outline of a part's size stands out"):
        aligner.placed(empty, VIEW)
    with pytest.raises(PartNotFound, match="of a part's area at"):
        aligner.placed(frame_of([(part_drawn("bolt", random), Lying(320, 240, 20, 420))], Scene(), random), VIEW)
    other = frame_of([(part_drawn("brush", random), Lying(320, 240, 20, 215))], Scene(), random)
    with pytest.raises(PartNotFound, match=r"match of what lies at .* with the reference is"):
        upright_aligner_of(spec_of("screw", "dark on plain", min_quality=0.97)).placed(other, VIEW)


def test_a_part_that_the_border_cuts_off_is_not_found():
    random = np.random.default_rng(6)
    aligner = upright_aligner_of(spec_of("bolt", "dark on plain"))
    cut = frame_of([(part_drawn("bolt", random), Lying(75, 240, 0.0, 300))], Scene(), random)
    with pytest.raises(PartNotFound, match=r"border cuts off \d+%|of a part's area"):
        aligner.placed(cut, VIEW)
    close = frame_of([(part_drawn("bolt", random), Lying(155, 240, 0.0, 300))], Scene(), random)
    assert len(aligner.placed(close, VIEW)) == 1


class Spot:
    """A backend that marks what is nearly black on a canvas."""

    name, model_sha256 = "fake", "e" * 64

    def score(self, image, clock):
        assert image.shape == (*CANVAS, 3)
        values = (image.max(axis=2) < 12).astype(np.float32)
        return AnomalyMap(values, float(values.max()), int(values.sum()))

    def close(self):
        pass


def inspected(picture: np.ndarray, **settings):
    preprocess = Preprocess(*CANVAS, align=spec_of("bolt", "dark on plain", **settings))
    inspector = Inspector(AligningBackend(Spot(), preprocess), preprocess, 0.5, 0.5, "b" * 64)
    return inspector.inspect(Frame(0, time.perf_counter_ns(), START, "test", picture))


def spotted(picture: np.ndarray, lying: Lying, along: float) -> tuple[np.ndarray, np.ndarray]:
    """With a black spot upon the part, `along` its axis from its middle; and where."""
    radians = math.radians(lying.turn_deg)
    place = np.array((lying.x, lying.y)) + along * np.array((math.cos(radians), math.sin(radians)))
    cv2.circle(picture, (round(place[0]), round(place[1])), 5, (0, 0, 0), -1)
    return picture, np.rint(place)


@pytest.mark.parametrize("turn", [15.0, 100.0, 200.0, 310.0])
def test_regions_and_heat_lie_where_the_defect_is_in_the_frame(turn):
    random, lying = np.random.default_rng(7), Lying(300, 230, turn, 300)
    picture, place = spotted(frame_of([(part_drawn("bolt", random), lying)], Scene(), random), lying, 60)
    verdict = inspected(picture)
    assert verdict.decision is Decision.NG and verdict.parts == ()
    (region,) = verdict.regions
    middle = np.array((region.x + (region.width - 1) / 2, region.y + (region.height - 1) / 2))
    assert np.abs(middle - place).max() <= 2
    # a spot of 5 px has 81 px
    assert 40 < region.area_px < 130
    values = values_in_view(verdict.anomaly_map, VIEW)
    row, column = np.unravel_index(np.argmax(cv2.blur(values, (7, 7))), values.shape)
    heat = np.array((column * WIDTH / values.shape[1], row * HEIGHT / values.shape[0]))
    assert np.abs(heat - place).max() <= 4


def tray(defective: bool) -> tuple[np.ndarray, list[np.ndarray]]:
    random = np.random.default_rng(8)
    lyings = [Lying(130, 120, 40, 180), Lying(330, 130, 95, 180), Lying(520, 130, 200, 180), Lying(200, 350, 340, 180)]
    picture = frame_of([(part_drawn("bolt", random), lying) for lying in lyings], Scene(), random)
    places = []
    for lying in (lyings[1], lyings[3]) if defective else ():
        picture, place = spotted(picture, lying, 30)
        places.append(place)
    return picture, places


@pytest.fixture(scope="module")
def tray_spec():
    random = np.random.default_rng(9)
    pictures = []
    for _ in range(6):
        lyings = [Lying(120 + 200 * column, 240 + float(random.uniform(-60, 60)), float(random.uniform(0, 360)), 180)
                  for column in range(3)]  # fmt: skip
        pictures.append(frame_of([(part_drawn("bolt", random), lying) for lying in lyings], Scene(), random))
    outlines = outlines_of(pictures, [VIEW] * 6)
    assert not isinstance(outlines, str)
    return lambda **settings: upright_spec(outlines, CANVAS, AlignSettings(mode="upright", **settings))


def tray_verdict(spec: AlignSpec, picture: np.ndarray):
    preprocess = Preprocess(*CANVAS, align=spec)
    inspector = Inspector(AligningBackend(Spot(), preprocess), preprocess, 0.5, 0.5, "b" * 64)
    return inspector.inspect(Frame(0, time.perf_counter_ns(), START, "test", picture))


def test_every_part_of_a_tray_is_judged_and_the_worst_decides(tray_spec):
    good, bad = (tray_verdict(tray_spec(), tray(defective)[0]) for defective in (False, True))
    assert good.decision is Decision.OK and len(good.parts) == 4
    assert bad.decision is Decision.NG and "the worst of 4 parts" in bad.detail
    assert [part.score for part in bad.parts] == [1.0, 1.0, 0.0, 0.0]
    assert bad.as_json("tray")["parts"][0].keys() == {"score", "x", "y", "width", "height"}
    places = tray(True)[1]
    assert len(bad.regions) == 2
    for place in places:
        assert any(
            np.abs((region.x + region.width / 2 - place[0], region.y + region.height / 2 - place[1])).max() < 4
            for region in bad.regions
        )
        assert any(0 <= place[0] - part.x <= part.width and 0 <= place[1] - part.y <= part.height for part in bad.parts)
    assert values_in_view(bad.anomaly_map, VIEW).max() > 0.9


def test_other_parts_are_painted_over_on_a_parts_canvas(tray_spec):
    random = np.random.default_rng(10)
    # nearer to each other their shadows touch, and whether a shadow belongs to a part is learned: OpenCVs differ there
    pair = [Lying(250, 240, 90, 180), Lying(314, 240, 90, 180)]
    picture = frame_of([(part_drawn("bolt", random), lying) for lying in pair], Scene(), random)
    for canvas, _ in upright_aligner_of(tray_spec()).placed(picture, VIEW):
        # a part alone covers this share of its canvas
        assert (canvas[..., 1] < 140).mean() < 0.5
        assert canvas[:4, 200:, 1].min() > 150 and canvas[-4:, 200:, 1].min() > 150


def test_a_missing_part_of_a_tray_is_invalid_where_the_number_is_known(tray_spec):
    random = np.random.default_rng(11)
    two = frame_of([(part_drawn("bolt", random), Lying(150 + 300 * place, 240, 50, 180)) for place in (0, 1)],
                   Scene(), random)  # fmt: skip
    verdict = tray_verdict(tray_spec(parts=3), two)
    assert (verdict.decision, verdict.reason) == (Decision.INVALID, Reason.PART_NOT_FOUND)
    assert "2 parts were found, 3 are expected" in verdict.detail
    assert tray_verdict(tray_spec(), two).decision is Decision.OK


def test_parts_that_touch_are_invalid(tray_spec):
    random = np.random.default_rng(12)
    lyings = [Lying(260, 240, 0, 180), Lying(300, 270, 80, 180)]
    picture = frame_of([(part_drawn("bolt", random), lying) for lying in lyings], Scene(), random)
    verdict = tray_verdict(tray_spec(), picture)
    assert (verdict.decision, verdict.reason) == (Decision.INVALID, Reason.PART_NOT_FOUND)


def test_round_parts_are_declined_in_words():
    pictures = []
    for seed in range(8):
        random = np.random.default_rng(seed)
        picture = np.full((HEIGHT, WIDTH, 3), 190, np.uint8)
        cv2.circle(picture, (int(random.integers(150, 490)), int(random.integers(150, 330))), 90, (70, 70, 70), -1)
        pictures.append(picture)
    assert "have no axis: they are 1.0 times as long as broad" in str(outlines_of(pictures, [VIEW] * 8))


def test_a_specification_says_both_or_neither():
    values = spec_of("screw", "dark on plain").model_dump()
    with pytest.raises(ValueError, match="go together"):
        AlignSpec.model_validate(values | {"mode": "template"})
    with pytest.raises(ValueError, match="the silhouette has"):
        AlignSpec.model_validate(values | {"upright": values["upright"] | {"silhouette": "AAAA"}})
