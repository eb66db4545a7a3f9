"""The real pycuda between our code and a driver written in C: how it frees, and in which thread, is its own affair."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.paths import ROOT

SOURCE = Path(__file__).with_name("libcuda.c")

pytestmark = [
    pytest.mark.skipif(find_spec("pycuda") is None, reason="pycuda is not installed (pip install 'edge-inspect[gpu]')"),
    pytest.mark.skipif(
        any(shutil.which(tool) is None for tool in ("gcc", "nm")), reason="gcc or nm is missing: no driver can be built"
    ),
]


@pytest.fixture(scope="module")
def life(tmp_path_factory):
    """What a backend's life looked like from the driver."""
    folder = tmp_path_factory.mktemp("driver")
    (extension,) = Path(find_spec("pycuda").submodule_search_locations[0]).glob("_driver*.so")
    listed = subprocess.run(["nm", "-D", "--undefined-only", extension], capture_output=True, text=True, check=True)
    wanted = set(re.findall(r"\bcu[A-Z]\w+", listed.stdout))
    there = set(re.findall(r"^int (cu\w+)\(", SOURCE.read_text(), re.MULTILINE))
    # pycuda is linked against many more, none of which our code leads to
    (folder / "others.c").write_text("".join(f"int {name}(void) {{ return 801; }}\n" for name in wanted - there))
    target = folder / "libcuda.so.1"
    command = ["gcc", "-shared", "-fPIC", "-w", "-o", target, "-Wl,-soname,libcuda.so.1", SOURCE, folder / "others.c"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    environment = {**os.environ, "LD_LIBRARY_PATH": str(folder), "PYTHONPATH": str(ROOT)}
    program = [sys.executable, "-W", "ignore", "-m", "tests.edge.backends.gpu.driver.session"]
    result = subprocess.run(program, capture_output=True, text=True, timeout=120, env=environment, cwd=ROOT)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def taken(moment):
    return {name: count for name, count in moment.items() if count and name not in ("launches", "resets", "kernels")}


def test_a_backend_is_open_with_one_context_one_stream_and_one_graph(life):
    assert taken(life["open"]) | {"device": 0, "pinned": 0} == {
        "contexts": 1, "streams": 1, "modules": 1, "executables": 1, "device": 0, "pinned": 0,
    }  # fmt: skip


def test_frames_from_another_thread_are_one_launch_each_and_take_nothing_more(life):
    assert life["scored"]["launches"] - life["open"]["launches"] == 3
    assert taken(life["scored"]) == taken(life["open"])


def test_a_broken_context_is_left_by_everyone_and_reset(life):
    assert taken(life["lost"]) == {}
    assert life["lost"]["resets"] == 1
    assert taken(life["back"]) == taken(life["open"])
    assert "719" in life["errors"][0]


def test_out_of_memory_frees_everything_without_a_reset(life):
    assert taken(life["full"]) == {}
    assert life["full"]["resets"] == 1
    assert "out of memory" in life["errors"][-1]


def test_after_closing_nothing_is_taken_and_a_network_can_still_be_fetched_from(life):
    assert taken(life["closed"]) == taken(life["end"]) == {}
    assert life["fetched"] == 0.25
