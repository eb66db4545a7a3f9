"""Bundles on disk: what is refused, what survives, what can be taken back."""

import shutil

import numpy as np
import pytest

from edge.bundles.bundle import MANIFEST, load_bundle, write_atomically
from edge.bundles.versions import roll_back, write_bundle
from edge.core.errors import BundleError, CalibrationMismatch
from tests.bundle_edits import edit_manifest


def test_a_bundle_reads_back_what_was_written(bundle_path):
    bundle = load_bundle(bundle_path)
    bundle.verify()
    calibration = bundle.calibration("int8")
    assert 0 < calibration.pixel_threshold <= calibration.threshold < 1
    assert calibration.model_sha256 == bundle.manifest.files["model_int8"].sha256
    assert len(calibration.scores) == 24


def test_no_directory_no_manifest_and_no_json_are_named(tmp_path):
    with pytest.raises(BundleError, match="no such bundle directory"):
        load_bundle(tmp_path / "nowhere")
    with pytest.raises(BundleError, match=r"manifest\.json: No such file"):
        load_bundle(tmp_path)
    (tmp_path / MANIFEST).write_text("{")
    with pytest.raises(BundleError, match="not valid JSON"):
        load_bundle(tmp_path)


@pytest.mark.parametrize(("version", "fix"), [(4, "update edge-inspect"), (0, "made"), (None, "made")])
def test_another_format_version_is_refused_with_the_way_out(bundle_path, version, fix):
    edit_manifest(bundle_path, lambda values: values.update(format_version=version))
    with pytest.raises(BundleError, match="bundle format") as error:
        load_bundle(bundle_path)
    assert fix in error.value.fix


def test_an_unknown_key_in_the_manifest_is_refused(bundle_path):
    edit_manifest(bundle_path, lambda values: values["score"].update(treshold=1))
    with pytest.raises(BundleError, match=r"score\.treshold"):
        load_bundle(bundle_path)


def test_a_truncated_model_is_told_by_its_size(bundle_path):
    file = bundle_path / "model_int8.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole[:-100])
    with pytest.raises(BundleError, match=rf"damaged \({len(whole) - 100} of {len(whole)} bytes\)"):
        load_bundle(bundle_path).read("model_int8")


def test_a_changed_byte_is_found(bundle_path):
    file = bundle_path / "calibration_int8.npz"
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    with pytest.raises(BundleError, match="same size, other content"):
        load_bundle(bundle_path).calibration("int8")


def test_a_missing_file_is_named(bundle_path):
    (bundle_path / "model_fp32.onnx").unlink()
    with pytest.raises(BundleError, match=r"model_fp32\.onnx: No such file"):
        load_bundle(bundle_path).verify()


def test_statistics_of_another_engine_are_refused(bundle_path):
    def swap(values):
        values["files"]["calibration_int8"] = values["files"]["calibration_fp32"]

    edit_manifest(bundle_path, swap)
    with pytest.raises(CalibrationMismatch, match="measured on model"):
        load_bundle(bundle_path).calibration("int8")


def test_statistics_of_another_engine_will_do_when_asked_for(bundle_path):
    bundle = load_bundle(bundle_path)
    write_bundle(bundle_path, bundle.manifest, {"model_int8": ("model_int8.onnx", bundle.read("model_fp32"))})
    changed = load_bundle(bundle_path)
    with pytest.raises(CalibrationMismatch) as refusal:
        changed.calibration("int8")
    assert "--uncalibrated" in refusal.value.fix
    assert changed.calibration("int8", uncalibrated=True).model_sha256 == bundle.model_sha256("int8")


def test_auto_runs_what_passed_the_gate_and_int8_where_no_gate_was(bundle_path, caplog):
    bundle = load_bundle(bundle_path)
    assert (bundle.precision("auto"), bundle.precision("fp32")) == ("int8", "fp32")
    tried = [{"precision": "int8", "model_sha256": None, "exceeded": ["AUPRO falls"]}]
    tried += [{"precision": "int8_float_ends", "model_sha256": None, "exceeded": []}]
    for number, warned in ((1, True), (2, False)):
        # what is only slower here may well be asked for
        deployed = {"cpu": {"precision": "fp32", "backend": "openvino", "tried": tried[:number]}}
        edit_manifest(bundle_path, lambda values, deployed=deployed: values.update(deployments=deployed))
        gated = load_bundle(bundle_path)
        caplog.clear()
        assert (gated.precision("auto"), gated.precision("fp32")) == ("fp32", "fp32")
        assert not caplog.records
        assert gated.precision("int8") == "int8"
        assert ("the gate refused int8" in caplog.text) == warned


def test_statistics_of_another_region_are_refused(bundle_path):
    edit_manifest(bundle_path, lambda values: values["preprocess"].update(rectangle=[0, 0, 32, 32]))
    with pytest.raises(CalibrationMismatch, match="another preprocessing"):
        load_bundle(bundle_path).calibration("int8")


def test_an_uncalibrated_bundle_says_what_to_run(bundle_path):
    edit_manifest(bundle_path, lambda values: values["files"].pop("calibration_int8"))
    with pytest.raises(BundleError, match="no calibration_int8") as error:
        load_bundle(bundle_path).calibration("int8")
    assert "edge-inspect calibrate" in error.value.fix


def test_replacing_a_file_keeps_the_old_version_and_rollback_returns_to_it(bundle_path):
    before = load_bundle(bundle_path)
    after = write_bundle(bundle_path, before.manifest, {"ranges": ("ranges.json", b"{}")})
    assert after.read("ranges") == b"{}"
    assert after.sha256 != before.sha256
    back = roll_back(bundle_path)
    assert back.sha256 == before.sha256
    back.verify()
    assert roll_back(bundle_path).sha256 == after.sha256


@pytest.mark.parametrize("writes_done", [0, 1, 2])
def test_a_write_cut_off_at_any_step_leaves_the_old_version_whole(bundle_path, monkeypatch, writes_done):
    before = load_bundle(bundle_path)
    left = [writes_done]

    def write_until_the_power_cut(file, data):
        if left[0] == 0:
            raise KeyboardInterrupt
        left[0] -= 1
        write_atomically(file, data)

    monkeypatch.setattr("edge.bundles.versions.write_atomically", write_until_the_power_cut)
    with pytest.raises(KeyboardInterrupt):
        write_bundle(bundle_path, before.manifest, {"ranges": ("ranges.json", b"{}")})
    after = load_bundle(bundle_path)
    after.verify()
    assert after.sha256 == before.sha256


def test_a_directory_that_holds_something_else_is_not_overwritten(bundle_path, tmp_path):
    target = tmp_path / "photos"
    target.mkdir()
    (target / "holiday.jpg").write_bytes(b"x")
    with pytest.raises(BundleError, match="is not a bundle"):
        write_bundle(target, load_bundle(bundle_path).manifest, {})
    assert (target / "holiday.jpg").exists()


def test_pickled_objects_in_a_calibration_are_refused(bundle_path):
    import hashlib

    file = bundle_path / "calibration_int8.npz"
    np.savez(file, mean=np.array([object()], dtype=object))
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    edit_manifest(bundle_path, lambda values: values["files"]["calibration_int8"].update(sha256=digest))
    with pytest.raises(BundleError, match="cannot be read"):
        load_bundle(bundle_path).calibration("int8")


def test_a_copied_bundle_is_the_same_bundle(bundle_path, tmp_path):
    copy = shutil.copytree(bundle_path, tmp_path / "copy")
    assert load_bundle(copy).sha256 == load_bundle(bundle_path).sha256
