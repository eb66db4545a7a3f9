"""Pictures and shift reports: what is on record, by number, in local time, and a clear page where it is not."""

import csv
import io
import sqlite3
import time
from datetime import datetime, timedelta, timezone

import cv2
import numpy as np
import pytest

from edge.capture.group.joined import Joiner
from edge.core.alarms import Alarm
from edge.core.datatypes import Decision
from edge.inspection.group.inspector import group_inspector
from edge.records.schema import DATABASE_NAME
from edge.web.records.gallery import PER_PAGE
from edge.web.records.pictures import SMALL_PX
from edge.web.site.lines import WebLine
from edge.web.site.shifts import Shifts
from edge.web.site.tally import Tally
from tests.edge.records.records_fakes import frame, inspector, look, recorder, stored
from tests.edge.web.web_site import browser, settings_of


@pytest.fixture
def utc_zone(monkeypatch):
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def record(place, decisions, begin=datetime(2026, 3, 14, 8, tzinfo=timezone.utc), size=(24, 32), alarms=()):
    """These verdicts of line left, a second apart."""
    run = recorder(place / "left" / "records", wait_when_full=True, utc_now=lambda: begin + timedelta(hours=1))
    for index, decision in enumerate(decisions):
        run.write(*look(index, decision, size=size, utc=begin + timedelta(seconds=index)))
    for alarm in alarms:
        run.note(alarm)
    run.close()
    return stored(place / "left" / "records")


def test_the_gallery_shows_the_newest_pictures_and_goes_on_by_number(tmp_path):
    verdicts = record(tmp_path, [Decision.NG] * 30 + [Decision.OK] * 5)
    with browser(settings_of(tmp_path)) as client:
        page = client.get("/gallery").text
        assert page.count('class="card ng"') == PER_PAGE
        assert page.index(verdicts[29].number) < page.index(verdicts[28].number)
        older = page.split('rel="next"')[0].rsplit('href="', 1)[1].split('"')[0].replace("&amp;", "&")
        page = client.get(older).text
        assert page.count('class="card ng"') == 30 - PER_PAGE and 'rel="next"' not in page
        assert verdicts[0].number in page and verdicts[29].number not in page


def test_the_gallery_shows_what_is_asked_for(tmp_path):
    decisions = [Decision.NG, Decision.INVALID, Decision.OK, Decision.NG]
    record(tmp_path, decisions)
    with browser(settings_of(tmp_path)) as client:
        for query, ng, invalid in (
            ("decision=NG", 2, 0), ("decision=INVALID", 0, 1), ("reason=black", 0, 1), ("reason=frozen", 0, 0),
            ("decision=OK", 0, 0), ("from=2026-03-14T08:00:02%2B00:00", 1, 0), ("from=2026-03-15", 0, 0),
            ("from=1990-01-01", 2, 1), ("decision=NG&reason=black", 0, 0), ("before_id=2", 1, 0),
        ):  # fmt: skip
            page = client.get(f"/gallery?{query}").text
            assert (page.count('class="card ng"'), page.count('class="card invalid"')) == (ng, invalid), query
        assert "There is no picture like this" in client.get("/gallery?reason=frozen").text


@pytest.mark.parametrize(
    "query",
    ["decision=BAD", "reason=nonsense", "from=yesterday", "from=0001-01-01T00:00:00%2B12:00", "before_id=-1",
     "before_id=1;drop", "before_id=99999999999999999999", "line=right"],
)  # fmt: skip
def test_a_gallery_that_cannot_be_is_a_clear_page(tmp_path, query):
    record(tmp_path, [Decision.NG])
    with browser(settings_of(tmp_path)) as client:
        answer = client.get(f"/gallery?{query}")
    assert answer.status_code in (400, 404) and "No such" in answer.text


def test_a_picture_comes_by_the_number_of_its_verdict(tmp_path):
    (verdict,) = record(tmp_path, [Decision.NG], size=(500, 1100))
    folder = tmp_path / "left" / "records"
    with browser(settings_of(tmp_path)) as client:
        overlay = client.get(f"/picture/left/{verdict.number}")
        assert overlay.content == (folder / verdict.overlay).read_bytes()
        assert overlay.headers["content-type"] == "image/jpeg" and "private" in overlay.headers["cache-control"]
        assert client.get(f"/picture/left/{verdict.number}/plain").content == (folder / verdict.image).read_bytes()
        small = client.get(f"/picture/left/{verdict.number}?small=1").content
        assert cv2.imdecode(np.frombuffer(small, np.uint8), cv2.IMREAD_COLOR).shape[1] == SMALL_PX
        assert client.get(f"/picture/left/{verdict.number}?small=1").content == small
        page = client.get(f"/verdict/left/{verdict.number}").text
        assert "Defect found" in page and f'src="/picture/left/{verdict.number}"' in page


