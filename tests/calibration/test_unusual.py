"""The most unusual good parts are named and shown before they count, and one that is refused does not."""

import numpy as np
import pytest

pytest.importorskip("onnx", reason="onnx is not installed: no network can be calibrated")

from calibration.pipeline.calibrate import calibrate_bundle
from calibration.pipeline.calibrator import Goal
from calibration.pipeline.memory_folds import with_memory
from calibration.pipeline.sample_cache import normal_samples
from calibration.samples.unusual import MOST_SHOWN, most_unusual, name_unusual, unusual_sheet
from edge.bundles.bundle import ModelBundle, load_bundle
from edge.bundles.versions import write_bundle
from edge.capture.images.image_reader import PLAIN
from edge.core.config import Settings
from edge.core.manifest import BlendSpec, ImageScoreSpec, InputSpec, NormSpec, ScoreSpec, SmoothSpec
from edge.kernels.cpu import planes_from_field
from tests.export.graphs import run
from tests.export.tap_graphs import HEIGHT, WIDTH, tapped_network
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part, manifest


def named(tmp_path, count):
    return [tmp_path / f"{number}.png" for number in range(count)]


def good_scores(count):
    return (-np.expm1(-np.random.default_rng(1).gamma(6.0, 0.02, count))).astype(np.float32)


def test_parts_that_the_threshold_rejects_are_shown_and_what_stands_out_is_said(tmp_path):
    scores = good_scores(60)
    plain = most_unusual(named(tmp_path, 60), scores)
    assert [part.path.name for part in plain] == [f"{np.argmax(scores)}.png"]
    assert not plain[0].stands_out and plain[0].usual == pytest.approx(np.median(scores))
    scores[[7, 21]] = 0.95, 0.97
    found = most_unusual(named(tmp_path, 60), scores)
    assert [(part.path.name, part.stands_out) for part in found[:2]] == [("21.png", True), ("7.png", True)]
    assert "score 0.970, " in found[0].words and "stands out from the others" in found[0].words


def test_a_person_is_asked_about_a_few_parts_only_and_about_one_at_least(tmp_path):
    many = good_scores(60)
    many[:20] = np.linspace(0.9, 0.99, 20)
    assert len(most_unusual(named(tmp_path, 60), many)) <= MOST_SHOWN
    assert len(most_unusual(named(tmp_path, 12), np.full(12, 0.3, np.float32))) == 1


def test_the_sheet_has_a_cell_for_each_part(tmp_path):
    shown = most_unusual(named(tmp_path, 400), good_scores(400))
    assert len(shown) == 5
    one, all_of_them = unusual_sheet(shown[:1], [good_part(0)]), unusual_sheet(shown, [good_part(0)] * 5)
    assert all_of_them.shape[0] > 1.8 * one.shape[0] and all_of_them.shape[1] > 2.5 * one.shape[1]


@pytest.fixture
def fp32_alone(bundle_path):
    """Without an INT8 network there is no gate, which takes most of a calibration's time."""
    whole = load_bundle(bundle_path).manifest
    files = {key: entry for key, entry in whole.files.items() if "fp32" in key}
    write_bundle(bundle_path, whole.model_copy(update={"files": files}), {})
    return bundle_path


def test_a_part_that_a_person_refuses_sets_no_threshold(fp32_alone, tmp_path, capsys):
    data = tmp_path / "good"
    data.mkdir()
    for seed in range(25):
        write_picture(data / f"{seed:02}.png", bad_part(3) if seed == 4 else good_part(500 + seed))
    sheet, asked = tmp_path / "unusual.png", []

    def refuse_what_stands_out(parts, shown):
        asked.extend(parts)
        assert shown == sheet and sheet.is_file()
        return [part.path for part in parts if part.stands_out]

    goal = Goal(None, None, None)
    calibrate_bundle(fp32_alone, data, goal, Settings(), PLAIN, confirm=name_unusual, sheet=sheet)
    with_it = load_bundle(fp32_alone).calibration("fp32")
    assert "04.png: score " in capsys.readouterr().err
    calibrate_bundle(fp32_alone, data, goal, Settings(), PLAIN, confirm=refuse_what_stands_out, sheet=sheet)
    without = load_bundle(fp32_alone).calibration("fp32")
    assert asked[0].path.name == "04.png" and asked[0].stands_out
    assert "left out, as no good parts: 04.png" in capsys.readouterr().err
    assert (len(with_it.scores), len(without.scores)) == (25, 24)
    assert without.scores.max() < with_it.scores.max()
    # nor is it in the statistics
    assert not np.array_equal(without.mean, with_it.mean)


def part_of_two_halves(seed):
    """A bright left and a dark right half, with noise."""
    random = np.random.default_rng(seed)
    picture = np.full((HEIGHT, WIDTH, 3), 60, np.float64)
    picture[:, : WIDTH // 2] = 180
    return (picture + random.normal(0, 6, picture.shape)).clip(0, 255).astype(np.uint8)


def test_a_part_that_a_person_refuses_leaves_the_memory_too(tmp_path):
    data = tmp_path / "good"
    data.mkdir()
    for seed in range(24):
        picture = part_of_two_halves(seed)
        if seed == 4:
            picture[8:24, 36:56] = (250, 20, 20)
        write_picture(data / f"{seed:02}.png", picture)
    wanted = manifest(
        input=InputSpec(height=HEIGHT, width=WIDTH),
        outputs=("seg_logit", "emb_dist"),
        score=ScoreSpec(
            norm=NormSpec(tau=8.0), blend=BlendSpec(mode="sum", beta=0), smooth=SmoothSpec(radius=1), map_scale=4,
            image_score=ImageScoreSpec(k=4),
        ),
    )  # fmt: skip
    samples = normal_samples(ModelBundle(tmp_path / "b", wanted, ""), data)
    model, folds = with_memory(tapped_network(), samples, 1)
    wanted = wanted.model_copy(update={"memory_on": tuple(part.sha256 for part in samples.all)})
    write_bundle(tmp_path / "b", wanted, {"model_fp32": ("model_fp32.onnx", model)})

    def refuse_the_worst(parts, sheet):
        return [parts[0].path]

    goal = Goal(None, None, None)
    calibrate_bundle(tmp_path / "b", data, goal, Settings(), PLAIN, folds=folds, confirm=refuse_the_worst)
    made = load_bundle(tmp_path / "b")
    (odd,) = set(wanted.memory_on) - set(made.manifest.memory_on)
    assert odd == next(part.sha256 for part in samples.all if part.path.name == "04.png")
    assert len(made.calibration("fp32").scores) == 23
    # what it looked like is no longer known: it is as unusual as to a memory that never saw it
    field = made.preprocess.field(PLAIN.read(data / "04.png"))
    image = planes_from_field(field, np.empty((3, HEIGHT, WIDTH), np.float32))
    assert run(made.read("model_fp32"), image, "emb_dist").max() > 2 * run(model, image, "emb_dist").max()
