"""Each row is written once, whatever happens to exports, boxes and databases."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import timedelta

import pytest

from benchmarks.studies.fleet.boxes import BEGIN, Box
from benchmarks.studies.fleet.kills import killed_before
from edge.cli import main
from edge.records.schema import DATABASE_NAME
from edge.review.database import REVIEW_NAME
from edge.review.labels import Answer
from tests.edge.fleet.export.boxes_fakes import (
    database,
    exported,
    holds_once,
    keys,
    kill_with_one_of_two_files,
    recorded,
    recorded_keys,
    remove,
    rows,
)
from tests.edge.review.review_fakes import NG, record, say

pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")


def test_what_came_since_the_last_time_is_added(box):
    recorded(box)
    assert exported(box).verdicts == 20
    assert exported(box).verdicts == 0
    recorded(box, 5)
    assert exported(box).verdicts == 5
    assert holds_once(box, recorded_keys(box))


def test_more_rows_than_a_chunk_holds_are_several_files(box, monkeypatch):
    monkeypatch.setattr("edge.fleet.export.sources.MOST_ROWS", 8)
    recorded(box)
    exported(box)
    names = sorted(path.name.split("-", 1)[1].rsplit("-", 1)[0] for path in box.tables.rglob("*.parquet"))
    assert names == ["000000001-000000008", "000000009-000000016", "000000017-000000020"]
    assert holds_once(box, recorded_keys(box))


def test_a_kill_between_any_two_steps_loses_no_row_and_doubles_none(box):
    # two days, so that a chunk is two files
    recorded(box, 20, BEGIN + timedelta(hours=23, minutes=59, seconds=50))
    record(box.directory, [NG])
    say(box.directory, 21, Answer.DEFECT)
    shutil.copytree(box.directory, box.directory.with_name("before"))
    # every 61st line that is executed: all of them take minutes, and were tried
    for step in range(0, 2000, 61):
        if not killed_before(step, lambda: exported(box)):
            break
        if list(box.tables.rglob("verdicts/*/*/*/*.parquet")):
            # others can read what is there at any time
            assert set(keys(box)) < recorded_keys(box) or holds_once(box, recorded_keys(box)), step
        recorded(box, 3)
        exported(box)
        assert holds_once(box, recorded_keys(box)), step
        assert [row["verdict_id"] for row in rows(box, "labels")] == [21], step
        shutil.rmtree(box.directory)
        shutil.rmtree(box.tables)
        shutil.copytree(box.directory.with_name("before"), box.directory)
    assert step > 500


def test_files_that_were_moved_away_after_a_kill_are_not_written_under_other_names(box):
    recorded(box, 20, BEGIN + timedelta(hours=23, minutes=59, seconds=50))
    kill_with_one_of_two_files(box)
    away = box.tables.with_name("away")
    box.tables.rename(away)
    # what comes meanwhile belongs to the next chunk
    recorded(box, 3)
    exported(box)
    for path in away.rglob("*.parquet"):
        shutil.copy(path, box.tables / path.relative_to(away))
    assert holds_once(box, recorded_keys(box))


def test_rows_that_retention_deletes_before_a_killed_export_goes_on_are_not_doubled(box):
    recorded(box, 20, BEGIN + timedelta(hours=23, minutes=59, seconds=50))
    wanted = recorded_keys(box)
    kill_with_one_of_two_files(box)
    with database(box) as connection:
        connection.execute("DELETE FROM verdicts WHERE id <= 8")
    exported(box)
    assert holds_once(box, wanted)


def test_rows_that_were_deleted_before_are_counted(box, capsys):
    recorded(box, 20)
    with database(box) as connection:
        connection.execute("DELETE FROM verdicts WHERE id <= 8")
    assert main(["records", "export", "--parquet", str(box.tables), "--record-dir", str(box.directory)]) == 0
    assert "8 verdicts were deleted by record.max_verdict_age_days before" in capsys.readouterr().out


def test_everything_may_be_deleted(box):
    recorded(box, 20)
    exported(box)
    wanted = keys(box)
    with database(box) as connection:
        connection.execute("DELETE FROM verdicts")
    assert exported(box).verdicts == 0
    recorded(box, 2)
    assert exported(box).verdicts == 2
    assert keys(box).keys() == wanted.keys() | recorded_keys(box)


def test_two_boxes_with_the_same_names_do_not_touch_each_other(box, tmp_path):
    other = Box(box.site, box.line, tmp_path / "other", box.tables)
    for each in (box, other, box):
        recorded(each, 5)
        exported(each)
    assert holds_once(box, recorded_keys(box) | recorded_keys(other))


def test_rows_wait_for_a_picture_that_is_on_its_way(box):
    recorded(box, 10)
    with database(box) as connection:
        connection.execute("UPDATE verdicts SET image_state = 'waiting' WHERE id = 4")
    now = BEGIN + timedelta(minutes=1)
    assert exported(box, utc_now=lambda: now).verdicts == 3
    assert exported(box, utc_now=lambda: now).verdicts == 0
    # the line was killed, and nobody started it again
    assert exported(box, utc_now=lambda: now + timedelta(hours=1)).verdicts == 7
    assert Counter(row["picture_state"] for row in rows(box))["waiting"] == 1


# other databases


def test_another_database_in_the_records_place_is_written_from_its_beginning(box, caplog):
    recorded(box, 20)
    exported(box)
    wanted = recorded_keys(box)
    remove(box, DATABASE_NAME)
    recorded(box, 12)
    assert exported(box).verdicts == 12
    assert "other verdicts stand in the records than before" in caplog.text
    assert holds_once(box, wanted | recorded_keys(box))
    assert exported(box).verdicts == 0


def put_back_from_a_backup(box):
    """To a copy that knows nothing of the newest 6 verdicts, which were exported; keys of all until then."""
    backup = box.directory.with_name("backup")
    shutil.copytree(box.directory, backup)
    recorded(box, 6)
    exported(box)
    known = recorded_keys(box)
    shutil.rmtree(box.directory)
    backup.rename(box.directory)
    return known


def test_a_box_that_is_put_back_from_a_backup_goes_on_where_the_histories_part(box):
    recorded(box, 10)
    exported(box)
    recorded(box, 4)
    # these 4 are exported later than the backup knows
    wanted = put_back_from_a_backup(box)
    recorded(box, 5)
    assert killed_before(150, lambda: exported(box))
    exported(box)
    recorded(box, 5)
    exported(box)
    assert holds_once(box, wanted | recorded_keys(box))


def test_a_backup_of_a_box_whose_export_was_killed_goes_on_without_doubling(box):
    recorded(box, 20, BEGIN + timedelta(hours=23, minutes=59, seconds=50))
    kill_with_one_of_two_files(box)
    # the chunk that was begun ends before these
    recorded(box, 3)
    wanted = put_back_from_a_backup(box)
    recorded(box, 5)
    exported(box)
    assert holds_once(box, wanted | recorded_keys(box))


def test_a_box_put_back_from_a_backup_may_have_deleted_what_both_histories_have(box):
    recorded(box, 10)
    wanted = put_back_from_a_backup(box)
    recorded(box, 5)
    with database(box) as connection:
        connection.execute("DELETE FROM verdicts WHERE id <= 10")
    assert exported(box).verdicts == 5
    assert holds_once(box, wanted | recorded_keys(box))


def test_a_cursor_of_another_database_at_the_same_row_is_not_taken_for_this_one(box):
    backup = box.directory.with_name("backup")
    recorded(box, 5)
    exported(box)
    wanted = recorded_keys(box)
    remove(box, DATABASE_NAME)
    # as far as the cursor of the database before, and not exported when the backup is made
    recorded(box, 5)
    shutil.copytree(box.directory, backup)
    recorded(box, 8)
    exported(box)
    wanted |= recorded_keys(box)
    shutil.rmtree(box.directory)
    backup.rename(box.directory)
    recorded(box, 9, BEGIN + timedelta(hours=23, minutes=59, seconds=55))
    kill_with_one_of_two_files(box, files=3)
    exported(box)
    assert holds_once(box, wanted | recorded_keys(box))


def test_the_files_tell_how_far_it_came_where_review_sqlite_is_lost(box):
    recorded(box, 20)
    exported(box)
    recorded(box, 20, BEGIN + timedelta(hours=23, minutes=59, seconds=50))
    kill_with_one_of_two_files(box, files=2)
    remove(box, REVIEW_NAME)
    recorded(box, 3)
    exported(box)
    assert holds_once(box, recorded_keys(box))
