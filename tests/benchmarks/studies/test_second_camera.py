"""The study of a second camera judges every part in both ways."""

import json

import pytest

pytest.importorskip("openvino", reason="openvino is not installed: no network can run")

from benchmarks.studies.plant.second_camera import main
from tests.small_bundle import parts_folder


def test_parts_are_judged_by_one_picture_and_by_two(bundle_path, tmp_path):
    data, out = parts_folder(tmp_path / "data"), tmp_path / "out.json"
    (data / "train").rename(data / "test")
    assert main(["--bundle", str(bundle_path), "--data", str(data), "--parts", "6", "--out", str(out)]) == 0
    values = json.loads(out.read_text())
    assert values["frame_px"] == [64, 48] and values["ratio"]["median_of_pairs"] > 0
    assert 0 < values["of_it_joining"]["p50_ms"] < values["two_cameras"]["p50_ms"]
