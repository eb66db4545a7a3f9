"""The network-free bar: each baseline does what its name says, and is measured as a bundle is."""

import json

import cv2
import numpy as np
import pytest

from benchmarks.quality.baseline_table import main
from benchmarks.quality.baselines import baselines_for, evaluate_baseline
from benchmarks.quality.baselines.alignment import alignment_of, moved
from benchmarks.quality.baselines.base import Fitting, MapBaseline
from benchmarks.quality.baselines.models import EigenImages, VariationModel
from benchmarks.quality.baselines.template import GoldenTemplate
from benchmarks.quality.baselines.trivial import TrivialStatistic
from benchmarks.quality.labelled import SeenPictures
from edge.core.errors import UsageError
from edge.preprocessing.normal_samples import image_sha256
from edge.preprocessing.preprocess import Preprocess
from tests.benchmarks.test_accuracy import labelled_folder
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part

SMALL = Preprocess(48, 48)
FITTING = Fitting(budget=0.05, seed=0)


def random_fields(count, side=16, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.fixture
def data(tmp_path):
    root = labelled_folder(tmp_path / "data")
    (root / "train" / "good").mkdir(parents=True)
    for number in range(24):
        write_picture(root / "train" / "good" / f"{number}.png", good_part(number))
    return root


def test_the_variation_model_measures_in_tolerances_of_each_place():
    fields = np.full((2, 4, 4, 3), 100, np.uint8)
    # the first place varies by 20 around 100, the others not at all: tolerances 40 and 10
    fields[:, 0, 0] = [[80] * 3, [120] * 3]
    model = VariationModel(absolute=10, variation=2)
    model.fit(fields)
    field = np.full((4, 4, 3), 100, np.uint8)
    field[0, 0], field[2, 2, 1] = 180, 85
    error = model.error(field)
    assert error[0, 0] == pytest.approx(2.0)
    assert error[2, 2] == pytest.approx(1.5)
    assert np.count_nonzero(error) == 2


def test_eigen_images_keep_what_good_parts_share_and_no_more():
    random = np.random.default_rng(0)
    patterns = random.normal(0, 12, (3, 16, 16, 3))
    fields = [128 + np.tensordot(random.normal(size=3), patterns, 1) for _ in range(40)]
    fields = np.clip(np.array(fields) + random.normal(0, 1.0, (40, 16, 16, 3)), 0, 255).astype(np.uint8)
    model = EigenImages()
    model.fit(fields)
    assert model.components == 3
    mixture = np.clip(128 + patterns.sum(0), 0, 255).astype(np.uint8)
    assert model.error(mixture).max() < 0.04
    mixture[5, 5] = 255
    assert np.unravel_index(model.error(mixture).argmax(), (16, 16)) == (5, 5)


def test_shifted_parts_are_moved_onto_each_other_and_textures_are_left():
    plate = np.zeros((64, 64, 3), np.uint8)
    plate[20:44, 24:40] = 200
    offsets = np.random.default_rng(0).integers(-4, 5, (12, 2))
    parts = np.stack([moved(plate, (float(x), float(y))) for x, y in offsets])
    alignment = alignment_of(parts)
    aligned = np.stack([alignment.aligned(part)[0] for part in parts])
    assert aligned.std(0).mean() < 0.3 * parts.std(0).mean()
    assert alignment_of(random_fields(12, 64)).anchor is None


def test_the_map_of_a_shifted_part_lies_over_the_picture():
    def part(number, defect=False):
        plate = np.full((48, 48, 3), 40, np.uint8)
        plate[12:36, 16:32] = 200
        if defect:
            plate[18:22, 20:24] = 90
        offset = np.random.default_rng(number).integers(-3, 4, 2)
        noise = np.random.default_rng(number).normal(0, 2, plate.shape)
        shown = np.clip(moved(plate, (float(offset[0]), float(offset[1]))) + noise, 0, 255).astype(np.uint8)
        return shown, offset

    baseline = MapBaseline(VariationModel(), SMALL)
    baseline.fit([part(number)[0] for number in range(30)], FITTING)
    shown, (dx, dy) = part(104, defect=True)
    assert (dx, dy) != (0, 0)
    prediction = baseline.score(shown)
    y, x = np.unravel_index(prediction.values.argmax(), prediction.values.shape)
    assert abs(y - (19.5 + dy)) <= 2
    assert abs(x - (21.5 + dx)) <= 2


def test_a_golden_template_forgives_small_shifts_and_finds_what_is_missing_or_too_much():
    golden = np.zeros((48, 48, 3), np.uint8)
    golden[:, 20:22] = 200
    baseline = GoldenTemplate(SMALL)
    clean = baseline.score(moved(golden, (1.0, 0.0)), golden)
    broken, dotted = golden.copy(), golden.copy()
    broken[10:16] = 0
    dotted[30:33, 30:33] = 200
    assert clean.values.max() == 0
    for changed, place in ((broken, (12.5, 20.5)), (dotted, (31, 31))):
        prediction = baseline.score(changed, golden)
        assert prediction.score > clean.score
        assert np.hypot(*(np.mean(np.argwhere(prediction.values > 0.9 * prediction.values.max()), axis=0) - place)) < 3
    assert baseline.held_out is None
    with pytest.raises(UsageError, match="no golden sample"):
        baseline.score(golden)


def test_trivial_statistics_order_pictures_by_one_number():
    normals = [np.full((48, 48, 3), 100 + number, np.uint8) for number in range(20)]
    scores = {}
    for side in ("both", "high", "low"):
        statistic = TrivialStatistic("brightness", side, SMALL)
        statistic.fit(normals, FITTING)
        scores[side] = [statistic.score(np.full((48, 48, 3), grey, np.uint8)).score for grey in (40, 109, 150)]
    assert scores["high"] == sorted(scores["high"])
    assert scores["low"] == sorted(scores["low"], reverse=True)
    assert np.argmin(scores["both"]) == 1
    assert statistic.name == "low brightness"


def test_the_golden_template_is_there_when_every_test_picture_has_a_reference(data):
    assert "golden template" not in [baseline.name for baseline in baselines_for(data, SMALL)]
    for kind in ("good", "scratch"):
        (data / "reference" / "test" / kind).mkdir(parents=True)
        for number in range(6):
            write_picture(data / "reference" / "test" / kind / f"{number}.png", good_part(300 + number))
    names = [baseline.name for baseline in baselines_for(data, SMALL)]
    assert names[:3] == ["variation model", "eigen-images", "golden template"]
    (golden,) = (baseline for baseline in baselines_for(data, SMALL) if baseline.name == "golden template")
    _, figures = evaluate_baseline(golden, [], data, SMALL, FITTING, SeenPictures())
    assert figures["image_auroc"] == 1.0
    # no threshold, no rates at it
    assert figures["threshold"] is figures["recall"] is figures["false_reject_rate"] is None


@pytest.mark.parametrize("model", [VariationModel, EigenImages])
def test_baselines_with_a_map_find_and_place_obvious_scratches(data, model):
    normals = [good_part(number) for number in range(24)]
    baseline = MapBaseline(model(), SMALL)
    _, figures = evaluate_baseline(baseline, normals, data, SMALL, FITTING, SeenPictures())
    assert figures["image_auroc"] == 1.0
    assert figures["pixel_auroc"] > 0.9
    assert figures["false_reject_rate"] < 0.5
    held_out_and_bad = baseline.score(bad_part(9)).score, baseline.score(good_part(900)).score
    assert held_out_and_bad[0] > held_out_and_bad[1]


def test_good_test_pictures_among_the_normals_are_a_leak(data):
    leaked = cv2.imread(str(data / "test" / "good" / "3.png"))
    baseline = TrivialStatistic("brightness", "both", SMALL)
    normals = [*(good_part(number) for number in range(24)), leaked]
    with pytest.raises(UsageError, match=r"good/3\.png"):
        evaluate_baseline(baseline, normals, data, SMALL, FITTING, SeenPictures(map(image_sha256, normals)))


def test_too_few_good_parts_are_refused():
    with pytest.raises(UsageError, match="3 different good parts, at least 13 are needed"):
        MapBaseline(VariationModel(), SMALL).fit([good_part(number) for number in range(3)], FITTING)


def test_a_result_file_has_every_baseline(data, tmp_path):
    out = tmp_path / "baselines.json"
    assert main(["--name", "plate", "--data", str(data), "--size", "32", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert {"device", "commit", "command", "selection"} <= result.keys()
    assert list(result["baselines"])[:2] == ["variation model", "eigen-images"]
    assert len(result["baselines"]) == 8
    assert str(tmp_path) not in out.read_text()