@pytest.mark.parametrize(
    "number", ["1-000099", "2-000000", "1", "x", "..%2f..%2fverdicts.sqlite", "1-000000.png", "9" * 40, "1-" + "9" * 30]
)
def test_a_number_that_no_verdict_has_is_404(tmp_path, number):
    record(tmp_path, [Decision.NG])
    with browser(settings_of(tmp_path)) as client:
        for path in (f"/picture/left/{number}", f"/verdict/left/{number}"):
            answer = client.get(path)
            assert answer.status_code == 404 and "Traceback" not in answer.text, path


def test_a_number_of_another_line_is_404(tmp_path):
    (verdict,) = record(tmp_path, [Decision.NG])
    with browser(settings_of(tmp_path, "left", "right")) as client:
        assert client.get(f"/picture/left/{verdict.number}").status_code == 200
        answer = client.get(f"/picture/right/{verdict.number}")
        assert answer.status_code == 503 and "has recorded nothing" in answer.text


def test_a_picture_that_is_gone_damaged_or_leads_away_is_said_to_be(tmp_path):
    (verdict,) = record(tmp_path, [Decision.NG])
    file = tmp_path / "left" / "records" / verdict.overlay
    with browser(settings_of(tmp_path)) as client:
        file.write_bytes(b"no picture")
        assert client.get(f"/picture/left/{verdict.number}?small=1").status_code == 404
        file.unlink()
        answer = client.get(f"/picture/left/{verdict.number}")
        assert answer.status_code == 404 and "was deleted" in answer.text
        secret = tmp_path / "secret.jpg"
        secret.write_bytes(b"secret")
        file.symlink_to(secret)
        answer = client.get(f"/picture/left/{verdict.number}")
        assert answer.status_code == 404 and b"secret" not in answer.content.split(b"Verdict")[0][-40:]


def test_a_good_part_without_a_picture_says_so(tmp_path):
    (verdict,) = record(tmp_path, [Decision.OK])
    with browser(settings_of(tmp_path)) as client:
        assert "No picture is kept" in client.get(f"/verdict/left/{verdict.number}").text
        assert client.get(f"/picture/left/{verdict.number}").status_code == 404


def test_a_shift_report_counts_the_shift_and_nothing_else(tmp_path, utc_zone):
    begin = datetime(2026, 3, 14, 13, 59, 58, tzinfo=timezone.utc)
    alarm = Alarm(1, "burst", "8 of 10 rejected", "look at the parts", 8, "", begin, begin, 0, begin, 3)
    record(tmp_path, [Decision.NG, Decision.NG, Decision.OK, Decision.INVALID, Decision.OK], begin, alarms=[alarm])
    with browser(settings_of(tmp_path)) as client:
        early, late = (client.get(f"/report?shift=2026-03-14-{number}").text for number in (1, 2))
        rows = list(csv.DictReader(io.StringIO(client.get("/report.csv?shift=2026-03-14-2").text)))
    assert "Saturday 14 March 2026, 06:00 to 14:00" in early
    assert "2 parts in this shift" in early and "3 parts in this shift" in late
    assert "8 of 10 rejected" in early and "8 of 10 rejected" not in late
    assert "The picture is black" in late and "Defect found" not in late
    assert [row["decision"] for row in rows] == ["OK", "INVALID", "OK"]
    assert rows[0]["time"] == "2026-03-14T14:00:00.000+00:00" and rows[1]["score"] == ""


def test_a_shift_that_nobody_worked_is_empty_and_a_nonsense_one_is_404(tmp_path):
    record(tmp_path, [Decision.OK])
    with browser(settings_of(tmp_path)) as client:
        assert "No part was recorded" in client.get("/report?shift=2020-01-01-1").text
        assert client.get("/report.csv?shift=2020-01-01-1").text.count("\n") == 1
        for name in (
            "2020-01-01-4",
            "2020-01-01-0",
            "2020-13-01-1",
            "x",
            "0001-01-01-1",
            "9999-12-31-3",
            "0001-01-01-1",
            "2020-01-01-",
        ):
            assert client.get(f"/report?shift={name}").status_code == 404, name


