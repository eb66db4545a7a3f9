"""The questions of docs/fleet/records.md, asked as they stand in the page."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from benchmarks.studies.fleet.questions import questions
from edge.core.config import Settings
from edge.fleet.export.export import export_records
from edge.records.store import RecordStore
from edge.review.labelling import labels_in
from edge.review.labels import Answer
from edge.review.quality import quality_records
from edge.review.sample import Group, Scope, drawn_parts, queue
from tests.edge.review.review_fakes import BAND, INVALID, NG, OK, record, say
from tests.paths import ROOT

pytest.importorskip("pyarrow", reason="the extra `parquet` is not installed")
duckdb = pytest.importorskip("duckdb", reason="duckdb, which the page asks with, is not installed")

FIRST_DAY = datetime(2026, 11, 10, 8, tzinfo=timezone.utc)


def asked(name: str) -> list[dict]:
    """The rows of the question with this name, in a new DuckDB beside the folder `tables`."""
    with duckdb.connect() as connection:
        for question in questions():
            found = connection.execute(question.sql)
            if question.name == name:
                names = [column[0] for column in found.description]
                return [dict(zip(names, row, strict=True)) for row in found.fetchall()]
    raise AssertionError(f"the page asks no {name!r}")


def exported(directory, line="left", site="hall-3"):
    settings = Settings.model_validate(
        {"line": {"name": line}, "mqtt": {"site": site}, "record": {"directory": str(directory)}}
    )
    return export_records(settings, directory.parent / "tables")


def label_first(directory, group: Group, answers: list[Answer]) -> None:
    """Those that the queue asks for first, as a person answers them."""
    with RecordStore(directory) as store:
        order = [each for each in queue(drawn_parts(store, {}, Scope())) if each.group is group]
    for each, answer in zip(order, answers, strict=False):
        say(directory, each.key.verdict_id, answer)


@pytest.fixture(scope="module")
def recorded_fleet(tmp_path_factory):
    """Two lines: `left` with labels, a changed probability and a band; `right`, from three days later on."""
    folder = tmp_path_factory.mktemp("fleet")
    left, right = folder / "left", folder / "right"
    record(left, [*[OK] * 60, *[BAND] * 10, *[NG] * 12, *[INVALID] * 3], begin=FIRST_DAY, keep_ok_share=0.5)
    record(left, [*[OK] * 60, *[NG] * 4], begin=FIRST_DAY + timedelta(days=1), seed=1, keep_ok_share=0.9)
    record(right, [OK, NG, INVALID, INVALID], begin=FIRST_DAY + timedelta(days=3))
    label_first(left, Group.OK, [Answer.GOOD, Answer.DEFECT, Answer.UNSURE, *[Answer.GOOD] * 20])
    label_first(left, Group.BAND, [Answer.DEFECT, *[Answer.GOOD] * 4])
    label_first(left, Group.NG, [*[Answer.GOOD] * 3, *[Answer.DEFECT] * 5])
    with RecordStore(left) as store:
        waiting = list(queue(drawn_parts(store, labels_in(left), Scope())))
    # looked up, and far back in the queue: a sample it is not
    say(left, max((each for each in waiting if each.group is Group.OK), key=lambda each: each.place).key.verdict_id,
        Answer.DEFECT, asked=False)  # fmt: skip
    # a person changed her mind, and took another label back
    with RecordStore(left) as store:
        labelled = [key.verdict_id for key, review in labels_in(left).items() if review.asked]
    say(left, labelled[0], Answer.DEFECT, asked=False)
    exported(left)
    exported(right, "right")
    return left


@pytest.fixture
def fleet(recorded_fleet, monkeypatch):
    """The records of `left`, from where the page's questions find the tables."""
    monkeypatch.chdir(recorded_fleet.parent)
    return recorded_fleet


def test_every_block_of_the_page_is_a_question(fleet):
    page = (ROOT / "docs/fleet/records.md").read_text(encoding="utf-8")
    assert len(questions()) == page.count("```sql") == 10


def test_parts_are_counted_by_line_and_day(fleet):
    first, second, third = asked("parts by line and day")
    assert (first["line"], first["day"], first["verdicts"]) == ("left", FIRST_DAY.date(), 85)
    assert (first["ok"], first["ng"], first["invalid"], first["review"]) == (70, 12, 3, 10)
    assert (second["day"], second["verdicts"]) == (FIRST_DAY.date() + timedelta(days=1), 64)
    assert (third["site"], third["line"], third["verdicts"]) == ("hall-3", "right", 4)


