"""The whole program with a GenICam camera."""

from functools import partial
from pathlib import Path

import pytest

from edge.capture.genicam.source import open_genicam
from tests.edge.capture.genicam.cameras import SCRIPTED
from tests.system.command_line import edge, edge_here, rows, verdicts

SCRIPT = "1 2 wait700 5 incomplete 7"


def configured(folder, text):
    (folder / "config.yaml").write_text(text)
    return folder


def test_parts_that_the_camera_triggers_are_judged_recorded_and_named(bundle_path, tmp_path, monkeypatch, capsys):
    # the driver is replaced, and nothing else: no camera with a trigger is in any wheel
    opened = partial(open_genicam, driver=SCRIPTED)
    monkeypatch.setattr("edge.capture.genicam.source.open_genicam", opened)
    monkeypatch.chdir(configured(tmp_path, "trigger: {mode: hardware, queue: 16}\ncamera: {read_timeout_ms: 300}\n"))
    (tmp_path / "part.txt").write_text("number: 4711\nlot: L7\n")
    with (tmp_path / "config.yaml").open("a") as file:
        file.write("part: {file: part.txt}\n")
    result = edge_here(
        capsys, "--camera", f"genicam:{SCRIPT}", "--bundle", bundle_path, "--json", "--frames", 7, "--record-dir", "r"
    )
    told = verdicts(result.stdout)
    assert result.returncode == 0
    reasons = [verdict["reason"] for verdict in told]
    assert [reason for reason in reasons if reason in ("missed_frame", "incomplete", "no_frame")] == [
        "missed_frame",
        "missed_frame",
        "incomplete",
    ]
    assert [verdict["decision"] == "INVALID" for verdict in told] == [False, False, True, True, False, True, False]
    assert {verdict["part_number"] for verdict in told} == {"4711"}
    assert len(rows(tmp_path / "r")) == 7


@pytest.mark.parametrize("camera", ["demo", "/dev/video77"])
def test_other_cameras_have_no_trigger_of_their_own(camera, bundle_path, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(configured(tmp_path, "trigger: {mode: hardware}\n"))
    result = edge_here(capsys, "--camera", camera, "--bundle", bundle_path, "--no-record")
    assert result.returncode == 3
    assert "trigger.mode hardware needs a GenICam camera" in result.stderr


@pytest.mark.genicam
def test_a_camera_of_the_wheel_is_judged_and_several_are_named(bundle_path, tmp_path):
    pytest.importorskip("harvesters", reason="the extra `genicam` is not installed")
    import genicam

    # its pictures are white but for a ball
    configured(tmp_path, "freshness: {saturated_share: 1.0}\n")
    where = {"GENICAM_GENTL64_PATH": str(Path(genicam.__file__).parent)}
    result = edge(
        "--camera", "genicam:1", "--bundle", bundle_path, "--json", "--frames", 5, "--no-record", cwd=tmp_path, **where
    )
    assert result.returncode == 0
    told = verdicts(result.stdout)
    assert [verdict["source"] for verdict in told] == ["genicam:1"] * 5
    assert all(verdict["score"] is not None for verdict in told)
    several = edge("--camera", "genicam:", "--bundle", bundle_path, "--no-record", cwd=tmp_path, **where)
    assert several.returncode == 3
    assert "3 cameras fit: 0 (Machine Vision Games Ltd. Viky), 1" in several.stderr
