"""A box on a line phones nobody: neither this program nor what it is made of."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.system.command_line import edge, environment, verdicts

HOOK = Path(__file__).with_name("no_network.py")
BACKENDS = ("openvino", "onnxruntime")


@pytest.fixture
def watched(tmp_path):
    """Environment of a child whose sockets are watched, and the log of what they tried."""
    site = tmp_path / "site"
    site.mkdir()
    shutil.copy(HOOK, site / "sitecustomize.py")
    log = tmp_path / "phone.log"
    log.touch()
    return {"PYTHONPATH": str(site), "PHONE_LOG": str(log)}, log


def test_the_watch_of_the_tests_below_works(watched, tmp_path):
    changes, log = watched
    script = "import socket\ntry: socket.create_connection(('192.0.2.1', 80), 1)\nexcept OSError as e: print(e)"
    result = subprocess.run(
        [sys.executable, "-c", script], env=environment(**changes), cwd=tmp_path, capture_output=True, text=True
    )
    assert "phones nobody" in result.stdout
    assert "192.0.2.1" in log.read_text()


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_inspection_opens_no_connection(line, bundle_path, tmp_path, watched, backend):
    changes, log = watched
    result = edge(
        "--camera", line, "--bundle", bundle_path, "--backend", backend, "--json", cwd=tmp_path, **changes
    )  # fmt: skip
    assert len(verdicts(result.stdout)) == 6
    assert log.read_text() == ""


def test_the_machine_check_opens_no_connection(bundle_path, tmp_path, watched):
    changes, log = watched
    result = edge("doctor", "--bundle", bundle_path, cwd=tmp_path, **changes)
    assert "every hash right" in result.stdout
    assert log.read_text() == ""


def strace_or_skip():
    """The system calls are watched too: libraries in C pass by Python's hooks."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("strace is not installed: system calls of C libraries cannot be watched")
    if subprocess.run([strace, "-o", os.devnull, "true"], capture_output=True).returncode != 0:
        pytest.skip("strace may not trace here (ptrace is forbidden)")
    return strace


@pytest.mark.parametrize("backend", BACKENDS)
def test_no_system_call_reaches_for_the_network(line, bundle_path, tmp_path, backend):
    trace = tmp_path / "trace"
    prefix = (strace_or_skip(), "-f", "-qq", "-e", "trace=connect,sendto,sendmsg", "-o", str(trace))
    result = edge(
        "--camera", line, "--bundle", bundle_path, "--backend", backend, "--json", cwd=tmp_path, prefix=prefix
    )  # fmt: skip
    assert len(verdicts(result.stdout)) == 6
    reached = [call for call in trace.read_text().splitlines() if "AF_INET" in call]
    assert [call for call in reached if "127.0.0.1" not in call and '"::1"' not in call] == []


@pytest.mark.parametrize("backend", BACKENDS)
def test_inspection_needs_no_network_at_all(line, bundle_path, tmp_path, backend):
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "-rn", "true"], capture_output=True).returncode != 0:
        pytest.skip("no empty network namespace can be made here: `unshare -rn` is missing or forbidden")
    result = edge(
        "--camera", line, "--bundle", bundle_path, "--backend", backend, "--json", cwd=tmp_path, prefix=(unshare, "-rn")
    )  # fmt: skip
    assert result.returncode == 0
    assert len(verdicts(result.stdout)) == 6
