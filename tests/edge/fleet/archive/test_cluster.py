"""Ray Data judges shards: the files are those of one machine, also when a worker is killed in the middle."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edge.core.errors import ClusterError
from tests.edge.fleet.archive.archives import files, judged, record_days
from tests.system.command_line import WAIT_S, environment

pytest.importorskip("ray", reason="ray[data] is not installed (the extra fleet)")
pytestmark = [pytest.mark.ray, pytest.mark.skipif(sys.platform != "linux", reason="workers are found in /proc")]
DAYS = 12


def _workers(parent: int) -> list[int]:
    """Processes of Ray's actors that descend from this process."""
    found = []
    for place in Path("/proc").iterdir():
        try:
            judges = place.name.isdecimal() and (place / "cmdline").read_bytes().startswith(b"ray::MapWorker")
            if judges and _descends(int(place.name), parent):
                found.append(int(place.name))
        except OSError:
            continue
    return found


def _descends(pid: int, ancestor: int) -> bool:
    while pid > 1:
        if pid == ancestor:
            return True
        pid = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    return False


def test_a_worker_that_is_killed_changes_no_byte(bundle_path, strict, tmp_path):
    record_days(tmp_path / "records", bundle_path, days=DAYS)
    judged(tmp_path / "records", strict, tmp_path / "serial")
    command = [
        "reinspect",
        tmp_path / "records",
        "--bundle",
        strict,
        "--out",
        tmp_path / "out",
        "--ray",
        "--workers",
        "2",
    ]
    run = subprocess.Popen(
        [sys.executable, "-m", "edge", *map(str, command)],
        cwd=tmp_path,
        env=environment(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    killed, finished, give_up = 0, 0, time.monotonic() + 2 * WAIT_S
    while run.poll() is None and not killed and time.monotonic() < give_up:
        if finished := len(files(tmp_path / "out")):
            for pid in _workers(run.pid)[:1]:
                os.kill(pid, signal.SIGKILL)
                killed = pid
        time.sleep(0.01)
    output, errors = run.communicate(timeout=2 * WAIT_S)
    assert run.returncode == 0, errors
    assert killed, "no worker was there to be killed"
    assert finished < DAYS
    assert "60 pictures judged again" in output
    assert files(tmp_path / "out") == files(tmp_path / "serial")


def test_an_address_at_which_nothing_answers_is_said_at_once(archive, strict, tmp_path):
    with socket.socket() as nobody:
        # bound, and never listening
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(ClusterError, match=r"nothing answers at 127\.0\.0\.1") as refused:
            judged(archive, strict, tmp_path / "out", ray=f"127.0.0.1:{nobody.getsockname()[1]}")
    assert "ray start --head" in refused.value.fix
