"""The cost of artificial defects is measured beside the step they serve."""

import json

import pytest

from benchmarks.studies.defects import main

pytest.importorskip("torch", reason="torch is not installed: no defects can be drawn")


def test_each_preset_has_its_time_and_its_share_of_a_step(tmp_path, capsys):
    out = tmp_path / "defects.json"
    assert main(["--rounds", "1", "--presets", "reconstruction", "surface", "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    figures = result["cpu"]
    assert figures["step_ms"] > 0
    told = capsys.readouterr().out
    for name in ("reconstruction", "surface"):
        row = figures["presets"][name]
        assert row["share_of_step"] == pytest.approx(row["ms_per_picture"] * 16 / figures["step_ms"], abs=0.01)
        assert name in told
    assert result["command"].startswith("python -m benchmarks.studies.defects --rounds 1")


def test_a_folder_that_is_not_there_is_named(tmp_path, capsys):
    assert main(["--data", str(tmp_path / "nowhere")]) == 2
    assert "nowhere" in capsys.readouterr().err
