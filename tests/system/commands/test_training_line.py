"""From a folder of good parts to a bundle that inspects, command by command; CPU only."""

import json
import re
import shutil
import signal
import subprocess
import sys

import pytest

from edge.bundles.bundle import load_bundle
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part
from tests.system.command_line import WAIT_S, assert_refused, edge, environment, verdicts
from tests.system.test_no_network import HOOK

pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
pytest.importorskip("onnxscript", reason="onnxscript is not installed: nothing can be exported")

RECIPE = ("--method", "kist", "--variant", "smoke", "--steps", 5, "--seed", 3, "--numbers", "float32")
OUR_LINES = re.compile(
    r"align: none \(|layout: aligned \(|training kist smoke: \d/5, \d+ s left  reconstruction  total [\d.]+$"
    r"|trained on \d+ good parts"
    r"|  image AUROC [\d.]+ of artificial defects|  chosen: |what it makes of unseen parts: "
    r"|judging good and defective parts: |choosing how to score, of \d+ ways: "
    r"|checkpoint and curves|exported [\d.]+ MB|ranges of \d+ tensors|(int8|fp32) on openvino:$|threshold [\d.]+ for a"
    r"|so few only show|it rejects at most|if good parts go on|with \d+ held-out good parts|pixel threshold [\d.]+: "
    r"|INT8 changes the maps by|leaving layers out of INT8: |[\d.]+ MB of INT8 ONNX; of \d+ operators"
    r"|gate cpu, |  \d+ (good parts|artificial defects)|deployed on cpu: |a part takes, on this machine: "
    r"|the bundle is ready: |numbers: float32 channels_last \(asked for\)"
    # the most unusual good parts, what thresholds promise, cost and find
    r"|the most unusual of the good parts; |  \S+\.png: score |  where they are unusual: |rejected up to "
    r"|\d+ of the held-out good parts stand|  (in force|stricter|looser)( \(--false-reject \S+\))?: rejects about "
    # what takes longer than a second, on a slow machine
    r"|.* \.\.\.$"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A folder where `train` ran with its sockets watched: data/, plate/ (the bundle), plate.run/, and its output."""
    place = tmp_path_factory.mktemp("training")
    for kind, part, count in (
        ("train/good", good_part, 20),
        ("test/good", good_part, 6),
        ("test/scratch", bad_part, 6),
    ):
        folder = place / "data" / kind
        folder.mkdir(parents=True)
        for number in range(count):
            write_picture(folder / f"{number}.png", part(number + (0 if kind == "train/good" else 500)))
    (place / "site").mkdir()
    shutil.copy(HOOK, place / "site" / "sitecustomize.py")
    result = edge(
        "train", "--data", "data", "--out", "plate", *RECIPE, cwd=place,
        PYTHONPATH=str(place / "site"), PHONE_LOG=str(place / "phone.log"), CUDA_VISIBLE_DEVICES="",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return place, result


@pytest.fixture
def place(trained, tmp_path):
    """A fresh copy of that folder."""
    return shutil.copytree(trained[0], tmp_path / "place")


def test_training_says_what_it_does_and_nothing_else(trained):
    _, result = trained
    strangers = [line for line in result.stderr.splitlines() if not OUR_LINES.match(line)]
    assert strangers == []
    assert result.stdout == ""


def test_training_phones_nobody(trained):
    assert not (trained[0] / "phone.log").exists()


def test_the_bundle_is_whole_calibrated_and_knows_what_it_was_trained_on(trained):
    bundle = load_bundle(trained[0] / "plate")
    bundle.verify()
    assert {bundle.calibration(precision).threshold > 0 for precision in ("int8", "fp32")} == {True}
    assert (bundle.manifest.training.n_train, bundle.manifest.training.n_heldout) == (12, 8)
    # calibrated on the eight that were held out, and on no other
    assert len(bundle.manifest.trained_on) == 12
    assert len(bundle.calibration("int8").scores) == 8


def test_the_steps_one_by_one_give_the_same_files_as_train(place):
    steps = [
        ("fit", "--data", "data", "--run-dir", "run", *RECIPE),
        ("export", "--run-dir", "run", "--out", "stepwise"),
        ("quantize", "--bundle", "stepwise", "--data", "data"),
        ("calibrate", "--bundle", "stepwise", "--data", "data"),
    ]
    for step in steps:
        result = edge(*step, cwd=place, CUDA_VISIBLE_DEVICES="")
        assert result.returncode == 0, result.stderr
        assert [line for line in result.stderr.splitlines() if not OUR_LINES.match(line)] == []
    curves = [json.loads((place / run / "run.json").read_text())["curves"] for run in ("run", "plate.run")]
    assert curves[0] == curves[1]
    assert len(curves[0]["reconstruction"]["total"]) == 5
    assert (place / "run" / "curves.png").stat().st_size > 1000
    assert (place / "run" / "sheet.png").stat().st_size > 1000
    one, other = (load_bundle(place / name) for name in ("stepwise", "plate"))
    for key in ("model_fp32", "model_int8", "ranges"):
        assert one.manifest.files[key].sha256 == other.manifest.files[key].sha256
    assert one.calibration("int8").threshold == other.calibration("int8").threshold


def test_a_trained_bundle_inspects(place):
    result = edge("--camera", "data/test/good", "--bundle", "plate", "--json", "--no-record", cwd=place)
    assert result.returncode == 0
    assert len(verdicts(result.stdout)) == 6
    assert all(verdict["score"] is not None for verdict in verdicts(result.stdout))


def test_the_operators_of_a_network_are_reported_on_demand(place):
    result = edge("export", "--run-dir", "plate.run", "--out", "again", "--data", "data", "--report", cwd=place)
    assert result.returncode == 0, result.stderr
    assert "compared with torch on 8 held-out parts" in result.stderr
    assert re.search(r"^Conv x\d+: INT8 on cpu \d+, tensorrt \d+, tensorrt-rtx \d+ ", result.stdout, re.MULTILINE)


def test_the_gate_can_be_run_again_at_any_time_and_its_limits_are_settings(place):
    result = edge("gate", "--bundle", "plate", "--data", "data", "--ng", "data/test/scratch", "--json", cwd=place)
    assert result.returncode in (0, 1), result.stderr
    report = json.loads(result.stdout)
    assert (report["normals"], report["defective"]) == (8, 6)
    assert report["passed"] is (result.returncode == 0)
    (place / "config.yaml").write_text("gate: {flip_share: 1.0, missed_share: 1.0, auroc_drop: 1.0, aupro_drop: 1.0}\n")
    again = edge("gate", "--bundle", "plate", "--data", "data", cwd=place)
    assert again.returncode == 0
    assert again.stdout.startswith("gate cpu, ")


def test_evaluation_gives_the_figures_of_merit_as_json(place):
    result = edge("evaluate", "--data", "data", "--bundle", "plate", "--json", cwd=place)
    metrics = json.loads(result.stdout)
    assert {"image_auroc", "pixel_auroc", "aupro_30", "fpr_at_95", "fpr_at_99"} <= set(metrics)
    assert 0 <= metrics["image_auroc"] <= 1
    # no masks are there, and that is said instead of guessed
    assert (metrics["pixel_auroc"], metrics["aupro_30"]) == (None, None)
    assert (metrics["n_good"], metrics["n_defective"]) == (6, 6)


def test_evaluation_sets_both_precisions_side_by_side(place):
    arguments = ("evaluate", "--data", "data", "--bundle", "plate", "--compare-precisions")
    compared = json.loads(edge(*arguments, "--json", cwd=place).stdout)
    assert compared.keys() == {"int8", "fp32", "int8_minus_fp32", "agreement"}
    difference = compared["int8"]["image_auroc"] - compared["fp32"]["image_auroc"]
    assert compared["int8_minus_fp32"]["image_auroc"] == difference
    assert "INT8-FP32" in edge(*arguments, cwd=place).stdout


def test_calibrating_again_is_undone_by_a_rollback(place):
    before = load_bundle(place / "plate").sha256
    again = edge("calibrate", "--bundle", "plate", "--data", "data/test/good", "--false-reject", 5, cwd=place)
    assert again.returncode == 0
    changed = load_bundle(place / "plate")
    assert changed.sha256 != before
    assert changed.calibration("int8").false_reject_budget == 0.05
    assert edge("rollback", "--bundle", "plate", cwd=place).returncode == 0
    assert load_bundle(place / "plate").sha256 == before
    load_bundle(place / "plate").verify()


def test_an_interrupted_training_ends_with_130_and_leaves_the_old_bundle(place):
    before = load_bundle(place / "plate").sha256
    process = subprocess.Popen(
        [sys.executable, "-m", "edge", "train", "--data", "data", "--out", "plate", *RECIPE[:4]],
        cwd=place, env=environment(CUDA_VISIBLE_DEVICES=""), stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    said = [next(line for line in process.stderr if line.startswith(start)) for start in ("layout: ", "training kist")]
    assert len(said) == 2
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130
    assert "edge-inspect: interrupted" in errors
    assert "Traceback" not in errors
    assert load_bundle(place / "plate").sha256 == before


# --- data that cannot be trained on


def test_a_missing_folder_is_refused(tmp_path):
    assert_refused(edge("train", "--data", "nowhere", "--out", "made", cwd=tmp_path), 2, "nowhere: no such folder")


def test_too_few_good_parts_are_refused_with_the_number_needed(place):
    for number in range(10, 20):
        (place / "data/train/good" / f"{number}.png").unlink()
    result = edge("train", "--data", "data", "--out", "made", *RECIPE, cwd=place)
    assert_refused(result, 2, "10 different good parts, at least 16 are needed")
    assert not list((place / "made").iterdir())


def test_an_unreadable_picture_is_refused_by_name(place):
    (place / "data/train/good/7.png").write_bytes(b"not a picture")
    result = edge("train", "--data", "data", "--out", "made", *RECIPE, cwd=place)
    assert_refused(result, 2, "data/train/good/7.png", "replace or remove this file")


def test_what_lies_where_the_bundle_should_go_is_found_before_training(place):
    (place / "made").mkdir()
    (place / "made" / "thesis.txt").write_text("do not touch")
    result = edge("train", "--data", "data", "--out", "made", *RECIPE, cwd=place)
    assert_refused(result, 4, "made exists and is not a bundle")
    assert [path.name for path in (place / "made").iterdir()] == ["thesis.txt"]
    assert not (place / "made.run").exists()
