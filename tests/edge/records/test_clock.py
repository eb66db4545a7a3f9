"""A clock that jumps deletes nothing, and says so; one that is put right is no news for long."""

from __future__ import annotations

import json
import sqlite3
from datetime import datetime, timedelta, timezone

import pytest

from edge.cli import main
from edge.core.alarms import CLOCK
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.run_statistics import RunStatistics, run_summary
from edge.records.clock import ClockJump, clock_jumps
from edge.records.report import build_report, report_table
from edge.records.store import RecordStore
from edge.records.writer.clock_watch import ClockGuard, ClockStep, ClockWatch
from tests.edge.records.records_fakes import START, image_files, look, recorder, stored, wait_for

DAY = timedelta(days=1)
BIRTH = datetime(1970, 1, 1, tzinfo=timezone.utc)
LIMITS = {"max_image_age_days": 30, "max_verdict_age_days": 60, "max_image_mb": None}


class Clocks:
    """A wall clock that can be set, and a steady one; both stand still in between."""

    def __init__(self, utc):
        self.utc, self.steady = utc, 1000.0

    def pass_by(self, time):
        self.utc, self.steady = self.utc + time, self.steady + time.total_seconds()

    def watch(self):
        return ClockWatch(lambda: self.utc, lambda: self.steady)


def test_time_that_passes_on_both_clocks_is_no_jump():
    for time in [timedelta(seconds=1), DAY, 400 * DAY]:
        clocks = Clocks(START)
        watch = clocks.watch()
        clocks.pass_by(time)
        assert watch.look() is None, time


def test_a_jump_is_told_once_and_so_is_its_end():
    for jump in [31 * DAY, timedelta(minutes=5), -timedelta(hours=1), BIRTH - START]:
        clocks = Clocks(START)
        watch = clocks.watch()
        assert watch.compare([START - DAY]) is None, jump
        clocks.pass_by(DAY)
        clocks.utc += jump
        assert watch.look() == ClockStep(START + DAY, START + DAY + jump), jump
        clocks.pass_by(DAY)
        assert watch.look() is None, jump
        clocks.utc -= jump
        assert watch.look() == ClockStep(START + 2 * DAY + jump, START + 2 * DAY, is_right=True), jump


def test_a_start_soon_after_the_newest_record_is_no_jump():
    for ahead in [timedelta(0), timedelta(seconds=-30), 3 * DAY, 7 * DAY]:
        assert Clocks(START + ahead).watch().compare([START]) is None, ahead


def test_a_start_long_after_the_newest_record_or_before_it_is_a_jump():
    for ahead in [8 * DAY, 31 * DAY, -timedelta(minutes=2), BIRTH - START]:
        step = Clocks(START + ahead).watch().compare([START])
        assert step == ClockStep(START, START + ahead, between_runs=True), ahead


def test_a_box_that_starts_in_1970_is_right_as_soon_as_the_network_tells_it_the_time():
    clocks = Clocks(BIRTH)
    watch = clocks.watch()
    assert watch.compare([START]) is not None
    clocks.pass_by(timedelta(seconds=40))
    clocks.utc = START + 2 * DAY
    step = watch.look()
    assert step is not None and step.is_right


def test_what_was_recorded_by_a_wrong_clock_does_not_make_a_right_one_wrong():
    assert Clocks(START + DAY).watch().compare([BIRTH, START]) is None
    assert Clocks(START + DAY).watch().compare([START, START + 31 * DAY]) is None


class Line:
    """Runs that record into one store, by these clocks; every verdict has a picture."""

    def __init__(self, directory, utc):
        self.directory, self.clocks, self.index = directory, Clocks(utc), 0

    def begin(self):
        self.counters = RunCounters()
        self.sink = recorder(
            self.directory,
            self.counters,
            utc_now=lambda: self.clocks.utc,
            steady_s=lambda: self.clocks.steady,
            **LIMITS,
        )
        wait_for(lambda: self.counters.record_state == "recording")

    def record(self, count):
        for _ in range(count):
            self.sink.write(*look(self.index, Decision.NG, utc=self.clocks.utc))
            self.index += 1
            self.counters.frames += 1
        wait_for(lambda: self.counters.images_stored == self.counters.frames)

    def keep_house(self):
        """Twice over, so that whatever is to be deleted is."""
        self.sink._writer._housekeeping_ns = 0
        self.sink._queue.wake()
        wait_for(lambda: self.sink._writer._housekeeping_ns)
        self.sink._writer._housekeeping_ns = 0
        self.sink._queue.wake()
        wait_for(lambda: self.sink._writer._housekeeping_ns)

    def run(self, count):
        self.begin()
        self.record(count)
        self.keep_house()
        self.sink.close()

    def kept(self):
        """(verdicts, pictures)"""
        return len(stored(self.directory)), len(image_files(self.directory)) // 2


@pytest.fixture
def line(tmp_path):
    line = Line(tmp_path, START)
    line.run(3)
    return line


def test_without_a_jump_pictures_and_verdicts_go_when_they_are_old_enough(line):
    for _ in range(5):
        line.clocks.pass_by(7 * DAY)
        line.run(0)
        # the newest record is what a start is compared with
        line.run(1)
    assert line.counters.alarms.all() == []
    assert line.kept() == (8, 5)


