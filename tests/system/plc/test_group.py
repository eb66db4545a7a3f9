"""Two cameras on one part, asked for by a PLC: no part passes without a picture of both, whatever happens to one."""

import json
import time

import pytest

from edge.bundles.bundle import load_bundle
from edge.plant.plc.simulation.program import NOT_READY
from tests.bundle_edits import commit_threshold
from tests.fakes import MjpegCamera
from tests.small_bundle import bad_part, good_part
from tests.system.command_line import edge_here, rows, running
from tests.system.plc.plc_side import plc_side

pytest.importorskip("pymodbus", reason="the extra `plc` is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: no network can run")


@pytest.fixture
def scratched():
    """Whether the right camera sees a scratch from now on."""
    return []


@pytest.fixture
def cameras(scratched):
    left = MjpegCamera(show=lambda count: good_part(count % 8))
    right = MjpegCamera(show=lambda count: (bad_part if scratched else good_part)(100 + count % 8, 60, 80))
    yield left, right
    left.kill()
    right.kill()


@pytest.fixture
def line(cameras, bundle_path, port, tmp_path):
    left, right = cameras
    (tmp_path / "config.yaml").write_text(
        f"trigger: {{mode: plc, settle_ms: 0, frame_timeout_ms: 300}}\nplc: {{port: {port}}}\n"
        "camera: {read_timeout_ms: 300, reopen_first_ms: 20, reopen_max_ms: 100}\n"
        "freshness: {max_age_ms: 600}\ninspection: {deadline_ms: 600}\nrecord: {keep_ok_share: 1.0}\n"
        f"group:\n  cameras:\n  - {{name: left, source: '{left.url}'}}\n  - {{name: right, source: '{right.url}'}}\n"
    )

    def start():
        return running("run", "--bundle", bundle_path, "--json", cwd=tmp_path)

    return start


def whole(decision, cameras):
    """Whether each camera had a picture that was judged, as an OK part's must."""
    return decision != "OK" or [each["decision"] for each in json.loads(cameras)] == ["OK", "OK"]


def test_no_part_passes_while_one_camera_is_dead_and_it_comes_back_alone(line, cameras, port, tmp_path):
    _, right = cameras
    with line() as run, plc_side(port) as plc:
        plc.passes()
        right.kill()
        # pictures that are on their way are of before
        rejected = plc.rejects(time.monotonic() + 0.5)
        assert {part.why for part in rejected} <= {"INVALID: no frame", NOT_READY}
        run.wait_for(lambda told: any(each["decision"] == "INVALID" for each in told))
        told = [each for each in run.verdicts if each["decision"] == "INVALID"]
        assert all(each["detail"].startswith("camera right: ") and each["reason"] == "no_frame" for each in told)
        right.start()
        plc.passes()
        plc.keeps_the_handshake()
    kept = rows(tmp_path / "records", "decision, cameras")
    assert all(whole(decision, text) for decision, text in kept if text is not None)
    # what is told between parts is no part, and has no picture
    assert all(decision == "INVALID" for decision, text in kept if text is None)
    assert "hunter2" not in str(kept) + run.errors


def test_a_defect_that_one_camera_sees_rejects_the_part_and_can_be_judged_again(
    line, scratched, port, tmp_path, here, bundle_path
):
    with line() as run, plc_side(port) as plc:
        plc.passes()
        scratched.append(True)
        plc.wait_until(lambda parts: sum("NG" in part.why for part in parts[-3:]) == 3)
        scratched.clear()
        plc.passes()
        # every camera is judged by the bundle, and follows its versions together with the others
        commit_threshold(load_bundle(bundle_path), 0.99)
        live = {load_bundle(bundle_path).sha256}
        run.wait_for(lambda told: told and {each["bundle_sha256"] for each in told[-1]["cameras"]} == live)
        plc.keeps_the_handshake()
        run.signal()
        assert run.ended() == 130
    rejected = next(each for each in run.verdicts if each["decision"] == "NG")
    assert rejected["detail"].startswith("camera right: score ")
    assert [each["decision"] for each in rejected["cameras"]] == ["OK", "NG"]
    # frames of the left camera are 64 px wide
    assert all(region["x"] >= 64 for region in rejected["regions"])
    again = edge_here(here, "replay", rejected["id"], "--json")
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["explanation"].count("again") == 2
