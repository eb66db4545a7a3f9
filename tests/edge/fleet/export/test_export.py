"""Rows of the records leave as Parquet files: each once, whatever happens in between."""

from __future__ import annotations

import re
import resource
from collections import Counter
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import pytest

from benchmarks.studies.fleet.boxes import BEGIN, Box
from edge.cli import main
from edge.core.files.file_lock import file_lock
from edge.fleet.export.columns import LABELS, VERDICTS
from edge.fleet.export.export import LOCK_NAME
from edge.records.store import RecordStore
from edge.review.database import REVIEW_NAME, ReviewDatabase
from edge.review.labelling import give_label
from edge.review.labels import Answer
from tests.edge.fleet.export.boxes_fakes import (
    database,
    exported,
    holds_once,
    recorded,
    recorded_keys,
    remove,
    rows,
)
from tests.edge.records.records_fakes import START
from tests.edge.review.review_fakes import BY, INVALID, LATER, NG, OK, record, say
from tests.paths import ROOT

pq = pytest.importorskip("pyarrow.parquet", reason="the extra `parquet` is not installed")


# what a row says


def test_a_row_is_what_is_on_record(box):
    record(box.directory, [OK, NG, INVALID], keep_ok_share=1.0)
    assert exported(box).verdicts == 3
    with RecordStore(box.directory) as store:
        stored, run = store.verdicts("ORDER BY id", ()), store.runs()[0]
    for row, verdict in zip(sorted(rows(box), key=lambda row: row["verdict_id"]), stored, strict=True):
        assert (row["run_key"], row["verdict_id"]) == (run.key, verdict.id)
        assert (row["run_id"], row["frame_index"]) == (verdict.run_id, verdict.frame_index)
        assert (row["utc"], row["day"]) == (verdict.utc, f"{verdict.utc:%Y-%m-%d}")
        assert (row["decision"], row["reason"]) == (verdict.decision.value, verdict.reason.value)
        assert (row["score"], row["threshold"], row["sample_p"]) == (verdict.score, verdict.threshold, verdict.sample_p)
        assert row["detail"] == (verdict.detail if verdict.decision is INVALID else "")
        assert (row["picture"], row["picture_sha256"]) == (verdict.image, verdict.image_sha256)
        assert (row["regions"], row["parts"]) == (len(verdict.regions), len(verdict.parts))
        assert row["total_ms"] == pytest.approx(verdict.times.total, rel=1e-6)
        assert (row["source"], row["bundle"], row["software"]) == ("fake camera", "bundles/fake", run.software)


def test_the_page_lists_the_columns_that_a_file_has(box):
    record(box.directory, [NG])
    say(box.directory, 1, Answer.DEFECT)
    exported(box)
    _, verdicts, labels = (ROOT / "docs/fleet/records.md").read_text(encoding="utf-8").split("\n| column |")
    for text, columns, table in ((verdicts, VERDICTS, "verdicts"), (labels, LABELS, "labels")):
        lines = text.split("\n\n")[0].splitlines()[2:]
        told = [name for line in lines for name in re.findall(r"`(\w+)`", line.split("|")[1])]
        (path,) = (box.tables / table).rglob("*.parquet")
        assert told == [column.name for column in columns] == pq.ParquetFile(path).schema_arrow.names


def test_odd_texts_arrive_as_they_are(box):
    texts = ["a,b\"c'd", "Teil/№ 7\\..", "零件 🔩", "=1+1", "a\nb", "NULL", " "]
    recorded(box, len(texts))
    with database(box) as connection:
        for number, text in enumerate(texts):
            connection.execute("UPDATE verdicts SET part_number = ?1, lot = ?1 WHERE id = ?2", (text, number + 1))
    exported(box)
    assert [(row["part_number"], row["lot"]) for row in rows(box)] == [(text, text) for text in texts]


