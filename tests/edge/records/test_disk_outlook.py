"""How long the disk lasts, from what the last day wrote."""

import json
from datetime import timedelta

import pytest

from edge.core.config import RecordSettings
from edge.core.datatypes import Decision
from edge.records.disk_outlook import disk_outlook, outlook_line
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore
from tests.edge.records.records_fakes import START, look, recorder
from tests.system.command_line import edge_here


@pytest.fixture
def directory(tmp_path):
    """Ten NG pictures an hour for ten hours, and one OK part two days before."""
    sink = recorder(tmp_path)
    sink.write(*look(0, utc=START - timedelta(days=2)))
    for number in range(100):
        sink.write(*look(1 + number, Decision.NG, utc=START + timedelta(minutes=6 * number)))
    sink.close()
    return tmp_path


def outlook(directory, free, now=START + timedelta(hours=10), **settings):
    with RecordStore(directory) as store:
        return disk_outlook(store, RecordSettings(**settings), now, lambda path: free)


def stored_bytes(directory):
    pictures = sum(path.stat().st_size for path in (directory / "images").rglob("*") if path.is_file())
    return pictures + (directory / DATABASE_NAME).stat().st_size * 100 / 101


def test_the_rate_is_what_the_last_day_wrote_pictures_and_rows(directory):
    found = outlook(directory, 50 * stored_bytes(directory), max_image_mb=None)
    assert found.a_day == pytest.approx(stored_bytes(directory), rel=0.01)
    assert found.days_to_full == pytest.approx(50, rel=0.01)
    assert "the disk is full in 50 days" in found.text()


def test_a_limit_that_comes_first_is_named(directory):
    found = outlook(directory, 10**12, max_image_mb=1000)
    assert found.days_to_limit < found.days_to_full
    assert "record.max_image_mb" in found.text()
    assert "deleted from now on" in outlook(directory, 10**12, max_image_mb=0.001).text()


def test_nothing_written_for_a_day_and_records_too_young_are_told_apart(directory, tmp_path_factory):
    quiet = outlook(directory, 10**9, now=START + timedelta(days=9))
    assert quiet.days_to_full is None
    assert quiet.text() == "1.0 GB free; nothing was written in the last 24 h"
    young = tmp_path_factory.mktemp("young")
    sink = recorder(young)
    sink.write(*look(0, Decision.NG))
    sink.close()
    assert outlook(young, 10**9, now=START + timedelta(minutes=5)) is None


def test_no_records_are_no_reason_to_fail_at_the_end_of_a_run(tmp_path):
    assert outlook_line(RecordSettings(directory=str(tmp_path)), START) is None
    assert outlook_line(RecordSettings(directory=None), START) is None


def test_report_and_summary_tell_it(directory, monkeypatch, capsys):
    monkeypatch.chdir(directory)
    assert "disk: " in edge_here(capsys, "report", "--record-dir", directory).stdout
    told = json.loads(edge_here(capsys, "report", "--record-dir", directory, "--json").stdout)
    assert told["disk"].keys() == {"free_mb", "mb_a_day", "rate_over_hours", "days_to_full", "days_to_limit"}
    line = outlook_line(RecordSettings(directory=str(directory)), START + timedelta(hours=10))
    assert line.startswith("disk        ")
