"""The study of changes of the recipe tells those that load from those that do not, and loses no part."""

import json

import pytest

pytest.importorskip("openvino", reason="openvino is not installed: no network can run")

from benchmarks.studies.plant.recipe_change import main


def test_changes_of_both_kinds_are_measured(bundle_path, tmp_path, capsys):
    out = tmp_path / "out.json"
    assert main(["--bundle", str(bundle_path), "--changes", "3", "--cadence", "40/s", "--out", str(out)]) == 0
    values = json.loads(out.read_text())
    assert (
        sum(values["loaded"]["frames_before_it"].values()) == 3 == sum(values["unloaded"]["frames_before_it"].values())
    )
    assert values["invalid"] == 0 and values["verdict_between_changes"]["p50_ms"] > 0
    assert "first verdict after" in capsys.readouterr().out
