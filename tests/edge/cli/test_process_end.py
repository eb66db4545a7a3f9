"""The process ends with its exit code whatever its threads are in the middle of."""

import subprocess
import sys

import pytest

from tests.paths import ROOT
from tests.system.command_line import WAIT_S, environment

# the garbage of the interpreter's own end takes half a second, in which the encoder's thread asks for its lock
ENDING = """
import sys, threading, time
import cv2, numpy as np
from edge.cli import main

class Late:
    def __del__(self):
        time.sleep(0.5)

kept = Late()
image = np.random.default_rng(0).integers(0, 255, (600, 800, 3), dtype=np.uint8)

def encode():
    while True:
        cv2.imencode(".png", image)

threading.Thread(target=encode, daemon=True).start()
time.sleep(0.2)
print("said before")
sys.argv = ["edge-inspect", *sys.argv[1:]]
sys.exit(main())
"""


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["history", "--bundle", "nowhere"], 4)])
def test_a_thread_inside_a_native_library_does_not_abort_the_process(arguments, code, tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", ENDING, *arguments],
        cwd=tmp_path,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=WAIT_S,
    )
    assert ended.returncode == code, ended.stderr
    assert "terminate called" not in ended.stderr
    assert ended.stdout.startswith("said before")


def test_ctrl_c_while_the_command_line_is_imported_shows_no_traceback():
    code = (
        "import sys\n"
        "class CtrlC:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'edge.cli': raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, CtrlC())\n"
        "from edge.__main__ import main\n"
        "sys.exit(main())\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (130, "edge-inspect: interrupted\n")
