"""quantize, calibrate and gate on a tiny bundle: what is recorded, what a refusal leads to, what verdicts then say."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="onnx is not installed: no network can be quantized")

from calibration.pipeline import gate_samples as gate_samples_module  # noqa: E402
from calibration.pipeline.gate_samples import GateSamples, draw_defects, evaluation_set, range_images  # noqa: E402
from calibration.pipeline.sample_cache import normal_samples  # noqa: E402
from edge.bundles.bundle import ModelBundle, load_bundle  # noqa: E402
from edge.bundles.versions import write_bundle  # noqa: E402
from edge.cli import main  # noqa: E402
from tests.small_bundle import SIZE, blur_network, burdened, copying, good_part, make_bundle, manifest, parts_folder  # noqa: E402


@pytest.fixture(autouse=True)
def foreign_patches(monkeypatch):
    """As on a device, where torch is not."""
    monkeypatch.setattr(gate_samples_module, "find_spec", lambda name: None)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return parts_folder(tmp_path_factory.mktemp("parts"))


@pytest.fixture
def bundle_path(tmp_path):
    return make_bundle(tmp_path / "plate").path


def run(*arguments):
    return main([str(argument) for argument in arguments])


def bundle_of(**changes: object):
    return ModelBundle(Path("nowhere"), manifest(**changes), "")


def test_quantising_records_what_was_tried_and_how_every_operator_runs(bundle_path, data):
    assert run("quantize", "--bundle", bundle_path, "--data", data) == 0
    bundle = load_bundle(bundle_path)
    record = json.loads(bundle.read("quantization"))
    assert record["estimator"]["chosen"] in record["estimator"]["precision"]
    assert set(record["estimator"]["precision"]) == {"max", "percentile 99.99", "percentile 99.9", "entropy"}
    assert record["defects"] == "artificial defects (foreign patches)"
    assert [(row["node"], row["runs"]["cpu"]) for row in record["operators"]] == [
        ("first", "float"), ("middle", "int8"), ("last", "float"),
    ]  # fmt: skip
    assert {"damage", "damage_after", "floating", "cost", "without"} <= set(record["sensitivity"])


def test_calibrating_passes_the_gate_and_leaves_its_report_and_page_in_the_bundle(bundle_path, data):
    assert run("quantize", "--bundle", bundle_path, "--data", data) == 0
    assert run("calibrate", "--bundle", bundle_path, "--data", data) == 0
    bundle = load_bundle(bundle_path)
    bundle.verify()
    (report,) = json.loads(bundle.read("gate_cpu"))
    assert report["passed"] is True
    assert (report["normals"], report["precision"]) == (12, "int8")
    assert report["candidate"]["model_sha256"] == bundle.model_sha256("int8")
    assert bundle.read("gate_page_cpu").startswith(b"<!doctype html>")
    deployed = bundle.manifest.deployments["cpu"]
    assert deployed.precision == bundle.precision("auto") == "int8"
    assert [(step.precision, step.exceeded) for step in deployed.tried] == [("int8", ()), ("fp32", ())]
    assert all(step.milliseconds for step in deployed.tried)


@pytest.mark.parametrize("command", ["quantize", "calibrate"])
def test_a_signed_bundle_stays_live_and_signed_until_the_new_version_is_signed(
    bundle_path, data, tmp_path, command, capsys
):
    pytest.importorskip("cryptography", reason="cryptography is not installed: nothing can be signed")
    assert run("bundle", "keygen", "--key", tmp_path / "maker.pem") == 0
    assert run("bundle", "sign", "--bundle", bundle_path, "--key", tmp_path / "maker.pem") == 0
    signed = load_bundle(bundle_path).sha256
    assert run(command, "--bundle", bundle_path, "--data", data) == 0
    assert "is made, and not live" in capsys.readouterr().err
    assert load_bundle(bundle_path).sha256 == signed


@pytest.fixture
def ruined(bundle_path, data):
    """A bundle whose INT8 network finds nothing."""
    assert run("quantize", "--bundle", bundle_path, "--data", data) == 0
    model = copying(blur_network(), "w1", "w2")
    write_bundle(bundle_path, load_bundle(bundle_path).manifest, {"model_int8": ("model_int8.onnx", model)})
    return bundle_path


def test_a_refused_network_is_replaced_by_one_with_floating_ends(ruined, data, capsys):
    assert run("calibrate", "--bundle", ruined, "--data", data) == 0
    bundle = load_bundle(ruined)
    first, second = json.loads(bundle.read("gate_cpu"))
    assert (first["precision"], first["passed"], second["precision"], second["passed"]) == (
        "int8",
        False,
        "int8_float_ends",
        True,
    )
    assert [(step.precision, bool(step.exceeded)) for step in bundle.manifest.deployments["cpu"].tried] == [
        ("int8", True), ("int8_float_ends", False), ("fp32", False),
    ]  # fmt: skip
    # the network that passed, with its own statistics
    assert bundle.model_sha256("int8") == second["candidate"]["model_sha256"]
    bundle.calibration("int8")
    assert "REFUSED: " in capsys.readouterr().err


def test_an_int8_network_that_is_slower_here_stays_in_the_bundle_and_fp32_runs(bundle_path, data, capsys, caplog):
    assert run("quantize", "--bundle", bundle_path, "--data", data) == 0
    live = load_bundle(bundle_path)
    slow = burdened(live.read("model_int8"))
    write_bundle(bundle_path, live.manifest, {"model_int8": ("model_int8.onnx", slow)})
    assert run("calibrate", "--bundle", bundle_path, "--data", data) == 0
    bundle = load_bundle(bundle_path)
    int8, fp32 = bundle.manifest.deployments["cpu"].tried
    assert (int8.precision, int8.exceeded, fp32.precision, fp32.exceeded) == ("int8", (), "fp32", ())
    assert fp32.milliseconds < 0.9 * int8.milliseconds
    assert bundle.precision("auto") == "fp32"
    assert "deployed on cpu: fp32" in capsys.readouterr().err
    # whole, for a machine where it is the faster one
    assert bundle.calibration("int8").model_sha256 == bundle.model_sha256("int8")
    assert bundle.precision("int8") == "int8" and "refused" not in caplog.text


def test_when_no_int8_network_passes_auto_runs_fp32(ruined, data):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            "calibration.pipeline.quantizer.Networks.with_floating_ends",
            lambda networks: copying(blur_network(), "w1", "w2"),
        )
        assert run("calibrate", "--bundle", ruined, "--data", data) == 0
    bundle = load_bundle(ruined)
    assert bundle.precision("auto") == "fp32"
    assert [step.precision for step in bundle.manifest.deployments["cpu"].tried] == ["int8", "int8_float_ends", "fp32"]
    assert run("gate", "--bundle", ruined, "--data", data, "--precision", "int8") == 1
    assert run("gate", "--bundle", ruined, "--data", data) == 0


def test_the_gate_replays_defective_parts_given_to_it(bundle_path, data, tmp_path, capsys):
    page = tmp_path / "gate.html"
    arguments = ("gate", "--bundle", bundle_path, "--data", data, "--ng", data / "ng", "--json", "--page", page)
    assert run(*arguments) == 0
    report = json.loads(capsys.readouterr().out)
    assert (report["normals"], report["defective"], report["aupro"]) == (12, 4, None)
    assert report["auroc"][0] > 0.99
    assert b"3.png" in page.read_bytes()


def test_a_bundle_with_a_changed_engine_runs_only_uncalibrated_and_every_verdict_says_so(bundle_path, data, capsys):
    bundle = load_bundle(bundle_path)
    write_bundle(bundle_path, bundle.manifest, {"model_int8": ("model_int8.onnx", bundle.read("model_fp32"))})
    arguments = ("run", "--camera", data / "ng", "--bundle", bundle_path, "--json", "--no-record")
    assert run(*arguments) == 4
    assert "--uncalibrated" in capsys.readouterr().err
    assert run(*arguments, "--uncalibrated") == 0
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(verdicts) == 4
    old, new = bundle.model_sha256("int8")[:12], bundle.model_sha256("fp32")[:12]
    assert all(v["detail"].endswith(f"UNCALIBRATED: statistics are of model {old}, this is {new}") for v in verdicts)


# --- the parts that choices are made on


def test_defects_are_drawn_in_turn_on_every_part_and_their_masks_are_where_something_changed():
    fields = np.stack([bundle_of().preprocess.field(good_part(seed)) for seed in range(3)])
    altered = draw_defects(fields, None, 7)
    assert altered.origins.tolist() == [0, 1, 2] * 3
    for field, mask, origin in zip(altered.fields, altered.masks, altered.origins, strict=True):
        changed = (field != fields[origin]).any(2)
        assert mask.any()
        assert not (mask & ~changed).any()


def test_defects_are_the_same_every_time_and_stay_where_the_map_is_scored():
    fields = np.stack([bundle_of().preprocess.field(good_part(seed)) for seed in range(4)])
    left = np.zeros((SIZE, SIZE), np.float32)
    left[:, : SIZE // 2] = 1
    first, again = draw_defects(fields, left, 8), draw_defects(fields, left, 8)
    assert np.array_equal(first.fields, again.fields)
    assert not first.masks[:, :, SIZE // 2 :].any()


def test_networks_that_look_for_defects_have_their_ranges_taken_on_some(data):
    reconstructs = bundle_of()
    score = {"residual": {}, "smooth": {"radius": 2}, "image_score": {"k": 8}}
    segments = bundle_of(outputs=("seg_logit",), score=score)
    assert len(range_images(normal_samples(reconstructs, data), 8)) == 8
    assert len(range_images(normal_samples(segments, data), 8)) == 12


def test_parts_trained_on_give_ranges_and_all_others_are_exhibited(data):
    from edge.preprocessing.normal_samples import read_normal_samples

    trained_on = tuple(part.sha256 for part in list(read_normal_samples(data))[:9])
    parts = normal_samples(bundle_of(trained_on=trained_on), data)
    assert len(range_images(parts, 100)) == 9
    assert len(evaluation_set(parts).normal_samples) == 3


def test_a_defect_is_pasted_into_the_region_of_the_frame_and_nowhere_else(data):
    bundle = bundle_of(preprocess={"rectangle": [10, 4, 40, 40]})
    parts = list(GateSamples(normal_samples(bundle, data), None))
    good = {part.name: part for part in parts if not part.defective}
    altered = [part for part in parts if part.defective]
    assert len(good) == 12
    assert len(altered) >= 40
    for part in altered:
        plain = good[re.match(r"[^,]+", part.name)[0]].frame
        changed = (part.frame != plain).any(2)
        assert changed.any()
        assert not changed[:4].any() and not changed[44:].any() and not changed[:, :10].any()
        assert not changed[:, 50:].any()
