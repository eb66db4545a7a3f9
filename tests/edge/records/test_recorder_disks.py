"""The recorder on a disk that is full, locked, read-only, hanging, damaged or gone."""

from __future__ import annotations

import logging
import shutil
import sqlite3
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest

from edge.core.alarms import RECORDS
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.run_statistics import RunStatistics, run_summary
from edge.records.report import build_report
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore
from edge.records.writer import pictures
from edge.records.writer.database import RecordDatabase
from edge.records.writer.disk_errors import DiskError, RecordState
from tests.edge.records.records_fakes import look, recorder, stored, wait_for

NG, OK, INVALID = Decision.NG, Decision.OK, Decision.INVALID


@contextmanager
def disk(directory, size):
    directory.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "none", directory], capture_output=True)
    if mounted.returncode != 0:
        pytest.skip("mounting a tmpfs needs root")
    try:
        yield directory
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 4 MB of its own; skipped where this user may not mount one."""
    with disk(tmp_path / "disk", "4m") as directory:
        yield directory


def test_recording_into_a_file_says_so_once_and_resumes_by_itself(tmp_path, caplog):
    counters = RunCounters()
    blocker = tmp_path / "records"
    blocker.write_text("")
    with caplog.at_level(logging.WARNING, "edge.records.store"):
        sink = recorder(blocker, counters)
        for i in range(3):
            sink.write(*look(i))
        wait_for(lambda: counters.record_state == f"not a directory: {blocker} is a file; 3 verdicts waiting")
        time.sleep(1.1)
        blocker.unlink()
        wait_for(lambda: counters.recorded == 3)
        wait_for(lambda: counters.record_state == "recording")
    sink.close()
    assert [row.frame_index for row in stored(blocker)] == [0, 1, 2]
    assert [record.message.split(";")[0].split(":")[0] for record in caplog.records] == [
        "not a directory",
        "recording again",
    ]


@pytest.fixture
def soon_over(monkeypatch):
    """An alarm about the disk is over as soon as the disk is good."""
    monkeypatch.setattr("edge.records.writer.disk_errors._CALM_S", 0.1)


def test_a_full_disk_keeps_verdicts_waiting_and_recording_resumes_by_itself(small_disk, soon_over):
    counters = RunCounters()
    sink = recorder(small_disk, counters)
    sink.write(*look(0))
    wait_for(lambda: counters.recorded == 1)
    filler = small_disk / "filler"
    with pytest.raises(OSError, match="No space left"), filler.open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    for i in range(1, 2000):
        sink.write(*look(i, NG if i % 500 == 0 else OK))
    wait_for(lambda: counters.record_state.startswith(f"disk full: {small_disk} has 0 MB free, make room; "))
    assert counters.verdicts_wait
    assert counters.record_state.endswith("verdicts waiting")
    (alarm,) = counters.alarms.standing()
    assert alarm.kind == RECORDS and f"disk full: {small_disk} has 0 MB free" in alarm.what
    filler.unlink()
    wait_for(lambda: counters.recorded == 2000)
    wait_for(lambda: counters.images_stored == 3)
    wait_for(lambda: sink.write(*look(2000)) or not counters.alarms.standing())
    sink.close()
    assert [row.frame_index for row in stored(small_disk)][:2000] == list(range(2000))


def test_a_disk_that_is_full_again_and_again_is_one_alarm(tmp_path):
    counters = RunCounters()
    state = RecordState(counters, AlarmLog(counters, lambda alarm: None))
    for _ in range(5):
        state.pictures = DiskError("disk full", "disk full")
        state.publish(True, 0, 1)
        state.pictures = None
        state.publish(True, 0, 0)
    assert len(counters.alarms.standing()) == 1 and counters.alarms.standing()[0].number == 1


def test_a_disk_that_hangs_without_an_error_is_told(tmp_path, monkeypatch, soon_over, caplog):
    monkeypatch.setattr("edge.records.writer.recorder._HANGS_S", 0.2)
    counters, goes_on, save = RunCounters(), threading.Event(), RecordDatabase.save

    def hanging_save(*arguments):
        goes_on.wait(10)
        return save(*arguments)

    monkeypatch.setattr(RecordDatabase, "save", hanging_save)
    sink = recorder(tmp_path, counters)
    with caplog.at_level(logging.WARNING, "edge.records.store"):
        for index in range(20):
            sink.write(*look(index))
            time.sleep(0.05)
        assert counters.record_state.startswith("the disk hangs: a verdict has waited for ")
        assert counters.verdicts_wait
        assert [alarm.kind for alarm in counters.alarms.standing()] == [RECORDS]
        goes_on.set()
        wait_for(lambda: counters.recorded == 20)
        wait_for(lambda: sink.write(*look(20)) or not counters.alarms.standing())
        assert counters.record_state == "recording" and not counters.verdicts_wait
    sink.close()
    assert [row.frame_index for row in stored(tmp_path)][:20] == list(range(20))
    assert [record.message.split(":")[0].split(";")[0] for record in caplog.records] == [
        "the disk hangs",
        "recording again",
    ]


def test_a_disk_too_full_for_pictures_still_takes_rows(small_disk):
    counters = RunCounters()
    sink = recorder(small_disk, counters)
    wait_for(lambda: counters.record_state == "recording")
    # the reserve of a disk of 2 MB is 0.1 MB
    with (small_disk / "filler").open("wb", buffering=0) as filler:
        # the recorder writes meanwhile
        while shutil.disk_usage(small_disk).free > 90_000:
            filler.write(bytes(4096))
    sink.write(*look(0, NG))
    wait_for(lambda: counters.recorded == 1)
    wait_for(lambda: counters.record_state.startswith("disk full"))
    assert counters.record_state.endswith("0 MB free, make room; 1 pictures waiting, verdicts are recorded")
    assert not counters.verdicts_wait
    sink.close()
    assert counters.record_state.startswith("closed: 0 verdicts and 1 pictures not saved (disk full")


def test_pictures_leave_room_for_the_verdicts_of_many_hours(tmp_path):
    with disk(tmp_path / "disk", "12m") as directory:
        counters = RunCounters()
        sink = recorder(directory, counters, queue_frames=8)
        for index in range(60):
            sink.write(*look(index, NG, size=(400, 500)))
            wait_for(lambda count=index + 1: counters.recorded >= count)
        assert counters.record_state.startswith("disk full")
        for index in range(60, 3060):
            sink.write(*look(index, OK, size=(4, 4)))
            if index % 20 == 0:
                wait_for(lambda count=index: counters.recorded >= count)
        wait_for(lambda: counters.recorded == 3060)
        sink.close()
        assert counters.records_lost == 0
        assert len(stored(directory)) == 3060
        assert 8 < counters.images_stored < 40


def test_verdicts_are_recorded_on_a_disk_that_another_program_has_filled(tmp_path, caplog):
    with disk(tmp_path / "disk", "12m") as directory:
        counters = RunCounters()
        sink = recorder(directory, counters)
        sink.write(*look(0))
        wait_for(lambda: counters.recorded == 1 and (directory / "spare-room").exists())
        with pytest.raises(OSError, match="No space left"), (directory / "filler").open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        for index in range(1, 300):
            sink.write(*look(index, OK, size=(4, 4)))
        wait_for(lambda: counters.recorded == 300)
        sink.close()
        assert len(stored(directory)) == 300
        assert "verdicts now take the room that was kept back for them" in caplog.text
        assert not (directory / "spare-room").exists()


def test_a_read_only_disk_is_named_and_recording_resumes_by_itself(small_disk):
    sink = recorder(small_disk / "records")
    sink.write(*look(0))
    sink.close()
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    counters = RunCounters()
    sink = recorder(small_disk / "records", counters)
    sink.write(*look(1, NG))
    wait_for(lambda: counters.record_state == f"read-only: {small_disk}/records cannot be written; 1 verdicts waiting")
    subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    wait_for(lambda: counters.images_stored == 1)
    sink.close()
    assert [row.frame_index for row in stored(small_disk / "records")] == [0, 1]


def test_a_locked_database_is_waited_for_and_nothing_is_lost(tmp_path):
    counters = RunCounters()
    sink = recorder(tmp_path, counters)
    sink.write(*look(0))
    wait_for(lambda: counters.recorded == 1)
    other = sqlite3.connect(tmp_path / DATABASE_NAME, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    for i in range(1, 4):
        sink.write(*look(i))
    wait_for(
        lambda: counters.record_state == f"locked: another program holds the records in {tmp_path}; 3 verdicts waiting"
    )
    other.execute("ROLLBACK")
    other.close()
    wait_for(lambda: counters.recorded == 4)
    sink.close()
    assert [row.frame_index for row in stored(tmp_path)] == [0, 1, 2, 3]


def test_a_deleted_directory_is_noticed_and_started_anew(tmp_path):
    counters = RunCounters()
    directory = tmp_path / "records"
    sink = recorder(directory, counters)
    sink.write(*look(0, NG))
    wait_for(lambda: counters.images_stored == 1)
    shutil.rmtree(directory)
    sink.write(*look(1, NG))
    wait_for(lambda: counters.recorded == 2)
    sink.close()
    rows = stored(directory)
    assert [row.frame_index for row in rows] == [1]
    assert all((directory / row.image).is_file() for row in rows if row.image)


def test_a_store_of_a_newer_version_is_left_alone(tmp_path):
    with sqlite3.connect(tmp_path / DATABASE_NAME) as newer:
        newer.execute("PRAGMA user_version = 99")
    newer.close()
    counters = RunCounters()
    sink = recorder(tmp_path, counters)
    sink.write(*look(0))
    wait_for(lambda: counters.record_state.startswith("the records have schema version 99"))
    sink.close()
    assert counters.records_lost == 1


def test_closing_says_what_could_not_be_saved_within_a_second(tmp_path, caplog):
    counters = RunCounters()
    sink = recorder(tmp_path, counters)
    sink.write(*look(0))
    wait_for(lambda: counters.recorded == 1)
    other = sqlite3.connect(tmp_path / DATABASE_NAME, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    sink.write(*look(1))
    started = time.monotonic()
    sink.close()
    assert time.monotonic() - started < 1.5
    other.close()
    assert counters.record_state == (
        f"closed: 1 verdicts and 0 pictures not saved (locked: another program holds the records in {tmp_path})"
    )
    assert caplog.records[-1].message == counters.record_state


def test_writing_never_waits_for_a_disk_that_hangs(tmp_path, monkeypatch):
    monkeypatch.setattr(pictures, "write_atomic", lambda path, data: time.sleep(2))
    sink = recorder(tmp_path)
    looks = [look(i, NG) for i in range(50)]
    started = time.monotonic()
    for taken, verdict in looks:
        sink.write(taken, verdict)
    assert time.monotonic() - started < 0.5
    sink.close()
    assert time.monotonic() - started < 2.0


def test_a_picture_that_cannot_be_stored_is_named_and_counted_and_the_next_one_is_stored(tmp_path, monkeypatch, caplog):
    real = pictures.RecordedPictures.store

    def broken(self, frame, *arguments):
        if frame.index == 1:
            raise KeyError("a bug")
        return real(self, frame, *arguments)

    counters = RunCounters()
    monkeypatch.setattr(pictures.RecordedPictures, "store", broken)
    sink = recorder(tmp_path, counters)
    for index in range(3):
        sink.write(*look(index, NG))
    sink.close()
    assert [row.image_state for row in stored(tmp_path)] == ["stored", "skipped", "stored"]
    assert counters.images_skipped == 1
    assert "the picture of frame 1 cannot be stored: KeyError: 'a bug'" in caplog.text


def of_another_program(path):
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE recipes (name)")
    database.close()


def of_ours_with_a_torn_header(path):
    sink = recorder(path.parent)
    sink.write(*look(99))
    sink.close()
    with path.open("r+b") as file:
        file.write(b"\xff" * 4096)


def with_a_torn_page(path):
    sink = recorder(path.parent)
    for index in range(500):
        sink.write(*look(index))
    sink.close()
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        # all but the schema
        file.seek(4096)
        file.write(b"\xff" * 4096 * (pages - 1))


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: path.write_text("the minutes of a meeting"),
        lambda path: path.mkdir(),
        of_another_program,
        of_ours_with_a_torn_header,
        with_a_torn_page,
    ],
)
def test_a_damaged_or_foreign_database_is_kept_under_another_name_and_a_new_one_begun(tmp_path, spoil):
    path = tmp_path / DATABASE_NAME
    spoil(path)
    before = path.read_bytes() if path.is_file() else b""
    counters = RunCounters()
    sink = recorder(tmp_path, counters)
    for index in range(3):
        sink.write(*look(index, NG))
    wait_for(lambda: counters.recorded == 3)
    sink.close()
    assert [row.frame_index for row in stored(tmp_path)] == [0, 1, 2]
    (kept,) = tmp_path.glob(f"{DATABASE_NAME}.damaged-20260314T090000Z")
    assert (kept.read_bytes() if kept.is_file() else b"") == before
    (alarm,) = counters.alarms.all()
    assert alarm.kind == RECORDS and kept.name in alarm.what
    assert kept.name in run_summary(RunStatistics(), counters, "r")
    with RecordStore(tmp_path) as store:
        assert [kept.name in entry.alarm.what for entry in build_report(store).alarms] == [True]


def test_a_database_that_is_damaged_while_it_is_written_is_set_aside_and_nothing_that_comes_is_lost(tmp_path):
    counters = RunCounters()
    sink = recorder(tmp_path, counters)
    sink.write(*look(0))
    wait_for(lambda: counters.recorded == 1)
    with (tmp_path / DATABASE_NAME).open("r+b") as file:
        file.write(b"\xff" * 100_000)
    (tmp_path / f"{DATABASE_NAME}-wal").write_bytes(b"")
    for index in range(1, 4):
        sink.write(*look(index, NG))
    wait_for(lambda: counters.recorded == 4)
    sink.close()
    assert [row.frame_index for row in stored(tmp_path)] == [1, 2, 3]
    assert len(list(tmp_path.glob("*.damaged-*"))) >= 1


def test_a_spoiled_lock_does_not_lock_the_records(tmp_path):
    (tmp_path / "writer.lock").write_text("not a lock")
    sink = recorder(tmp_path)
    sink.write(*look(0))
    sink.close()
    assert len(stored(tmp_path)) == 1
