"""The recorder keeps every verdict and its pictures, and inspection never waits for it."""

from __future__ import annotations

import hashlib
import random
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace

import cv2
import numpy as np
import pytest

from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Fault, Frame, PartScore, Reason
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore
from edge.records.writer import pictures
from edge.records.writer.database import RecordDatabase
from tests.edge.records.records_fakes import RUN, START, image_files, inspector, look, recorder, stored, wait_for
from tests.paths import ROOT

NG, OK, INVALID = Decision.NG, Decision.OK, Decision.INVALID


def test_every_verdict_is_kept_in_order_with_its_values(tmp_path):
    sink = recorder(tmp_path)
    looks = [look(i, (OK, NG, INVALID)[i % 3]) for i in range(9)]
    for taken, verdict in looks:
        sink.write(taken, verdict)
    sink.close()
    rows = stored(tmp_path)
    assert [row.frame_index for row in rows] == list(range(9))
    for row, (taken, verdict) in zip(rows, looks, strict=True):
        assert (row.decision, row.reason, row.detail) == (verdict.decision, verdict.reason, verdict.detail)
        assert (row.score, row.threshold, row.times) == (verdict.score, verdict.threshold, verdict.times)
        assert (row.regions, row.utc, row.captured_ns) == (verdict.regions, taken.utc, taken.captured_ns)
        assert (row.bundle_sha256, row.model_sha256) == (verdict.bundle_sha256, verdict.model_sha256)


def test_each_part_of_a_frame_that_shows_several_is_kept_with_its_score(tmp_path):
    sink = recorder(tmp_path)
    taken, verdict = look(0, NG)
    parts = (PartScore(3.5, 10, 4, 8, 20), PartScore(0.25, 0, 0, 9, 19))
    sink.write(taken, replace(verdict, parts=parts))
    sink.write(*look(1, OK))
    sink.close()
    assert [row.parts for row in stored(tmp_path)] == [parts, ()]


def test_the_run_says_what_judged_and_when_it_ended(tmp_path):
    sink = recorder(tmp_path)
    wait_for(lambda: (tmp_path / DATABASE_NAME).exists())
    sink.close()
    with RecordStore(tmp_path) as store:
        run = store.run(1)
    assert (run.info.backend, run.info.precision, run.info.bundle_sha256) == ("fake", "int8", "b" * 64)
    assert run.ended_utc is not None
    assert not run.interrupted


def test_ng_and_invalid_pictures_are_kept_pixel_for_pixel_and_ok_pictures_are_not(tmp_path):
    sink = recorder(tmp_path)
    looks = [look(0, OK), look(1, NG, size=(25, 31)), look(2, INVALID, size=(1, 1))]
    for taken, verdict in looks:
        sink.write(taken, verdict)
    sink.close()
    ok, ng, invalid = stored(tmp_path)
    assert (ok.image_state, ok.image) == ("none", None)
    for row, (taken, _) in ((ng, looks[1]), (invalid, looks[2])):
        data = (tmp_path / row.image).read_bytes()
        assert hashlib.sha256(data).hexdigest() == row.image_sha256
        assert np.array_equal(cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR), taken.image)
        assert cv2.imread(str(tmp_path / row.overlay)) is not None


def test_a_look_without_a_picture_is_recorded_without_one(tmp_path):
    sink = recorder(tmp_path)
    missing = Frame(7, 0, START, "fake", None, Fault(Reason.NO_FRAME, "nothing for 2000 ms"))
    sink.write(missing, inspector().inspect(missing))
    sink.close()
    assert [(row.reason, row.image_state) for row in stored(tmp_path)] == [(Reason.NO_FRAME, "none")]


def test_ok_pictures_are_drawn_at_random_and_every_row_says_with_which_probability(tmp_path):
    sink = recorder(tmp_path, keep_ok_share=0.3, draw=iter([0.9, 0.29, 0.3, 0.0, 0.5, 0.5]).__next__)
    for i in range(4):
        sink.write(*look(i, OK))
    # as an unsure part and as a reject they are kept whatever is drawn
    taken, verdict = look(4, OK)
    sink.write(taken, replace(verdict, review=True))
    sink.write(*look(5, NG))
    sink.write(*look(6, INVALID))
    sink.close()
    rows = stored(tmp_path)
    assert [row.image_state for row in rows] == ["none", "stored", "none", *["stored"] * 4]
    assert [row.sample_p for row in rows] == [0.3] * 4 + [1.0, 1.0, None]