def test_a_password_that_an_older_version_recorded_stays_on_the_box(box):
    recorded(box)
    with database(box) as connection:
        connection.execute("UPDATE runs SET source = 'rtsp://me:hidden@camera/1'")
        connection.execute("UPDATE verdicts SET decision = 'INVALID', detail = 'rtsp://me:hidden@camera/1 is lost'")
    exported(box)
    assert {row["source"] for row in rows(box)} == {"rtsp://***@camera/1"}
    assert not any(b"hidden" in path.read_bytes() for path in box.tables.rglob("*.parquet"))


def test_a_clock_that_is_set_back_puts_rows_into_days_that_are_there_already(box):
    recorded(box, 20, BEGIN + timedelta(days=2, hours=23, minutes=59, seconds=50))
    exported(box)
    recorded(box, 20, BEGIN)
    recorded(box, 20, datetime(1970, 1, 1, tzinfo=timezone.utc))
    exported(box)
    days = Counter(row["day"] for row in rows(box))
    assert days == {"2026-11-03": 10, "2026-11-04": 10, "2026-11-01": 20, "1970-01-01": 20}
    assert all(f"{row['utc']:%Y-%m-%d}" == row["day"] for row in rows(box))


# labels


def test_labels_come_later_and_are_added(box):
    record(box.directory, [OK, NG], keep_ok_share=1.0)
    exported(box)
    say(box.directory, 2, Answer.GOOD)
    assert exported(box).labels == 1
    say(box.directory, 2, Answer.DEFECT, asked=False)
    assert (exported(box).labels, exported(box).labels) == (1, 0)
    first, second = sorted(rows(box, "labels"), key=lambda row: row["label_id"])
    assert (first["label"], first["asked"], first["verdict_id"]) == ("false_reject", True, 2)
    assert (second["label"], second["asked"]) == ("confirm", False)
    (verdict,) = [row for row in rows(box) if row["verdict_id"] == 2]
    assert [(row["store_key"], row["run_key"]) for row in (first, second)] == [
        (verdict["store_key"], verdict["run_key"])
    ] * 2
    assert first["picture"].startswith("labelled/")
    assert str(first["day"]) == f"{START:%Y-%m-%d}"


def test_a_label_names_nobody(box):
    record(box.directory, [NG])
    say(box.directory, 1, Answer.DEFECT, note="ask Berta")
    exported(box)
    (path,) = (box.tables / "labels").rglob("*.parquet")
    assert not [word for word in (b"anna", b"Berta") if word in path.read_bytes()]


def test_labels_of_another_review_sqlite_are_added(box):
    record(box.directory, [NG, NG])
    say(box.directory, 1, Answer.DEFECT)
    exported(box)
    remove(box, REVIEW_NAME)
    with RecordStore(box.directory) as store, ReviewDatabase(box.directory) as reviews:
        give_label(store, reviews, store.verdict(2), Answer.GOOD, BY, LATER + timedelta(minutes=1), asked=True)
    made = exported(box)
    assert (made.verdicts, made.labels) == (2, 1)
    assert [(row["label_id"], row["verdict_id"]) for row in rows(box, "labels")] == [(1, 1), (1, 2)]
    assert exported(box).labels == 0


# what a user meets


def command(box: Box, *more: str) -> int:
    return main(["records", "export", "--parquet", str(box.tables), "--record-dir", str(box.directory), *more])


def test_the_command_says_what_it_wrote(box, capsys):
    record(box.directory, [NG])
    say(box.directory, 1, Answer.DEFECT)
    assert command(box, "--line", "left") == 0
    assert capsys.readouterr().out == f"1 verdicts and 1 labels to {box.tables}, site=site/line=left\n"


def test_a_full_disk_is_told_and_the_next_export_goes_on(box, capsys):
    recorded(box, 10)
    exported(box)
    # a day of 5000 rows is larger than a file may be, the days before and after it are not
    recorded(box, 20, BEGIN + timedelta(days=1))
    recorded(box, 5000, BEGIN + timedelta(days=2))
    recorded(box, 20, BEGIN + timedelta(days=3))
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (90_000, before[1]))
    try:
        assert command(box) == 2
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    error = capsys.readouterr().err
    assert "day=2026-11-03" in error
    assert "cannot be written: File too large" in error
    assert "nothing is lost, the next export writes what is missing" in error
    assert not [path for path in box.tables.rglob("*") if path.name.endswith(".part")]
    assert command(box) == 0
    assert {row["line"] for row in rows(box)} == {"left", "line"}
    assert holds_once(box, recorded_keys(box))