def test_invalid_parts_have_their_share_by_reason(fleet):
    right, left = asked("why parts were not judged")
    assert (right["line"], right["reason"], right["invalid"], right["share"]) == ("right", "black", 2, 0.5)
    assert left["share"] == pytest.approx(3 / 149)


def test_latency_has_its_percentiles(fleet):
    rows = asked("latency")
    assert [(row["line"], row["backend"]) for row in rows] == [("left", "fake"), ("left", "fake"), ("right", "fake")]
    assert all(0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"] for row in rows)


def test_escape_and_overkill_are_those_of_the_report(fleet):
    with RecordStore(fleet) as store:
        told = quality_records(store, labels_in(fleet), Scope()).total()
    (left,) = [row for row in asked("escapes and overkill") if row["line"] == "left"]
    assert told.escape.wrong >= 2
    assert told.unsure == 1
    assert left["escape"] == pytest.approx(told.escape.value, rel=1e-12)
    assert (left["escapes"], left["ok_looked_at"]) == (told.escape.wrong, told.escape.looked_at)
    assert left["overkill"] == pytest.approx(told.overkill.value, rel=1e-12)
    assert (left["false_rejects"], left["ng_looked_at"]) == (told.overkill.wrong, told.overkill.looked_at)
    assert left["inspected"] == told.overkill.parts


def test_all_boxes_of_a_bundle_version_have_rates_together(fleet):
    with duckdb.connect() as connection:
        for question in questions():
            if question.name == "escapes and overkill":
                break
            connection.execute(question.sql)
        ((bundle, inspected, escape, *_),) = connection.execute(
            question.sql.replace("site, line", "bundle_sha256")
        ).fetchall()
    assert (bundle, inspected) == ("b" * 64, 146 + 2)
    assert 0 < escape < 1


def test_rates_that_nobody_knows_are_null(fleet):
    (right,) = [row for row in asked("escapes and overkill") if row["line"] == "right"]
    assert (right["escape"], right["overkill"]) == (None, None)


def test_a_box_whose_scores_rise_comes_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    boxes = {"steady": [1.0] * 6, "rising": [1.0, 1.0, 1.0, 1.1, 1.3, 1.7]}
    for line, levels in boxes.items():
        directory = tmp_path / line
        for day, level in enumerate(levels):
            record(directory, [OK] * 100, begin=FIRST_DAY + timedelta(days=day))
            _scale_scores(directory, day, level)
        exported(directory, line)
    rows = asked("drift")
    assert (rows[0]["line"], rows[0]["day"]) == ("rising", FIRST_DAY.date() + timedelta(days=5))
    assert rows[0]["change"] == pytest.approx(1.7, rel=0.01)
    assert all(row["change"] == pytest.approx(1, rel=0.01) for row in rows if row["line"] == "steady")


def _scale_scores(directory, day: int, level: float) -> None:
    """What a part that changes slowly would have scored."""
    with sqlite3.connect(directory / "verdicts.sqlite") as database:
        database.execute("UPDATE verdicts SET score = ? WHERE run_id = ?", (level, day + 1))


def test_a_box_without_verdicts_is_silent(fleet):
    silent = asked("silent boxes")
    assert [row["line"] for row in silent] == ["left", "right"]
    assert silent[0]["last_verdict"] == (FIRST_DAY + timedelta(days=1, seconds=63)).replace(tzinfo=None)
    assert silent[0]["silent_for"] - silent[1]["silent_for"] == timedelta(days=2) - timedelta(seconds=60)


def test_no_row_is_there_twice(fleet):
    assert asked("rows that are there twice") == [{"twice": 0}]
    (some,) = fleet.parent.glob("tables/verdicts/*/line=right/*/*.parquet")
    copy = some.with_name("copy.parquet")
    shutil.copy(some, copy)
    assert asked("rows that are there twice") == [{"twice": 4}]
    copy.unlink()


def test_the_copy_with_fewer_files_answers_as_the_tables_do(fleet):
    with duckdb.connect() as connection:
        # how long a box has been silent changes from one question to the next
        asked_twice = [each for each in questions() if not each.is_view and each.name != "silent boxes"]
        for question in questions():
            if question.name == "fewer files":
                before = [connection.execute(each.sql).fetchall() for each in asked_twice]
            connection.execute(question.sql)
        after = [connection.execute(each.sql).fetchall() for each in asked_twice]
    assert after == before
    assert len(list(Path("compact").rglob("*.parquet"))) == 3
    assert before[0]
