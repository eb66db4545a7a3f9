"""A part that lies elsewhere is found, put in its place, judged there, and told where it really lies."""

from __future__ import annotations

import hashlib
import json
import math
import time
from itertools import product

import cv2
import numpy as np
import pytest

from edge.backends import open_backend
from edge.backends.aligning import AligningBackend
from edge.core.config import AlignSettings
from edge.core.datatypes import AnomalyMap, Decision, Frame, Pose, Reason
from edge.core.errors import PartNotFound, UsageError
from edge.core.manifest import AlignSpec, PreprocessSpec
from edge.inspection.inspector import Inspector
from edge.preprocessing.alignment import align_spec, aligner_of
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.regions import FieldOfView, defect_regions, values_in_view
from tests.edge.monitoring.drift.parts import clipped
from tests.edge.records.records_fakes import START
from tests.small_bundle import good_part, make_bundle

HEIGHT, WIDTH = 96, 120
VIEW = FieldOfView(0, 0, WIDTH, HEIGHT)
GROUND = 60


def bracket(seed: int, right: float = 0.0, down: float = 0.0, turn_deg: float = 0.0, scale: float = 1.0) -> np.ndarray:
    """A part with corners, moved from its place; uint8 BGR."""
    picture = np.full((HEIGHT, WIDTH, 3), GROUND, np.float32)
    cv2.rectangle(picture, (35, 30), (85, 66), (190, 180, 170), -1)
    cv2.circle(picture, (50, 48), 8, (70, 60, 50), -1)
    cv2.rectangle(picture, (70, 36), (80, 44), (110, 110, 110), -1)
    middle = ((WIDTH - 1) / 2, (HEIGHT - 1) / 2)
    matrix = cv2.getRotationMatrix2D(middle, -turn_deg, scale)
    matrix[:, 2] += right, down
    moved = cv2.warpAffine(picture, matrix, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    return clipped(moved + np.random.default_rng(seed).normal(0, 2, moved.shape))


def spec_of(mode: str, **settings) -> AlignSpec:
    parts = [bracket(seed) for seed in range(8)]
    spec = align_spec(parts, [VIEW] * len(parts), AlignSettings(mode=mode, **settings))
    assert spec is not None
    return spec


def middle_of(pose: Pose) -> tuple[float, float]:
    """Where the part's middle lies, against its place."""
    middle = np.array([(WIDTH - 1) / 2, (HEIGHT - 1) / 2])
    matrix = np.array(pose.matrix).reshape(2, 3)
    right, down = matrix[:, :2] @ middle + matrix[:, 2] - middle
    return float(right), float(down)


def test_every_mode_finds_a_shift():
    for mode in ["phase", "template", "ecc"]:
        pose = aligner_of(spec_of(mode)).pose(bracket(99, right=9, down=-6), VIEW)
        right, down = middle_of(pose)
        assert abs(right - 9) < 0.7 and abs(down + 6) < 0.7, mode
        assert pose.quality > 0.9, mode


def test_template_and_ecc_find_a_turn():
    for case in product([("template", 1.0), ("ecc", 0.4)], [-7.0, 4.0]):
        (mode, tolerance_deg), turn_deg = case
        pose = aligner_of(spec_of(mode)).pose(bracket(99, right=5, down=3, turn_deg=turn_deg), VIEW)
        right, down = middle_of(pose)
        assert abs(pose.angle_deg - turn_deg) < tolerance_deg, case
        assert math.hypot(right - 5, down - 3) < 1.0, case


def test_a_large_frame_is_reduced_to_what_the_reference_is_compared_with():
    # even sides are halved on the way, odd ones are not
    for size in [(8 * WIDTH, 8 * HEIGHT), (8 * WIDTH + 1, 8 * HEIGHT + 1)]:
        view = FieldOfView(0, 0, *size)
        spec = spec_of("template")
        large = cv2.resize(bracket(99, right=9, down=-6, turn_deg=3), size, interpolation=cv2.INTER_LINEAR)
        pose = aligner_of(spec).pose(large, view)
        small = aligner_of(spec).pose(bracket(99, right=9, down=-6, turn_deg=3), VIEW)
        assert abs(pose.angle_deg - small.angle_deg) < 0.2, size
        assert abs(pose.quality - small.quality) < 0.01, size
        matrix, middle = np.array(pose.matrix).reshape(2, 3), (np.array(size) - 1) / 2
        moved = (matrix[:, :2] @ middle + matrix[:, 2] - middle) / 8
        assert moved == pytest.approx(middle_of(small), abs=0.1), size


def test_ecc_finds_a_size():
    pose = aligner_of(spec_of("ecc")).pose(bracket(99, right=-4, scale=1.06), VIEW)
    assert abs(pose.scale - 1.06) < 0.01


def test_an_empty_place_is_no_part(subtests):
    empty = clipped(GROUND + np.random.default_rng(1).normal(0, 2, (HEIGHT, WIDTH, 3)))
    for mode in ["phase", "template", "ecc"]:
        with subtests.test(mode=mode), pytest.raises(PartNotFound, match="match with the reference is"):
            aligner_of(spec_of(mode)).pose(empty, VIEW)


def test_half_the_light_changes_nothing():
    for mode in ["phase", "template", "ecc"]:
        spec = spec_of(mode)
        bright, dim = (aligner_of(spec).pose(clipped(bracket(99, right=7) * gain), VIEW) for gain in (1.0, 0.5))
        assert abs(middle_of(bright)[0] - middle_of(dim)[0]) < 0.5, mode


def test_the_field_shows_the_part_in_its_place():
    straight = Preprocess(64, 64).field(bracket(1)).astype(float)
    moved = bracket(1, right=8, down=5, turn_deg=6)
    aligned = Preprocess(64, 64, align=spec_of("ecc")).field(moved).astype(float)
    assert np.abs(aligned - straight)[8:-8, 8:-8].mean() < 4
    assert np.abs(Preprocess(64, 64).field(moved) - straight)[8:-8, 8:-8].mean() > 8


def test_a_part_is_followed_out_of_the_region_of_interest():
    region = FieldOfView(30, 24, 62, 48)
    parts = [bracket(seed) for seed in range(8)]
    spec = align_spec(parts, [region] * 8, AlignSettings(mode="template"))
    preprocess = Preprocess(48, 48, (region.x, region.y, region.width, region.height), align=spec)
    (seen,) = preprocess.placed(bracket(99, right=9, down=4))
    assert seen.view.shape == (48, 62, 3)
    assert (
        np.abs(seen.view.astype(float) - Preprocess(48, 48, preprocess.rectangle).placed(bracket(99))[0].view).mean()
        < 8
    )


def test_an_alignment_is_part_of_what_a_bundle_is_calibrated_for():
    plain = Preprocess(64, 64)
    assert (
        Preprocess(64, 64, align=spec_of("phase")).sha256
        != Preprocess(64, 64, align=spec_of("ecc")).sha256
        != plain.sha256
    )


def test_bundles_that_were_aligned_before_parts_could_be_stood_upright_keep_their_hash():
    spec = spec_of("ecc")
    values = {name: value for name, value in spec.model_dump().items() if name != "upright"}
    earlier = json.dumps([1, "box-then-linear", 64, None, None, values])
    assert Preprocess(64, 64, align=spec).sha256 == hashlib.sha256(earlier.encode()).hexdigest()


class Spot:
    """A backend that marks what is darker than anything on a bracket."""

    name, model_sha256 = "fake", "e" * 64

    def score(self, image, clock):
        values = (image.max(axis=2) < 30).astype(np.float32)
        return AnomalyMap(values, float(values.max()), int(values.sum()))

    def close(self):
        pass


def spotted(column: int, row: int, **moved) -> np.ndarray:
    picture = bracket(5, **moved)
    picture[row - 2 : row + 3, column - 2 : column + 3] = 0
    return picture


def inspected(picture: np.ndarray, mode: str = "template"):
    preprocess = Preprocess(64, 64, align=spec_of(mode))
    inspector = Inspector(AligningBackend(Spot(), preprocess), preprocess, 0.5, 0.5, "b" * 64)
    return inspector.inspect(Frame(0, time.perf_counter_ns(), START, "test", picture))


@pytest.mark.parametrize("moved", [{"right": 9.0, "down": 6.0}, {"right": 9.0, "turn_deg": 8.0}])
def test_regions_lie_where_the_defect_is_in_the_frame(moved):
    verdict = inspected(spotted(70, 52, **moved))
    assert verdict.decision is Decision.NG
    region = verdict.regions[0]
    assert abs(region.x + region.width / 2 - 70.5) <= 1.5
    assert abs(region.y + region.height / 2 - 52.5) <= 1.5


def test_the_map_can_be_laid_over_the_frame():
    verdict = inspected(spotted(70, 52, right=9.0, turn_deg=8.0))
    values = values_in_view(verdict.anomaly_map, VIEW)
    row, column = np.unravel_index(np.argmax(cv2.blur(values, (5, 5))), values.shape)
    assert abs(column - 70) <= 1 and abs(row - 52) <= 1


def test_without_a_pose_regions_are_where_they_were():
    values = np.zeros((10, 10), np.float32)
    values[2:4, 5:7] = 1
    region = defect_regions(AnomalyMap(values, 1.0, 4), 0.5, FieldOfView(100, 50, 40, 20))[0]
    assert (region.x, region.y, region.width, region.height) == (120, 54, 8, 4)


def test_a_missing_part_is_invalid_and_never_ok():
    verdict = inspected(np.full((HEIGHT, WIDTH, 3), GROUND, np.uint8))
    assert (verdict.decision, verdict.reason) == (Decision.INVALID, Reason.PART_NOT_FOUND)
    assert "at least" in verdict.detail


def test_a_part_beyond_the_largest_shift_is_invalid():
    verdict = inspected(bracket(5, right=24), "phase")
    assert (verdict.decision, verdict.reason) == (Decision.INVALID, Reason.PART_NOT_FOUND)


def test_parts_that_do_not_match_each_other_give_no_reference():
    random = np.random.default_rng(0)
    textures = [random.integers(0, 255, (HEIGHT, WIDTH, 3), dtype=np.uint8) for _ in range(6)]
    with pytest.raises(UsageError, match="do not match each other"):
        align_spec(textures, [VIEW] * 6, AlignSettings(mode="phase"))


def test_a_reference_of_another_size_than_said_is_refused():
    with pytest.raises(ValueError, match="the reference has"):
        AlignSpec.model_validate(spec_of("phase").model_dump() | {"width": 64})


def test_bundle_and_backend_align_alike(tmp_path):
    parts = [good_part(seed) for seed in range(8)]
    spec = align_spec(parts, [FieldOfView(0, 0, 64, 48)] * 8, AlignSettings(mode="template", max_angle_deg=0.0))
    bundle = make_bundle(tmp_path / "bundle", preprocess=PreprocessSpec(align=spec))
    backend = open_backend(bundle, "openvino", "fp32", 1)
    calibration = bundle.calibration("fp32")
    inspector = Inspector(backend, bundle.preprocess, calibration.threshold, calibration.pixel_threshold, bundle.sha256)
    moved = np.roll(good_part(100), (5, 7), axis=(0, 1))
    verdict = inspector.inspect(Frame(0, time.perf_counter_ns(), START, "test", moved))
    assert verdict.anomaly_map is not None and verdict.anomaly_map.pose is not None
    right, down = (round(verdict.anomaly_map.pose.matrix[place]) for place in (2, 5))
    assert abs(right - 7) <= 1 and abs(down - 5) <= 1
    assert verdict.decision is Decision.OK
