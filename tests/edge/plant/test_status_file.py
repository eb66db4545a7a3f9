"""The line's state in a file: whole at every moment, of now, and honest about a line that hangs or has ended."""

import json
import threading
import time
from dataclasses import replace

from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.monitoring.sink import Filed
from edge.plant.state import LineInfo, LineStateKeeper
from edge.plant.status_file import STATUS_NAME, StatusFile, is_live, read_status, status_bytes
from tests.edge.records.records_fakes import look, wait_for

INFO = LineInfo("left", "fake camera", "plate", "openvino", "int8")


def keeper(counters=None, **others):
    return LineStateKeeper(INFO, counters or RunCounters(), every_s=0.005, **others)


def test_a_state_counts_every_verdict_and_never_changes():
    line = keeper(filed=lambda: Filed("3-000001", None))
    before = line.state
    for index, decision in enumerate((Decision.OK, Decision.NG, Decision.INVALID, Decision.OK)):
        line.write(*look(index, decision))
    line.close()
    state = line.state
    counted = {(str(each.decision), str(each.reason)): each.count for each in state.verdicts}
    assert counted == {("OK", "below_threshold"): 2, ("NG", "above_threshold"): 1, ("INVALID", "black"): 1}
    # the INVALID one was not inspected, and would falsify the times
    assert {sum(stage.counts) for stage in state.stages} == {3}
    assert [verdict.decision for verdict in state.newest] == ["OK", "NG", "INVALID", "OK"]
    assert state.newest[-1].number == "3-000001"
    assert not state.running and before.running
    assert before.verdicts == ()


def test_a_time_is_in_the_class_that_ends_at_or_above_it():
    line, (taken, verdict) = keeper(), look()
    for milliseconds in (1.0, 1.1, 9000.0):
        line.write(taken, replace(verdict, times=replace(verdict.times, total=milliseconds)))
    line.close()
    total = next(stage for stage in line.state.stages if stage.stage == "total")
    assert total.counts == (1, 1, *(0,) * 11, 1)
    assert abs(total.sum_s - 9.0021) < 1e-9


def test_the_file_follows_the_line_and_its_last_state_says_that_it_has_ended(tmp_path):
    counters, folder = RunCounters(), tmp_path / "run" / "left"
    line = keeper(counters)
    status = StatusFile(folder, lambda: line.state, 0.005)
    counters.frames, counters.beat_ns = 7, time.perf_counter_ns()
    wait_for(lambda: (read_status(folder) or {"counts": {"frames": 0}})["counts"]["frames"] == 7)
    assert is_live(read_status(folder))
    line.write(*look(1, Decision.NG))
    line.close()
    status.close()
    written = read_status(folder)
    assert written["info"]["name"] == "left" and written["newest"][0]["decision"] == "NG"
    assert written["newest"][0]["utc"].endswith("+00:00")
    assert not written["running"] and not is_live(written)
    assert [path.name for path in folder.iterdir()] == [STATUS_NAME]
    assert (folder / STATUS_NAME).stat().st_mode & 0o777 == 0o640


def test_a_reader_never_sees_half_a_file(tmp_path):
    line = keeper()
    for index in range(20):
        line.write(*look(index))
    status = StatusFile(tmp_path, lambda: line.state, 0.0005)
    wait_for(lambda: (tmp_path / STATUS_NAME).exists())
    for _ in range(300):
        assert json.loads((tmp_path / STATUS_NAME).read_bytes())["version"] == 1
    status.close()
    line.close()


def test_a_status_that_is_old_or_of_a_line_that_hangs_is_not_live():
    counters = RunCounters()
    line = keeper(counters)
    line.close()
    state = replace(line.state, running=True, beat_age_s=0.1, monotonic_s=100.0)

    def read(now_s, **changes):
        return is_live(json.loads(status_bytes(replace(state, **changes))), now_s)

    assert read(101.0)
    assert not read(102.1)
    # written before the machine was started anew
    assert not read(50.0)
    # the process lives and writes, but inspection does not come round
    assert not read(100.0, beat_age_s=3.0)
    assert not read(100.0, beat_age_s=None)
    assert not read(100.0, running=False)


def test_a_folder_that_cannot_be_written_is_logged_and_the_line_goes_on(tmp_path, caplog):
    (tmp_path / "file").write_text("in the way")
    line = keeper()
    status = StatusFile(tmp_path / "file", lambda: line.state, 0.001)
    wait_for(lambda: caplog.text.count("cannot be written") == 2)
    status.close()
    line.close()
    assert "(1 times)" in caplog.text and "(10 times)" in caplog.text


def test_what_is_no_status_is_none(tmp_path):
    assert read_status(tmp_path) is None
    for content in (b"", b"\xff", b"[1]", b'{"version": 99}', b"{"):
        (tmp_path / STATUS_NAME).write_bytes(content)
        assert read_status(tmp_path) is None


def test_snapshots_go_on_while_the_disk_of_the_file_hangs(tmp_path):
    released = threading.Event()
    line = keeper()

    def hanging():
        released.wait(20)
        return line.state

    status = StatusFile(tmp_path, hanging, 0.001)
    line.write(*look(0))
    wait_for(lambda: len(line.state.newest) == 1)
    released.set()
    line.close()
    status.close()
