"""A bundle as version 0.1 wrote it is read, its signature fits, and what is written anew has the names of today."""

import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from edge.bundles.bundle import MANIFEST, load_bundle
from edge.bundles.history import Audit
from edge.bundles.signature import require_signature
from edge.bundles.versions import commit_version, roll_back
from edge.core.errors import BundleError

# written by the code of 0.1, and signed by it
WRITTEN = Path(__file__).parent / "version_0_1"


@pytest.fixture
def path(tmp_path):
    return shutil.copytree(WRITTEN, tmp_path / "bundle")


def fields(file):
    with np.load(io.BytesIO(file.read_bytes())) as arrays:
        return set(arrays.files)


def test_it_is_read_whole_without_a_byte_changed(path):
    assert json.loads((path / MANIFEST).read_text())["format_version"] == 1
    assert "engine_sha256" in fields(path / "calibration_int8.npz")
    before = {file.name: file.read_bytes() for file in path.iterdir()}
    bundle = load_bundle(path)
    bundle.verify()
    assert bundle.preprocess.shape == (bundle.manifest.input.height, bundle.manifest.input.width) == (32, 32)
    (tried,) = bundle.manifest.deployments["cpu"].tried
    assert (tried.precision, tried.model_sha256) == ("int8", bundle.manifest.files["model_int8"].sha256)
    for precision in ("int8", "fp32"):
        assert bundle.calibration(precision).model_sha256 == bundle.manifest.files[f"model_{precision}"].sha256
    assert {file.name: file.read_bytes() for file in path.iterdir()} == before


def test_its_signature_fits(path):
    pytest.importorskip("cryptography", reason="cryptography is not installed: no signature can be checked")
    assert require_signature(load_bundle(path), path / "maker.pem.pub").key_id


def test_a_change_is_written_in_the_format_of_today_and_can_be_taken_back(path):
    first = load_bundle(path)
    changed = replace(first.calibration("int8"), threshold=0.5)
    parts = {"calibration_int8": ("calibration_int8.npz", changed.to_bytes())}
    second = commit_version(first, first.manifest, parts, Audit("threshold"))
    written = json.loads((path / MANIFEST).read_text())
    assert written["format_version"] == 3
    assert set(written["deployments"]["cpu"]["tried"][0]) == {
        "precision", "model_sha256", "exceeded", "milliseconds",
    }  # fmt: skip
    new = fields(path / second.manifest.files["calibration_int8"].name)
    assert "model_sha256" in new and "engine_sha256" not in new
    assert second.calibration("int8").threshold == pytest.approx(0.5)
    # a file that did not change stays as it is
    assert second.manifest.files["calibration_fp32"] == first.manifest.files["calibration_fp32"]
    assert second.calibration("fp32").scores.size == 24
    assert roll_back(path).sha256 == first.sha256


@pytest.mark.parametrize("deployments", [[], {"cpu": 1}, {"cpu": {"tried": 1}}, {"cpu": {"tried": [{"rung": "int8"}]}}])
def test_a_manifest_that_is_not_built_as_it_should_be_is_refused(path, deployments):
    values = {**json.loads((path / MANIFEST).read_text()), "deployments": deployments}
    (path / MANIFEST).write_text(json.dumps(values))
    with pytest.raises(BundleError, match="deployments"):
        load_bundle(path)


def test_a_calibration_under_neither_name_is_refused(path):
    file = path / "calibration_int8.npz"
    with np.load(io.BytesIO(file.read_bytes())) as arrays:
        values = {name: arrays[name] for name in arrays.files if name != "engine_sha256"}
    packed = io.BytesIO()
    np.savez_compressed(packed, **values)
    bundle = load_bundle(path)
    parts = {"calibration_int8": ("calibration_int8.npz", packed.getvalue())}
    with pytest.raises(BundleError, match="engine_sha256"):
        commit_version(bundle, bundle.manifest, parts, Audit("test")).calibration("int8")
