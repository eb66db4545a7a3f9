"""A verdict has one number: in JSON, in the names of its pictures, in the report, and for `replay`."""

import io
import json
import os
import shutil
import sqlite3
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.core.errors import RecordError
from edge.core.local_time import local_from_text
from edge.core.picture_names import owner_of, picture_place
from edge.monitoring.json_lines import JsonLines
from edge.records.overlay import draw_overlay
from edge.records.report import build_report
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore
from edge.records.verdict_search import find_verdict, rejected_verdicts, verdict_line
from tests.edge.records.records_fakes import START, image_files, look, recorder, stored
from tests.system.command_line import edge_here

NG, OK, INVALID = Decision.NG, Decision.OK, Decision.INVALID


@pytest.fixture
def berlin(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def run_of(directory: Path, *decisions: Decision) -> list[dict]:
    """What JSON told of a run with these verdicts."""
    out, sink = io.StringIO(), recorder(directory)
    told = JsonLines(out, RunCounters(), lambda why: None, lambda: sink.filed)
    for index, decision in enumerate(decisions):
        taken, verdict = look(index, decision)
        sink.write(taken, verdict)
        told.write(taken, verdict)
    sink.close()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_json_names_the_verdict_its_time_its_picture_and_its_places(tmp_path, berlin):
    run_of(tmp_path, OK)
    ok, ng, invalid = run_of(tmp_path, OK, NG, INVALID)
    assert [one["id"] for one in (ok, ng, invalid)] == ["2-000000", "2-000001", "2-000002"]
    assert ok["picture"] is None
    for one in (ng, invalid):
        assert Path(one["picture"]).is_file()
        assert Path(one["picture"]).name.startswith(f"{one['id']}-")
    assert ng["time"] == "2026-03-14T09:00:01.000+01:00"
    assert ng["regions"][0].keys() == {"x", "y", "width", "height", "area_px", "peak"}


def test_without_records_json_has_no_number():
    out = io.StringIO()
    JsonLines(out, RunCounters(), lambda why: None).write(*look(0))
    assert json.loads(out.getvalue())["id"] is None


def test_while_the_records_are_out_of_reach_json_has_no_number_and_inspection_does_not_wait_long(tmp_path):
    (tmp_path / "records").write_text("a file where the folder should be")
    sink = recorder(tmp_path / "records")
    sink.write(*look(0))
    assert sink.filed is None
    sink.close()


def test_number_picture_overlay_and_row_id_find_the_same_verdict(tmp_path):
    run_of(tmp_path, OK, NG)
    told = run_of(tmp_path, OK, NG, NG)[2]
    with RecordStore(tmp_path) as store:
        found = find_verdict(store, told["id"])
        assert (found.run_id, found.frame_index, found.number) == (2, 2, "2-000002")
        for name in ("2-2", told["picture"], str(tmp_path / found.overlay), Path(told["picture"]).name, str(found.id)):
            assert find_verdict(store, name) == found
        long = "9" * 20
        # with more digits than a row can have, and than Python reads
        too_long = (long, f"2-{long}", f"{long}-2", f"2-{long}-090000+0100-NG.png", "9" * 5000, f"2-{'9' * 5000}")
        for absent in ("\udcfc.png", "2-9", "9-000001", "nothing.png", "9-000001-090000+0100-NG.png", *too_long):
            with pytest.raises(RecordError, match="no verdict"):
                find_verdict(store, absent)


def test_names_that_are_no_pictures_of_the_store_are_refused_in_words(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    run_of(tmp_path / "records", NG)
    for name in ("%.png", "1-000000-090000+0100-NG", "9" * 30, "1-" + "9" * 30, "0", "-1", "three"):
        refused = edge_here(capsys, "replay", name)
        assert refused.returncode == 2, refused.stderr
        assert "fix: " in refused.stderr


def test_a_copied_picture_is_found_by_what_its_name_says(tmp_path):
    told = run_of(tmp_path / "records", OK, NG)[1]
    copied = shutil.copy(told["picture"], tmp_path)
    with RecordStore(tmp_path / "records") as store:
        assert find_verdict(store, str(copied)).number == told["id"]


def test_names_of_earlier_versions_lead_to_their_verdict(tmp_path):
    run_of(tmp_path, OK, NG)
    row = stored(tmp_path)[1]
    with RecordStore(tmp_path) as store:
        key = store.run(1).key
    earlier = f"images/2026-03-14/080001-{key}-000000001-NG.png"
    (tmp_path / earlier).parent.mkdir(exist_ok=True)
    (tmp_path / row.image).rename(tmp_path / earlier)
    with sqlite3.connect(tmp_path / DATABASE_NAME) as database:
        database.execute("UPDATE verdicts SET image = ? WHERE id = ?", (earlier, row.id))
    with RecordStore(tmp_path) as store:
        for name in (earlier, str(tmp_path / earlier), Path(earlier).with_suffix(".overlay.jpg").name):
            assert find_verdict(store, name).id == row.id


def test_names_in_the_hour_that_comes_twice_are_unique_and_in_the_order_of_frames(berlin):
    # 02:30 comes at 00:30 and at 01:30 UTC
    moments = [datetime(2026, 10, 25, 0, 30, tzinfo=timezone.utc) + timedelta(minutes=20 * n) for n in range(6)]
    names = ["/".join(picture_place(moment, 12, 4711 + n, NG)) for n, moment in enumerate(moments)]
    assert names == sorted(set(names))
    assert names[0] == "2026-10-25/12-004711-023000+0200-NG"
    assert names[3] == "2026-10-25/12-004714-023000+0100-NG"
    owner = owner_of("12-004711-023000+0200-NG.overlay.jpg")
    assert (owner.run, owner.frame_index) == ("12", 4711)


def test_a_lost_database_never_gives_a_number_again(tmp_path):
    run_of(tmp_path, NG)
    before = image_files(tmp_path)
    for path in tmp_path.glob("*.sqlite*"):
        path.unlink()
    assert run_of(tmp_path, NG)[0]["id"] == "2-000000"
    run_of(tmp_path, OK)
    assert set(before) < set(image_files(tmp_path))


def test_the_report_lists_rejected_verdicts_with_number_time_score_threshold_and_picture(tmp_path, berlin):
    run_of(tmp_path, NG)
    _, second, _ = run_of(tmp_path, OK, NG, INVALID)
    with RecordStore(tmp_path) as store:
        everything = [one.number for one in rejected_verdicts(store, build_report(store))]
        (one,) = rejected_verdicts(store, build_report(store, run_id=2))
        line = verdict_line(store, one)
    assert everything == ["1-000000", "2-000001"]
    assert line == (
        f"2-000001  2026-03-14 09:00:01+01:00  score {second['score']:.4f}, threshold 2.0000, 1 place  "
        f"{second['picture']}"
    )


def test_report_and_replay_take_the_number_through_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    told = run_of(tmp_path / "records", OK, NG)[1]
    listed = edge_here(capsys, "report", "--ng")
    assert told["id"] in listed.stdout and "records/images/" in listed.stdout
    assert json.loads(edge_here(capsys, "report", "--ng", "--json").stdout)["ng"][0]["id"] == told["id"]
    assert "ng" not in json.loads(edge_here(capsys, "report", "--json").stdout)
    # the bundle of these records is not there, but the verdict was found
    assert "bundles/fake" in edge_here(capsys, "replay", told["id"]).stderr
    os.chdir("/")
    assert "bundles/fake" in edge_here(capsys, "replay", told["picture"]).stderr


def test_times_in_files_are_shown_in_local_time_and_what_is_no_time_as_it_is(berlin):
    assert local_from_text("2026-03-14T08:00:00+00:00") == "2026-03-14 09:00:00+01:00"
    assert local_from_text("yesterday") == "yesterday"


def test_the_overlay_shows_number_and_local_time(berlin, monkeypatch):
    written = []
    monkeypatch.setattr("edge.records.overlay._put", lambda banner, text, *place: written.append(text))
    taken, verdict = look(1, NG, size=(300, 900), utc=START)
    draw_overlay(taken, verdict, None, "12-004711")
    assert any("2026-03-14 09:00:00+01:00" in text and "12-004711" in text for text in written)
