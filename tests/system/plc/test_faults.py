"""What the PLC sees of a line that is stopped, killed, hung, blind or without a disk: rejects, and then parts again."""

import resource
import shutil
import signal
import time

import pytest

from edge.plant.plc.register_map import ErrorCode, Status
from edge.plant.plc.simulation.program import NO_ANSWER, NOT_READY
from edge.plant.status_file import is_live, read_status
from tests.edge.records.records_fakes import wait_for
from tests.notify_socket import NotifySocket
from tests.recipe_line import write_recipes
from tests.system.command_line import WAIT_S, edge_here, rows, running
from tests.system.plc.plc_side import plc_side

pytest.importorskip("pymodbus", reason="the extra `plc` is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed: no network can run")

# inspection hangs from the moment that the file is there until it is gone
HANGING = """
import os, sys, time
from edge.backends.cpu import CpuBackend
score = CpuBackend.score

def hanging(self, image, clock):
    while os.path.exists("hang"):
        time.sleep(0.01)
    return score(self, image, clock)

CpuBackend.score = hanging
from edge.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def camera(parts_camera):
    return parts_camera


@pytest.fixture
def manager(tmp_path):
    manager = NotifySocket(tmp_path)
    yield manager
    manager.close()


@pytest.fixture
def line(camera, bundle_path, port, tmp_path):
    """Starts the line; two busy cores must not make its pictures stale."""
    (tmp_path / "config.yaml").write_text(
        f"trigger: {{mode: plc, settle_ms: 0, frame_timeout_ms: 300}}\nplc: {{port: {port}}}\n"
        "camera: {read_timeout_ms: 300, reopen_first_ms: 20, reopen_max_ms: 100}\n"
        "freshness: {max_age_ms: 600}\ninspection: {deadline_ms: 600}\nservice: {restart_after_s: 2}\n"
    )

    def start(*more, **changes):
        given = ("run", "--camera", camera.url, "--bundle", bundle_path, "--json", *more)
        return running(*given, cwd=tmp_path, **changes)

    return start


def test_a_line_that_is_stopped_rejects_and_goes_on_where_it_may(line, port):
    with line() as run, plc_side(port) as plc:
        plc.passes()
        run.signal(signal.SIGSTOP)
        rejected = plc.rejects(time.monotonic() + 0.05)
        assert {part.why for part in rejected} == {NO_ANSWER}
        assert "no answer within" in plc.said[-1]
        run.signal(signal.SIGCONT)
        plc.passes()
        assert plc.said[-1].startswith("the box answers again")
        plc.keeps_the_handshake()


def test_a_line_that_is_killed_rejects_and_a_new_one_shows_nothing_of_before(line, port, tmp_path):
    with plc_side(port) as plc:
        with line() as run:
            plc.passes()
            run.signal(signal.SIGKILL)
            plc.rejects(time.monotonic() + 0.05)
        assert "trying again" in plc.said[-1]
        with line() as run:
            plc.passes()
            run.signal(signal.SIGINT)
            assert run.ended() == 130
        plc.rejects(time.monotonic())
        plc.keeps_the_handshake()
    numbers = [number for (number,) in rows(tmp_path / "records", "part_number")]
    assert len(numbers) == len(set(numbers))


def test_a_model_that_hangs_rejects_its_late_verdict_is_never_shown_and_the_watchdog_starves(
    line, port, manager, tmp_path
):
    program = tmp_path / "edge_inspect.py"
    program.write_text(HANGING)
    hang = tmp_path / "hang"
    started = line("--backend", "onnxruntime", program=(str(program),), **manager.environment)
    with started, plc_side(port) as plc:
        plc.passes()
        hang.touch()
        plc.rejects(time.monotonic() + 0.1)
        # the server's thread lives, and must not speak for the inspection
        wait_for(lambda: any(each.startswith("STATUS=hangs") for each in manager.messages), WAIT_S)
        fed = manager.fed
        plc.rejects(time.monotonic(), count=2)
        assert manager.fed == fed
        # the box itself says so, and not only the PLC's time-out
        assert plc.seen.watch.errors.keys() & {ErrorCode.LOOP_HANGS, ErrorCode.DEADLINE_MISSED}
        hang.unlink()
        plc.passes()
        plc.keeps_the_handshake()


def test_a_lost_camera_rejects_until_it_is_back_and_the_watchdog_is_fed(line, camera, port, manager):
    with line(**manager.environment), plc_side(port) as plc:
        plc.passes()
        camera.kill()
        # pictures that are on their way are of before
        rejected = plc.rejects(time.monotonic() + 0.5)
        assert {part.why for part in rejected} <= {"INVALID: no frame", NOT_READY}
        plc.wait_until(lambda parts: parts[-1].inputs is not None and Status.READY not in parts[-1].inputs.status)
        fed = manager.fed
        wait_for(lambda: manager.fed > fed + 10, WAIT_S)
        camera.start()
        plc.passes()
        plc.keeps_the_handshake()


def test_a_dead_disk_rejects_until_it_takes_records_again_and_nothing_is_lost(line, port, tmp_path):
    with line() as run, plc_side(port) as plc:
        plc.passes()
        assert Status.RECORDS_DEGRADED not in plc.seen.watch.last.status
        # no file of it may grow any more, as on a disk that is full
        before = resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, (0, before[1]))
        wait_for(lambda: degraded(plc), WAIT_S)
        rejected = plc.rejects(time.monotonic())
        assert {part.inputs.error for part in rejected} == {ErrorCode.NOT_RECORDED}
        resource.prlimit(run.process.pid, resource.RLIMIT_FSIZE, before)
        wait_for(lambda: not degraded(plc), WAIT_S)
        plc.passes()
        run.signal(signal.SIGINT)
        assert run.ended() == 130
        plc.keeps_the_handshake()
    numbers = [number for (number,) in rows(tmp_path / "records", "part_number")]
    asked = [str(part.part_id) for part in plc.parts if part.by_result]
    assert len(numbers) == len(set(numbers))
    assert set(asked) <= set(numbers)


def test_a_recipe_that_does_not_load_rejects_until_another_one_is_loaded(camera, bundle_path, port, here, tmp_path):
    shutil.copytree(bundle_path, tmp_path / "broken")
    (tmp_path / "broken" / "manifest.json").write_text("{")
    write_recipes(tmp_path, plate={"bundle": "plate"}, broken={"bundle": "broken"})
    (tmp_path / "config.yaml").write_text(
        f"trigger: {{mode: plc, settle_ms: 0}}\nplc: {{port: {port}}}\nrecipes: {{file: recipes.yaml}}\n"
        f"line: {{name: left, run_directory: {tmp_path / 'run'}}}\nfreshness: {{max_age_ms: 600}}\n"
    )
    with running("run", "--camera", camera.url, "--json", cwd=tmp_path):
        with plc_side(port) as plc:
            plc.passes()
            wait_for(lambda: is_live(read_status(tmp_path / "run")), WAIT_S)
            assert edge_here(here, "recipe", "use", "broken").returncode == 1
            rejected = plc.rejects(time.monotonic())
            assert {(part.why, part.inputs.error) for part in rejected} == {(NOT_READY, ErrorCode.RECIPE_FAILED)}
            assert edge_here(here, "recipe", "use", "plate").returncode == 0
            plc.passes()
            plc.keeps_the_handshake()
        asked = ("simulate", "plc", "--parts", 2, "--timeout", 20_000, "--recipe")
        failed = edge_here(here, *asked, 2)
        assert failed.returncode == 1
        assert "the recipe did not become the active one" in failed.stdout
        assert "code 301: the recipe did not load" in failed.stdout
        loaded = edge_here(here, *asked, 1)
        assert loaded.returncode == 0, loaded.stdout


def degraded(plc):
    last = plc.seen.watch.last
    return last is not None and Status.RECORDS_DEGRADED in last.status