@pytest.mark.parametrize("ahead", [31 * DAY, 400 * DAY])
def test_a_clock_that_is_ahead_at_the_start_deletes_nothing_and_says_so(line, ahead):
    line.clocks.utc = START + ahead
    line.run(2)
    assert line.kept() == (5, 5)
    (alarm,) = line.counters.alarms.all()
    assert alarm.kind == CLOCK and "the newest record is of 2026-03-14 08:00 UTC" in alarm.what
    assert "nothing that was recorded before is deleted" in run_summary(RunStatistics(), line.counters, "r")
    # nor does the next run, for which the records look right
    line.clocks.pass_by(DAY)
    line.run(1)
    assert line.counters.alarms.all() == []
    assert line.kept() == (6, 6)


def test_after_a_jump_ages_are_counted_anew(line):
    line.clocks.utc = START + 31 * DAY
    line.run(1)
    for _ in range(5):
        line.clocks.pass_by(6 * DAY)
        line.run(1)
    assert line.kept() == (9, 9)
    line.clocks.pass_by(timedelta(hours=1))
    line.run(0)
    assert line.kept() == (9, 5)


def test_a_clock_that_jumps_ahead_while_the_line_runs_deletes_nothing(line):
    line.begin()
    line.record(1)
    line.clocks.utc += 100 * DAY
    line.record(1)
    line.keep_house()
    assert line.kept() == (5, 5)
    (alarm,) = line.counters.alarms.standing()
    assert alarm.what == "the clock jumped 100.0 days forward, from 2026-03-14 08:00 UTC to 2026-06-22 08:00 UTC"
    line.clocks.utc -= 100 * DAY
    line.keep_house()
    assert line.counters.alarms.standing() == []
    line.sink.close()
    assert line.kept() == (5, 5)
    # what waited when the jump was seen counts as recorded before; put right, nothing is counted anew
    with RecordStore(line.directory) as store:
        (jump,) = clock_jumps(store, [2])
    assert jump == ClockJump(2, START, START + 100 * DAY, jump.last_verdict_id, START)
    assert jump.last_verdict_id in (4, 5)


def test_a_new_box_that_learns_the_time_while_it_runs_keeps_what_it_recorded_in_1970(tmp_path):
    line = Line(tmp_path, BIRTH)
    line.begin()
    line.record(3)
    line.clocks.utc = START
    line.record(2)
    line.keep_house()
    line.sink.close()
    assert line.kept() == (5, 5)
    line.clocks.pass_by(DAY)
    line.run(1)
    assert line.kept() == (6, 6)


def test_a_box_without_a_battery_raises_an_alarm_until_it_knows_the_time_and_deletes_nothing(line):
    line.clocks.utc = BIRTH
    line.begin()
    line.record(2)
    (alarm,) = line.counters.alarms.standing()
    assert "the clock says 1970-01-01 00:00 UTC, which is before the newest record" in alarm.what
    line.clocks.utc = START + DAY
    line.keep_house()
    assert line.counters.alarms.standing() == []
    line.record(1)
    line.sink.close()
    assert line.kept() == (6, 6)
    # its rows of 1970 go with their neighbours, not before
    for _ in range(5):
        line.clocks.pass_by(6 * DAY)
        line.run(1)
    line.clocks.pass_by(timedelta(hours=1))
    line.run(0)
    assert line.kept() == (11, 5)


def test_a_jump_in_the_last_moment_of_a_run_is_on_record(line):
    line.begin()
    line.record(1)
    line.clocks.utc += 40 * DAY
    line.sink.write(*look(line.index, Decision.NG, utc=line.clocks.utc))
    line.sink.close()
    line.run(1)
    assert line.kept() == (6, 6)


def test_a_report_by_a_clock_before_the_newest_record_says_so(tmp_path, capsys):
    line = Line(tmp_path, datetime.now(timezone.utc) + DAY)
    line.run(1)
    assert main(["report", "--since", "8h", "--record-dir", str(tmp_path)]) == 0
    assert "which is before the newest record" in capsys.readouterr().err


def test_a_report_says_what_a_jump_does_to_its_range(line):
    line.clocks.utc = START + 31 * DAY
    line.run(2)
    with RecordStore(line.directory) as store:
        now = build_report(store, since=START + 30 * DAY)
        before = build_report(store, until=START - DAY)
    assert now.verdicts == 2 and len(now.clock_jumps) == 1 and before.clock_jumps == ()
    assert json.loads(json.dumps(now.as_json()))["clock_jumps"][0]["run"] == 2
    from rich.console import Console

    console = Console(width=400)
    with console.capture() as drawn:
        console.print(report_table(now))
    assert "the clock jumped 31.0 days forward in run 2, from 2026-03-14 08:00 to 2026-04-14 08:00 UTC" in drawn.get()
    assert "--since and --until go by the time that was recorded" in drawn.get()


def test_a_clock_that_jumps_while_the_database_refuses_fills_no_memory():
    class Refusing:
        def save_clock_jump(self, *arguments):
            raise sqlite3.OperationalError("database is locked")

        put_clock_right = save_clock_jump

    clocks, counters = Clocks(START), RunCounters()
    guard = ClockGuard(clocks.watch(), AlarmLog(counters, lambda alarm: None), waiting_rows=lambda: 0)
    for hour in range(500):
        clocks.utc += timedelta(hours=1 + hour % 2)
        with pytest.raises(sqlite3.OperationalError):
            guard.look(Refusing())
    assert len(guard._steps) == 100
