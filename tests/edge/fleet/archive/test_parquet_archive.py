"""Parquet of `records export` is judged as the records are; the pictures lie where those are."""

import shutil
import sqlite3
from contextlib import closing
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from edge.core.config import Settings
from edge.core.errors import RecordError, UsageError
from edge.fleet.archive.recorded import Skipped
from edge.fleet.export.export import export_records
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore
from edge.review.database import REVIEW_NAME
from edge.review.labels import Label
from tests.edge.fleet.archive.archives import files, judged, results

pa = pytest.importorskip("pyarrow", reason="pyarrow is not installed (the extra parquet)")


def exported(records: Path, tables: Path) -> Path:
    """The tables that a line writes of its records, its cursor aside: the archive stays as it is."""
    settings = {"line": {"name": "left"}, "mqtt": {"site": "hall-3"}, "record": {"directory": str(records)}}
    export_records(Settings.model_validate(settings), tables)
    (records / REVIEW_NAME).unlink()
    return tables


def label(tables: Path, run_key: str, labels: list[tuple[int, str]]) -> None:
    """Labels in the order in which they were given."""
    import pyarrow.parquet as pq

    folder = tables / "labels" / "site=hall-3" / "line=left" / "day=2026-03-20"
    folder.mkdir(parents=True)
    at = datetime.fromisoformat("2026-03-20T08:00:00+00:00")
    columns = {
        "label_id": list(range(1, len(labels) + 1)),
        "run_key": [run_key] * len(labels),
        "verdict_id": [verdict_id for verdict_id, _ in labels],
        "utc": pa.array([at + timedelta(seconds=n) for n in range(len(labels))], pa.timestamp("us", "UTC")),
        "label": [name for _, name in labels],
        "picture": pa.array([None] * len(labels), pa.string()),
    }
    pq.write_table(pa.table(columns), folder / "1.parquet")


@pytest.fixture
def tables(archive, tmp_path):
    return exported(archive, tmp_path / "tables")


def test_parquet_gives_the_verdicts_that_the_records_give(archive, tables, strict, tmp_path):
    of_records = judged(archive, strict, tmp_path / "a")
    of_tables = judged(tables, strict, tmp_path / "b", pictures=archive)

    def new(made):
        return [
            (each.recorded.number, each.recorded.utc, each.decision, each.score, each.flip) for each in results(made)
        ]

    assert new(of_tables) == new(of_records)
    assert {(each.recorded.line, each.recorded.product) for each in results(of_tables)} == {("hall-3/left", "plate")}
    assert next(iter(files(of_tables.wanted.results.folder))).startswith(
        "verdicts/site=hall-3/line=left/day=2026-03-14/"
    )


def test_site_and_line_lead_to_the_pictures_of_each_line(archive, tables, strict, tmp_path):
    shutil.copytree(archive, tmp_path / "plant" / "hall-3" / "left")
    made = judged(tables, strict, tmp_path / "out", pictures=tmp_path / "plant" / "{site}" / "{line}")
    assert made.judged == 15
    assert {each.outcome.value for each in results(made)} == {"judged"}


def test_the_newest_label_of_a_verdict_counts(archive, tables, strict, tmp_path):
    with RecordStore(archive) as store:
        (key,) = {run.key for run in store.runs()[:1]}
    label(tables, key, [(1, "ok_confirmed"), (2, "escape"), (1, "escape"), (2, "withdrawn")])
    made = judged(tables / "verdicts", strict, tmp_path / "out", pictures=archive)
    assert made.archive.shards[0].labels() == {(key, 1): Label.ESCAPE}


def test_pictures_of_several_cameras_are_left_out_as_of_the_records(archive, strict, tmp_path):
    with closing(sqlite3.connect(archive / DATABASE_NAME)) as connection, connection:
        connection.execute("UPDATE verdicts SET cameras = '[]' WHERE id <= 2")
    made = judged(exported(archive, tmp_path / "tables"), strict, tmp_path / "out", pictures=archive)
    assert made.skipped == {Skipped.SEVERAL_CAMERAS: 2} and len(results(made)) == 13


def test_days_are_chosen_by_the_folders(archive, tables, strict, tmp_path):
    made = judged(tables, strict, tmp_path / "out", pictures=archive, since="2026-03-16")
    assert {each.recorded.day for each in results(made)} == {"2026-03-16"}


def test_a_folder_above_the_archive_may_have_any_name(archive, tables, strict, tmp_path):
    moved = shutil.copytree(tables / "verdicts", tmp_path / "labels" / "of mine")
    assert judged(moved, strict, tmp_path / "out", pictures=archive).judged == 15


def test_a_file_with_many_rows_is_several_shards(archive, tables, strict, tmp_path, monkeypatch):
    monkeypatch.setattr("edge.fleet.archive.parquet_files.ROWS_PER_SHARD", 2)
    made = judged(tables, strict, tmp_path / "out", pictures=archive)
    assert [shard.verdicts for shard in made.archive.shards] == [2, 2, 1] * 3
    assert len(results(made)) == 15


def test_without_the_pictures_folder_it_is_said_what_to_give(tables, strict, tmp_path):
    with pytest.raises(UsageError, match="does not hold the pictures") as refused:
        judged(tables, strict, tmp_path / "out")
    assert "--pictures" in refused.value.fix


def test_records_and_their_parquet_in_one_archive_are_refused(archive, strict, tmp_path):
    exported(archive, archive / "tables")
    with pytest.raises(UsageError, match="the same verdicts may be in both"):
        judged(archive, strict, tmp_path / "out")


@pytest.mark.parametrize("data", [b"PAR1 and nothing else", b""])
def test_a_damaged_file_is_named(data, archive, tables, strict, tmp_path):
    next(tables.rglob("*.parquet")).write_bytes(data)
    with pytest.raises(RecordError, match="cannot be read"):
        judged(tables, strict, tmp_path / "out", pictures=archive)


def test_parquet_of_something_else_is_named(archive, tables, strict, tmp_path):
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"a": [1]}), tables / "other.parquet")
    with pytest.raises(RecordError, match="is no table of verdicts: it lacks run_key"):
        judged(tables, strict, tmp_path / "out", pictures=archive)