def test_a_file_in_the_folders_place_is_told(box, capsys):
    recorded(box)
    box.tables.write_text("not a folder")
    assert command(box) == 2
    error = capsys.readouterr().err
    assert f"{box.tables}" in error
    assert "fix: make room, or give another folder; nothing is lost" in error


def test_a_damaged_file_that_is_needed_is_named(box, capsys):
    recorded(box)
    (store_key,) = {key for key, _, _ in recorded_keys(box)}
    folder = box.tables / "verdicts" / "site=site" / "line=line" / "day=2026-11-01"
    folder.mkdir(parents=True)
    # of another history, so its rows must be looked at
    (folder / f"{store_key}-000000001-000000999-0123abcd.parquet").write_bytes(b"PAR1 cut off")
    assert command(box) == 2
    assert "0123abcd.parquet cannot be read" in capsys.readouterr().err


def test_a_second_export_at_the_same_time_is_refused(box, capsys):
    recorded(box)
    with file_lock(box.directory / LOCK_NAME):
        assert command(box) == 2
    assert "another process exports" in capsys.readouterr().err
    assert not box.tables.exists()


def test_records_of_an_older_version_are_left_as_they_are(box, capsys):
    recorded(box)
    with database(box) as connection:
        connection.execute("PRAGMA user_version = 8")
        connection.execute("ALTER TABLE verdicts DROP COLUMN sample_p")
    assert command(box) == 2
    assert "of an older version of this software (schema 8" in capsys.readouterr().err
    assert main(["report", "--record-dir", str(box.directory)]) == 0
    assert command(box) == 0
    assert {row["sample_p"] for row in rows(box)} == {None}


def test_without_records_nothing_is_made(tmp_path, capsys):
    assert main(["records", "export", "--parquet", str(tmp_path / "o"), "--record-dir", str(tmp_path / "r")]) == 2
    assert "no records at" in capsys.readouterr().err
    assert not list(Path(tmp_path).iterdir())


def test_a_line_that_keeps_no_records_has_none_to_export(tmp_path, capsys):
    (tmp_path / "config.yaml").write_text("record:\n  directory: null\n")
    arguments = ["--parquet", str(tmp_path / "o"), "--config", str(tmp_path / "config.yaml")]
    assert main(["records", "export", *arguments]) == 2
    assert "record.directory is null: what is exported comes from the records" in capsys.readouterr().err


def test_from_the_beginning_fills_another_folder_and_no_folder_twice(box, tmp_path, capsys):
    recorded(box)
    assert command(box) == 0
    assert command(box, "--from-beginning") == 2
    assert "holds verdicts of these records, which would be there twice" in capsys.readouterr().err
    again = Box(box.site, "line", box.directory, tmp_path / "again")
    assert command(again, "--from-beginning") == 0
    assert holds_once(again, recorded_keys(box))
    # the first folder is as it was, and goes on without a gap
    recorded(box, 4)
    assert command(again) == 0
    assert holds_once(again, recorded_keys(box))


def test_a_line_with_a_number_for_a_name_keeps_it(tmp_path):
    duckdb = pytest.importorskip("duckdb", reason="duckdb is not installed")
    box = Box("01", "007", tmp_path / "records", tmp_path / "tables")
    recorded(box, 3)
    exported(box)
    kinds = "hive_types = {'site': VARCHAR, 'line': VARCHAR, 'day': DATE}"
    view = f"SELECT DISTINCT site, line, day FROM read_parquet(?, {kinds})"
    found = duckdb.execute(view, [str(box.tables / "verdicts/*/*/*/*.parquet")]).fetchall()
    assert found == [("01", "007", date(2026, 11, 1))]
