"""What trains and calibrates aligns as the line does; another alignment than the bundle's is refused."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest

from benchmarks.studies.drawn_parts import Scene, frame_of, picture_of
from edge.bundles.bundle import load_bundle
from edge.bundles.history import read_history
from edge.bundles.versions import write_bundle
from edge.cli import main
from tests.small_bundle import blur_network, good_part, manifest


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("good")
    for seed in range(24):
        assert cv2.imwrite(str(folder / f"{seed:02d}.png"), good_part(500 + seed))
    return folder


@pytest.fixture
def aligned(tmp_path, data):
    path = tmp_path / "bundle"
    # FP32 alone: without an INT8 network beside it nothing is gated
    write_bundle(path, manifest(), {"model_fp32": ("model_fp32.onnx", blur_network())})
    assert main(["calibrate", "--bundle", str(path), "--data", str(data), "--align", "template"]) == 0
    return path


def test_calibrate_makes_a_reference_and_measures_through_it(aligned):
    bundle = load_bundle(aligned)
    assert bundle.manifest.preprocess.align is not None
    assert bundle.manifest.preprocess.align.mode == "template"
    assert bundle.calibration("fp32").preprocess_sha256 == bundle.preprocess.sha256


def test_calibrate_keeps_the_alignment_unless_another_is_asked_for(aligned, data):
    assert main(["calibrate", "--bundle", str(aligned), "--data", str(data)]) == 0
    assert load_bundle(aligned).manifest.preprocess.align is not None
    assert main(["calibrate", "--bundle", str(aligned), "--data", str(data), "--align", "none"]) == 0
    assert load_bundle(aligned).manifest.preprocess.align is None


def test_calibrate_stores_what_drift_is_compared_with(aligned):
    reference = load_bundle(aligned).drift_reference()
    assert reference is not None and len(reference.values) == 24


def test_a_run_with_another_alignment_than_the_bundles_is_refused(aligned, data, tmp_path, capsys):
    config = tmp_path / "config.yaml"
    config.write_text("align:\n  mode: ecc\n")
    command = ["run", "--camera", str(data), "--bundle", str(aligned), "--config", str(config), "--no-record"]
    command += ["--precision", "fp32"]
    assert main(command) == 4
    error = capsys.readouterr().err
    assert "ask for align mode ecc" in error and "calibrated for template" in error


def test_a_run_aligns_and_watches(aligned, data, capsys):
    command = ["run", "--camera", str(data), "--bundle", str(aligned), "--precision", "fp32", "--no-record", "--json"]
    assert main(command) == 0
    out = capsys.readouterr().out
    assert out.count("\n") == 24 and "part_not_found" not in out


def test_recalibrate_sets_a_sample_aside_whose_part_is_not_found(aligned, tmp_path, capsys):
    new = tmp_path / "new"
    new.mkdir()
    for seed in range(30):
        assert cv2.imwrite(str(new / f"{seed:02d}.png"), good_part(700 + seed))
    noise = np.random.default_rng(0).integers(60, 190, good_part(0).shape).astype(np.uint8)
    assert cv2.imwrite(str(new / "30.png"), noise)
    config = tmp_path / "config.yaml"
    config.write_text("inspection: {precision: fp32}\n")
    command = ["recalibrate", str(new), "--bundle", str(aligned), "--config", str(config)]
    assert main(command) == 0, capsys.readouterr().err
    assert read_history(aligned)[-1].samples.quarantined == ("30.png",)
    assert "1 no part" in capsys.readouterr().err


def test_parts_that_lie_anyhow_are_calibrated_and_inspected_upright(tmp_path, capsys):
    folder, path = tmp_path / "bolts", tmp_path / "bundle"
    folder.mkdir()
    for seed in range(18):
        picture = picture_of("bolt", seed, Scene(), length_px=130, size=(192, 256))[0]
        assert cv2.imwrite(str(folder / f"{seed:02d}.png"), picture)
    write_bundle(path, manifest(), {"model_fp32": ("model_fp32.onnx", blur_network())})
    assert main(["calibrate", "--bundle", str(path), "--data", str(folder), "--align", "upright"]) == 0
    assert cv2.imwrite(str(folder / "empty.png"), frame_of([], Scene(), np.random.default_rng(0), 192, 256))
    capsys.readouterr()
    command = ["run", "--camera", str(folder), "--bundle", str(path), "--precision", "fp32", "--no-record", "--json"]
    main(command)
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(verdicts) == 19
    assert [verdict["reason"] for verdict in verdicts].count("part_not_found") == 1
    assert verdicts[-1]["reason"] == "part_not_found"
    assert sum(verdict["decision"] == "OK" for verdict in verdicts) >= 16
