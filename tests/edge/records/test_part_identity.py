"""A part's number and lot, from its frame into records, JSON, names, overlays and status, and found again by them."""

import io
import json
import sqlite3
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Part
from edge.core.picture_names import owner_of, picture_place
from edge.monitoring.json_lines import JsonLines
from edge.plant.mqtt.messages import verdict_message
from edge.plant.state import LineInfo, LineStateKeeper
from edge.plant.status_file import status_bytes
from edge.records.overlay import draw_overlay
from edge.records.schema import DATABASE_NAME, MIGRATIONS
from edge.records.store import RecordStore
from edge.records.verdict_search import find_verdict
from tests.edge.records.records_fakes import START, image_files, look, recorder, stored

NG, OK, INVALID = Decision.NG, Decision.OK, Decision.INVALID
HOSTILE = ["../../etc/passwd", "a/b\\c", "😀 lot", "x.overlay", "x.jpg", "x.png.part", "4.5", "a~b", "…", "é", "9" * 64]


def part_look(index, decision, number="", lot="", recipe=""):
    taken, verdict = look(index, decision)
    return replace(taken, part=Part.told(number, lot, index + 1)), replace(verdict, recipe=recipe)


def record(directory, *looks):
    """What `--json` says of these, each recorded."""
    out = io.StringIO()
    sink = recorder(directory)
    lines = JsonLines(out, RunCounters(), lambda why: None, lambda: sink.filed)
    for each in looks:
        sink.write(*each)
        lines.write(*each)
    sink.close()
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_number_lot_and_recipe_are_in_record_json_message_and_status(tmp_path):
    taken, verdict = part_look(0, NG, "4711", "L7", "plates")
    (told,) = record(tmp_path, (taken, verdict))
    (row,) = stored(tmp_path)
    keeper = LineStateKeeper(LineInfo("left", "camera", "plate", "openvino", "int8"), RunCounters())
    keeper.write(taken, verdict)
    keeper.close()
    (newest,) = json.loads(status_bytes(keeper.state))["newest"]
    for values in (told, json.loads(verdict_message(row, "camera")), vars(row), newest):
        assert (values["part_number"], values["lot"], values["recipe"]) == ("4711", "L7", "plates")
    assert (row.part, newest["trigger"], newest["total_ms"]) == (Part("4711", "L7"), 1, verdict.times.total)


def test_where_nobody_tells_the_part_it_is_empty(tmp_path):
    (told,) = record(tmp_path, look(0, NG))
    assert (told["part_number"], told["lot"], told["recipe"]) == ("", "", "")
    assert "~" not in Path(told["picture"]).name


@pytest.mark.parametrize("number", HOSTILE)
@pytest.mark.parametrize("lot", ["", "L7", *HOSTILE[:4]])
def test_names_of_pictures_hold_the_part_and_lead_back_to_it(tmp_path, number, lot):
    _, name = picture_place(START, 12, 4711, NG, Part.told(number, lot))
    assert set(name) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.+~") and len(name) < 120
    for end in (".png", ".jpg", ".overlay.jpg", ".jpg.overlay.jpg", ".png.part"):
        owner = owner_of(name + end)
        assert (owner.run, owner.frame_index) == ("12", 4711)
        plain = number.isascii() and number.replace(".", "").isalnum() and number[-1].isdigit() and len(number) < 33
        assert owner.number == number if plain else set(owner.number) <= set(name)
        assert owner.lot == ("" if not lot else owner.lot) and (lot != "L7" or owner.lot == "L7")


def test_pictures_of_hostile_numbers_are_stored_found_and_not_swept_away(tmp_path):
    looks = [part_look(index, NG, number, number) for index, number in enumerate(HOSTILE)]
    told = record(tmp_path, *looks)
    files = image_files(tmp_path)
    # another run sweeps what no row names
    record(tmp_path, look(0, OK))
    assert image_files(tmp_path) == files and len(files) == 2 * len(HOSTILE)
    with RecordStore(tmp_path) as store:
        for each in told:
            found = find_verdict(store, Path(each["picture"]).name)
            assert (found.number, found.part_number) == (each["id"], each["part_number"])
            assert find_verdict(store, Path(found.overlay).name) == found


def test_a_picture_that_comes_again_keeps_its_parts_name(tmp_path):
    _, first = picture_place(START, 1, 0, NG, Part("A-2"))
    _, second = picture_place(START, 1, 0, NG, Part("A-2"), again=2)
    assert first != second and {owner_of(f"{name}.png").number for name in (first, second)} == {"A-2"}


def test_parts_of_different_numbers_share_no_picture_of_a_camera_that_stands_still(tmp_path):
    taken, verdict = look(0, INVALID)
    sink = recorder(tmp_path)
    for index, number in enumerate(["a", "a", "b"]):
        sink.write(replace(taken, index=index, part=Part(number)), replace(verdict, frame_index=index))
        until = time.monotonic() + 8
        while not (tmp_path / DATABASE_NAME).is_file() or len(stored(tmp_path)) <= index:
            assert time.monotonic() < until
            time.sleep(0.01)
    sink.close()
    first, again, other = stored(tmp_path)
    assert first.image == again.image != other.image
    assert owner_of(Path(other.image).name).number == "b"


def test_the_overlay_names_the_part(monkeypatch):
    written = []
    monkeypatch.setattr("edge.records.overlay._put", lambda banner, text, *place: written.append(text))
    taken, verdict = look(1, NG, size=(300, 1200))
    draw_overlay(replace(taken, part=Part("4711", "L7")), verdict, None, "12-000001")
    assert any("12-000001   part 4711   lot L7   " in text for text in written)


def test_a_database_of_the_version_before_gets_the_columns_and_can_be_searched_by_them(tmp_path):
    record(tmp_path, look(0, NG))
    today = sqlite3.connect(tmp_path / DATABASE_NAME)
    older = sqlite3.connect(tmp_path / "older.sqlite")
    for statements in MIGRATIONS[:6]:
        for statement in statements:
            older.execute(statement)
    for table in ("runs", "verdicts"):
        columns = ", ".join(row[1] for row in older.execute(f"PRAGMA table_info({table})"))
        for row in today.execute(f"SELECT {columns} FROM {table}").fetchall():
            older.execute(f"INSERT INTO {table} ({columns}) VALUES ({', '.join('?' * len(row))})", row)
    older.execute("PRAGMA user_version = 6")
    older.commit()
    for connection in (today, older):
        connection.close()
    for path in tmp_path.glob(f"{DATABASE_NAME}*"):
        path.unlink()
    (tmp_path / "older.sqlite").rename(tmp_path / DATABASE_NAME)
    record(tmp_path, part_look(1, NG, "4711", "L7", "plates"))
    before, after = stored(tmp_path)
    assert (before.part_number, before.lot, before.recipe) == ("", "", "")
    assert (after.part_number, after.lot, after.recipe) == ("4711", "L7", "plates")
    with RecordStore(tmp_path) as store:
        for name in ("part_number", "lot"):
            ((*_, plan),) = store.query(
                f"EXPLAIN QUERY PLAN SELECT * FROM verdicts WHERE {name} <> '' AND {name} = 'x'"
            )
            assert "USING INDEX verdicts_by_" in plan