def test_what_is_drawn_keeps_no_step_with_the_cavities_of_a_mould(tmp_path):
    draw = random.Random(3).random
    sink = recorder(tmp_path, keep_ok_share=0.25, draw=draw, queue_frames=1000)
    for i in range(400):
        sink.write(*look(i, OK, size=(4, 4)))
    sink.drain(threading.Event(), lambda _: None)
    sink.close()
    kept = [row.frame_index for row in stored(tmp_path) if row.image_state == "stored"]
    # every fourth part is of one cavity: each is drawn about as often
    assert all(12 <= sum(index % 4 == cavity for index in kept) <= 38 for cavity in range(4)), kept


def test_a_frozen_picture_is_stored_once_and_shared_by_its_rows(tmp_path):
    counters = RunCounters()
    sink = recorder(tmp_path, counters)
    taken, verdict = look(0, INVALID, reason=Reason.FROZEN)
    sink.write(taken, verdict)
    wait_for(lambda: counters.images_stored == 1)
    for _ in range(3):
        sink.write(taken, verdict)
    sink.close()
    rows = stored(tmp_path)
    assert len({row.image for row in rows}) == 1
    assert len(image_files(tmp_path)) == 2


def test_two_runs_share_a_store_one_after_the_other(tmp_path):
    for _ in range(2):
        sink = recorder(tmp_path)
        sink.write(*look(0, NG))
        sink.close()
    rows = stored(tmp_path)
    assert [(row.id, row.run_id) for row in rows] == [(1, 1), (2, 2)]
    assert len({row.image for row in rows}) == 2


def test_a_second_recorder_waits_until_the_first_lets_go_of_the_store(tmp_path):
    first = recorder(tmp_path)
    first.write(*look(0))
    wait_for(lambda: (tmp_path / DATABASE_NAME).exists())
    counters = RunCounters()
    second = recorder(tmp_path, counters)
    second.write(*look(1))
    wait_for(lambda: counters.record_state.startswith("locked: another program"))
    first.close()
    wait_for(lambda: counters.recorded == 1)
    second.close()
    assert [row.frame_index for row in stored(tmp_path)] == [0, 1]


def test_a_row_whose_picture_is_late_is_committed_first_and_completed_later(tmp_path, monkeypatch):
    counters = RunCounters()
    real = pictures.RecordedPictures.store
    allowed = []

    def slow(self, *arguments):
        if not allowed:
            raise OSError(28, "No space left on device")
        return real(self, *arguments)

    monkeypatch.setattr(pictures.RecordedPictures, "store", slow)
    sink = recorder(tmp_path, counters)
    sink.write(*look(0, NG))
    wait_for(lambda: counters.recorded == 1)
    assert stored(tmp_path)[0].image_state == "waiting"
    assert counters.record_state.endswith("1 pictures waiting, verdicts are recorded")
    allowed.append(True)
    wait_for(lambda: counters.images_stored == 1)
    row = stored(tmp_path)[0]
    assert row.image_state == "stored"
    assert (tmp_path / row.image).is_file()
    sink.close()


def test_a_patient_recorder_holds_the_inspection_up_instead_of_skipping(tmp_path):
    counters = RunCounters()
    sink = recorder(tmp_path, counters, wait_when_full=True, queue_frames=1)
    wait_for(lambda: counters.record_state == "recording")
    for index in range(8):
        sink.write(*look(index, NG))
    sink.drain(threading.Event(), pytest.fail)
    sink.close()
    assert counters.images_skipped == 0
    assert [row.image_state for row in stored(tmp_path)] == ["stored"] * 8


def slow_store(monkeypatch, seconds):
    real = pictures.RecordedPictures.store

    def store(self, *arguments):
        time.sleep(seconds)
        return real(self, *arguments)

    monkeypatch.setattr(pictures.RecordedPictures, "store", store)


def test_a_stop_waits_for_slow_pictures_as_long_as_they_become_fewer(tmp_path, monkeypatch):
    slow_store(monkeypatch, 0.15)
    counters, told = RunCounters(), []
    sink = recorder(tmp_path, counters)
    for index in range(12):
        sink.write(*look(index, NG))
    sink.drain(threading.Event(), told.append)
    sink.close()
    assert [row.image_state for row in stored(tmp_path)] == ["stored"] * 12
    assert counters.record_state == "closed"
    assert told and told[0].endswith(" pictures")


def test_a_stop_that_is_told_to_give_up_saves_the_verdicts_and_says_how_many_pictures_it_gave_up(tmp_path, monkeypatch):
    slow_store(monkeypatch, 0.2)
    counters, give_up = RunCounters(), threading.Event()
    sink = recorder(tmp_path, counters)
    for index in range(40):
        sink.write(*look(index, NG))
    threading.Timer(0.3, give_up.set).start()
    sink.drain(give_up, lambda what: None)
    sink.close()
    states = [row.image_state for row in stored(tmp_path)]
    skipped = states.count("skipped")
    assert len(states) == counters.recorded == 40 and skipped > 20
    assert counters.record_state == f"closed: 0 verdicts and {skipped} pictures not saved (given up, as asked)"