def test_no_database_an_older_one_and_a_foreign_one_are_clear_pages_and_stay_as_they_are(tmp_path):
    with browser(settings_of(tmp_path)) as client:
        paths = ("/gallery", "/report", "/report.csv", "/engineer/drift")
        for path in paths:
            answer = client.get(path)
            assert answer.status_code == 503 and "has recorded nothing" in answer.text, path
        assert client.get("/line/left").status_code == 200
        assert client.get("/engineer/disk").status_code == 200
        record(tmp_path, [Decision.OK])
        file = tmp_path / "left" / "records" / DATABASE_NAME
        with sqlite3.connect(file) as connection:
            connection.execute("PRAGMA user_version = 2")
        connection.close()
        for path in paths:
            answer = client.get(path)
            assert answer.status_code == 503 and "older version" in answer.text, path
        with sqlite3.connect(file) as connection:
            assert connection.execute("PRAGMA user_version").fetchone() == (2,)
            connection.execute("PRAGMA user_version = 99")
        connection.close()
        assert "newer one" in client.get("/gallery").text
        file.write_bytes(b"this is no database at all, but a text of some length")
        assert client.get("/gallery").status_code == 503


def test_a_tally_follows_what_is_recorded_and_begins_anew_with_another_database(tmp_path):
    begin = datetime(2026, 3, 14, 8, 14, 58, tzinfo=timezone.utc)
    tally = Tally(WebLine("left", None, tmp_path / "left" / "records"))
    span = begin - timedelta(minutes=14, seconds=58), begin + timedelta(hours=1, seconds=2)
    record(tmp_path, [Decision.NG, Decision.OK, Decision.OK, Decision.INVALID], begin)
    quarters = tally.quarters(*span)
    assert [(at.minute, sum(each.counts.values())) for at, each in sorted(quarters.items())] == [(0, 2), (15, 2)]
    record(tmp_path, [Decision.NG], begin)
    whole = tally.total(*span)
    assert [whole.of(decision) for decision in Decision] == [2, 2, 1]
    assert whole.scored == 4 and whole.highest > 2
    assert tally.total(span[1], span[1] + timedelta(hours=1)).counts == {}
    for file in (tmp_path / "left" / "records").glob(f"{DATABASE_NAME}*"):
        file.unlink()
    record(tmp_path, [Decision.OK], begin)
    assert tally.total(*span).of(Decision.OK) == 1


def test_shifts_follow_one_another_without_a_gap_also_when_clocks_change(monkeypatch):
    monkeypatch.setenv("TZ", "Europe/Vienna")
    time.tzset()
    try:
        shifts = Shifts(["06:00", "14:00", "22:00"])
        shift = shifts.at(datetime(2026, 10, 24, 12, tzinfo=timezone.utc))
        names, lengths = [], []
        for _ in range(6):
            names.append(shift.name)
            lengths.append((shift.end - shift.start) // timedelta(hours=1))
            assert shifts.named(shift.name) == shift and shifts.before(shifts.after(shift)) == shift
            assert shifts.after(shift).start == shift.end
            shift = shifts.after(shift)
        assert names[0] == "2026-10-24-2" and lengths == [8, 9, 8, 8, 8, 8]
        night = shifts.at(datetime(2026, 10, 24, 23, tzinfo=timezone.utc))
        assert night.name == "2026-10-24-3" and night.title.endswith("22:00 to 06:00")
    finally:
        monkeypatch.undo()
        time.tzset()


def test_one_shift_goes_round_the_clock():
    shift = Shifts(["00:00"]).at(datetime(2026, 1, 1, 12, tzinfo=timezone.utc))
    assert shift.end - shift.start == timedelta(days=1)


def test_the_page_of_a_verdict_says_what_each_camera_of_a_group_saw(tmp_path):
    frames = [frame(0), frame(0, defect=True)]
    group = group_inspector([("left", inspector()), ("right", inspector())])
    joined = Joiner(("left", "right")).joined(0, frames)
    run = recorder(tmp_path / "left" / "records", wait_when_full=True)
    run.write(joined, group.inspect(joined))
    run.close()
    with browser(settings_of(tmp_path)) as client:
        page = client.get("/verdict/left/1-000000").text
        assert "<th>camera left</th><td>OK: score " in page and "<th>camera right</th><td>NG: score " in page
        plain = client.get("/picture/left/1-000000/plain").content
        shown = cv2.imdecode(np.frombuffer(plain, np.uint8), cv2.IMREAD_COLOR)
        # the two pictures beside each other, as they were taken
        assert shown.shape[1] == 2 * shown.shape[0] * 32 // 24
