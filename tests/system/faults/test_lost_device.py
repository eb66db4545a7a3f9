"""A device that a process lost for good: the program becomes a new process, and the line goes on."""

import pytest

from tests.notify_socket import NotifySocket
from tests.system.command_line import rows, running

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: no network can run")

# after three frames of its first life the device is lost, and in the second it is not there; the environment outlives
# the process
PROGRAM = """
import os, sys
import edge.cli.line.run
from edge.backends.cpu import CpuBackend
from edge.core.errors import MissingDependency, ModelError
life = os.environ.setdefault("LIFE", "first")
os.environ["LIFE"] = {"first": "second"}.get(life, "third")
edge.cli.line.run.AGAIN_FIRST_S = 0.1

def missing(self, *arguments):
    raise MissingDependency("no GPU can be used", fix="none")

if life == "second":
    CpuBackend.__init__ = missing
scored = [0]
score = CpuBackend.score

def counted(self, image, clock):
    scored[0] += 1
    if life == "first" and scored[0] > 3:
        raise ModelError("the GPU cannot be opened again", fix="none")
    return score(self, image, clock)

CpuBackend.score = counted
CpuBackend.needs_new_process = property(lambda self: life == "first" and scored[0] > 3)
from edge.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def camera(parts_camera):
    return parts_camera


@pytest.fixture
def program(tmp_path):
    path = tmp_path / "edge_inspect.py"
    path.write_text(PROGRAM)
    return (str(path),)


def run_of(camera, bundle_path, *more):
    return ("run", "--camera", camera.url, "--bundle", bundle_path, "--backend", "onnxruntime", "--json", *more)


def test_the_program_starts_again_as_the_same_process_with_everything_on_record(camera, bundle_path, program, tmp_path):
    manager = NotifySocket(tmp_path)
    with running(*run_of(camera, bundle_path), cwd=tmp_path, program=program, **manager.environment) as run:
        lost = run.wait_for(lambda found: any(each["reason"] == "model_error" for each in found))
        before = next(place for place, each in enumerate(lost) if each["reason"] == "model_error")
        assert before == 3
        # the reader of standard output sees verdicts of both lives
        run.wait_for(lambda found: sum(each["reason"] == "below_threshold" for each in found) >= 6)
        run.signal()
        assert run.ended() == 130
    assert run.errors.count("starting again") == 2
    assert "no GPU can be used; the next attempt in 0 s" in run.errors
    # for a service manager it is one service that never stops, and may take its time
    told = [message for message in manager.messages if not message.startswith(("WATCHDOG=1", "STATUS=hangs"))]
    assert [message.partition("=")[0] for message in told] == ["READY", "WATCHDOG_USEC", "READY", "STOPPING"]
    manager.close()
    recorded = rows(tmp_path / "records")
    assert len(recorded) == len(run.verdicts)
    assert [row[0] for row in recorded].count(0) == 2


def test_a_run_with_an_end_is_not_begun_anew(camera, bundle_path, program, tmp_path):
    limited = run_of(camera, bundle_path, "--frames", "8", "--no-record")
    with running(*limited, cwd=tmp_path, program=program) as run:
        assert run.ended() == 0
    assert [each["reason"] for each in run.verdicts[3:]] == ["model_error"] * 5
    assert "starting again" not in run.errors