def test_a_stop_waits_for_a_lock_that_another_program_holds(tmp_path):
    counters = RunCounters()
    sink = recorder(tmp_path, counters)
    sink.write(*look(0))
    wait_for(lambda: counters.recorded == 1)
    other = sqlite3.connect(tmp_path / DATABASE_NAME, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    sink.write(*look(1))
    wait_for(lambda: counters.record_state.startswith("locked"))
    threading.Timer(1.5, lambda: other.execute("ROLLBACK")).start()
    told = []
    sink.drain(threading.Event(), told.append)
    sink.close()
    assert counters.recorded == 2
    assert told[0].startswith("1 verdicts and 0 pictures (locked: another program holds the records")


def test_pictures_beyond_the_queue_are_skipped_and_counted_but_their_rows_stay(tmp_path):
    counters = RunCounters()
    blocker = tmp_path / "records"
    blocker.write_text("a file in place of the directory")
    sink = recorder(blocker, counters, queue_frames=2)
    for i in range(5):
        sink.write(*look(i, NG))
    assert counters.images_skipped == 3
    blocker.unlink()
    wait_for(lambda: counters.recorded == 5)
    sink.close()
    assert [row.image_state for row in stored(blocker)] == ["stored"] * 2 + ["skipped"] * 3


def test_the_oldest_verdicts_are_lost_beyond_the_queue_and_counted(tmp_path):
    counters = RunCounters()
    blocker = tmp_path / "records"
    blocker.write_text("a file in place of the directory")
    sink = recorder(blocker, counters, queue_verdicts=4)
    for i in range(10):
        sink.write(*look(i, NG))
    assert counters.records_lost == 6
    blocker.unlink()
    wait_for(lambda: counters.recorded == 4)
    sink.close()
    rows = stored(blocker)
    assert [row.frame_index for row in rows] == [6, 7, 8, 9]
    assert len(image_files(blocker)) == 8


def test_another_program_that_writes_and_ends_leaves_a_running_recorder_its_log(tmp_path):
    kept = recorder(tmp_path)
    writing = (
        "import sys; from pathlib import Path; from edge.records.schema import opened_for_writing; "
        "opened_for_writing(Path(sys.argv[1]), 5.0).close()"
    )
    for index in range(3):
        kept.write(*look(index, Decision.OK))
        wait_for(lambda index=index: len(stored(tmp_path)) == index + 1)
        subprocess.run([sys.executable, "-c", writing, str(tmp_path / DATABASE_NAME)], check=True, cwd=ROOT)
    kept.close()
    assert len(stored(tmp_path)) == 3


def test_a_bug_in_the_writer_is_shown_and_recording_goes_on(tmp_path, monkeypatch, caplog):
    real, bugs = RecordDatabase.save, iter([KeyError("a bug"), MemoryError()])

    def save(self, *arguments):
        for bug in bugs:
            raise bug
        return real(self, *arguments)

    counters = RunCounters()
    monkeypatch.setattr(RecordDatabase, "save", save)
    sink = recorder(tmp_path, counters)
    for index in range(3):
        sink.write(*look(index, NG))
    wait_for(lambda: counters.record_state.startswith("an unexpected error: KeyError: 'a bug'; 3 verdicts waiting"))
    wait_for(lambda: counters.recorded == 3)
    sink.close()
    assert [row.frame_index for row in stored(tmp_path)] == [0, 1, 2]
    assert "please report it" in caplog.text


def test_undecodable_names_are_recorded_escaped(tmp_path):
    counters, name = RunCounters(), "parts/caf\udce9.png"
    sink = recorder(tmp_path, counters, run=replace(RUN, source=name, bundle_path=name))
    taken, verdict = look(0, INVALID)
    sink.write(taken, replace(verdict, detail=name))
    sink.close()
    assert [row.detail for row in stored(tmp_path)] == ["parts/caf\\udce9.png"]
    with RecordStore(tmp_path) as store:
        assert store.run(1).info.source == store.run(1).info.bundle_path == "parts/caf\\udce9.png"


def test_a_verdict_that_no_database_takes_is_named_and_counted_and_the_others_are_kept(tmp_path, caplog):
    counters = RunCounters()
    sink = recorder(tmp_path, counters)
    for index in range(5):
        taken, verdict = look(index, NG)
        sink.write(taken, replace(verdict, frame_index=2**70) if index == 2 else verdict)
    sink.close()
    assert [row.frame_index for row in stored(tmp_path)] == [0, 1, 3, 4]
    assert (counters.recorded, counters.records_lost) == (4, 1)
    assert f"the verdict of frame {2**70} cannot be recorded" in caplog.text
    assert len(image_files(tmp_path)) == 8
