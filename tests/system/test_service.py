"""A real line under a service manager: what the manager is told, and the levels of what goes to the journal."""

import re
import signal
import subprocess
import sys

import pytest

from tests.edge.records.records_fakes import wait_for
from tests.notify_socket import NotifySocket
from tests.system.command_line import WAIT_S, environment, running


@pytest.fixture
def manager(tmp_path):
    manager = NotifySocket(tmp_path)
    yield manager
    manager.close()


def test_a_lost_camera_feeds_the_watchdog_and_a_stop_is_told(camera, bundle_path, manager, tmp_path):
    (tmp_path / "config.yaml").write_text("camera: {read_timeout_ms: 300}\n")
    arguments = ("--camera", camera.url, "--bundle", bundle_path, "--json")
    with running(*arguments, cwd=tmp_path, **manager.environment) as run:
        run.wait_for_count(3)
        assert manager.messages[0].startswith("READY=1\n")
        camera.kill()
        run.wait_for(lambda verdicts: [v["reason"] for v in verdicts[-3:]] == ["no_frame"] * 3)
        fed = manager.fed
        wait_for(lambda: manager.fed > fed + 10, WAIT_S)
        run.wait_for(lambda verdicts: verdicts[-1]["reason"] == "no_frame")
        assert re.search(r"STATUS=\d+ frames: \d+ OK, \d+ NG, \d+ INVALID; camera lost", manager.messages[-1])
        run.signal(signal.SIGTERM)
        assert run.ended() == 130
    assert manager.messages[-1] == "STOPPING=1"


def logged(folder, *arguments, journal=True, **changes):
    """Standard error of a command, a file that the environment calls the journal, or does not."""
    path = folder / "log"
    with path.open("wb") as file:
        state = path.stat()
        stream = f"{state.st_dev}:{state.st_ino}" if journal else "1:1"
        subprocess.run(
            [sys.executable, "-m", "edge", *map(str, arguments)],
            cwd=folder, env=environment(JOURNAL_STREAM=stream, **changes), stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=file, timeout=2 * WAIT_S,
        )  # fmt: skip
    return path.read_text()


def test_lines_for_the_journal_have_their_level(line, bundle_path, tmp_path):
    settings = "burst: {rejects: 1, of: 1}\nview: {live: off}\n"
    (tmp_path / "config.yaml").write_text(f"{settings}logging: {{level: info}}\n")
    arguments = ("--camera", line, "--bundle", bundle_path)
    lines = logged(tmp_path, *arguments).splitlines()
    assert "<6>edge.backends: backend: openvino (the first installed of openvino, onnxruntime)" in lines
    assert any(each.startswith("<4>ALARM ") for each in lines)
    (tmp_path / "config.yaml").write_text(settings)
    elsewhere = logged(tmp_path, *arguments, journal=False)
    assert re.search(r"^ALARM ", elsewhere, re.MULTILINE)
    # the level is warning where the settings say nothing
    assert "INFO" not in elsewhere and "backends" not in elsewhere


def test_a_refusal_is_an_error_in_the_journal_on_each_of_its_lines(tmp_path):
    first, second = logged(tmp_path, "--camera", "demo", "--bundle", "nowhere").splitlines()
    assert first.startswith("<3>edge-inspect: ") and second.startswith("<3>  fix: ")
