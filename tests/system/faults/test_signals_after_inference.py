"""A signal after networks have been run and closed ends the program as it should, and not with a segmentation fault."""

import subprocess
import sys

import pytest

from tests.system.command_line import environment

pytest.importorskip("openvino", reason="openvino is not installed")
pytest.importorskip("onnx", reason="onnx is not installed: no network can be written")

PROGRAM = """
import signal, sys
from pathlib import Path
from tests.small_bundle import make_bundle
# writes networks, runs them for their statistics, and closes them
make_bundle(Path(sys.argv[1]))
signal.raise_signal(signal.SIGINT)
"""


def test_ctrl_c_after_networks_were_closed_is_a_keyboard_interrupt(tmp_path):
    command = [sys.executable, "-c", PROGRAM, tmp_path / "plate"]
    ended = subprocess.run(command, cwd=tmp_path, env=environment(), capture_output=True, text=True, check=False)
    assert "KeyboardInterrupt" in ended.stderr
    assert ended.returncode != -11
