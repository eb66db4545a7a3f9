"""What an operator sees of a line: its newest verdict while that is true, and else NO DATA with the reason."""

import json
import time
import urllib.error
import urllib.request
from contextlib import ExitStack

import pytest

from edge.core.datatypes import Decision
from edge.plant.preview import WANTED_NAME
from edge.plant.status_file import STATUS_NAME
from edge.web.line.preview import MOST_VIEWERS
from tests.edge.records.records_fakes import wait_for
from tests.edge.web.web_site import browser, server, settings_of, write_status


def shown(place, name="left"):
    with browser(settings_of(place)) as client:
        answer = client.get(f"/line/{name}")
        assert answer.status_code == 200
        return answer.text


@pytest.mark.parametrize(
    ("decision", "words"),
    [
        (Decision.OK, ["good part", "No defect found"]),
        (Decision.NG, ["bad part", "Defect found", "Put the part aside"]),
        (Decision.INVALID, ["not judged", "The picture is black", "Check the light"]),
    ],
)
def test_the_newest_verdict_stands_there_with_its_reason_in_words(tmp_path, decision, words):
    write_status(tmp_path, decisions=(Decision.OK, decision))
    page = shown(tmp_path)
    assert f'<strong class="word">{decision}</strong>' in page
    assert all(word in page for word in words)
    content = page.split("<main")[1]
    assert "AUROC" not in content and "threshold" not in content and "score" not in content


def test_a_line_that_runs_and_has_seen_nothing_waits(tmp_path):
    write_status(tmp_path, decisions=())
    assert "WAITING" in shown(tmp_path) and "No part was seen yet" in shown(tmp_path)


def test_every_state_that_says_nothing_about_now_is_no_data_with_its_reason(tmp_path):
    for changes, words in (
        ({"monotonic_s": time.monotonic() - 5}, "has said nothing since"),
        ({"monotonic_s": time.monotonic() + 1e6}, "has said nothing since"),
        ({"beat_age_s": 60.0}, "The inspection hangs"),
        ({"beat_age_s": None}, "The line is starting"),
    ):
        write_status(tmp_path, **changes)
        page = shown(tmp_path)
        assert "NO DATA" in page and words in page and '<strong class="word">OK' not in page, changes


def test_a_line_that_was_stopped_says_so(tmp_path):
    write_status(tmp_path)
    file = tmp_path / "left" / "run" / STATUS_NAME
    file.write_text(json.dumps({**json.loads(file.read_text()), "running": False}))
    assert "The line was stopped now" in shown(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", '{"version": 1}', '{"version": 1, "running": true, "monotonic_s": "x"}',
        '{"version": 1, "running": true, "monotonic_s": null, "beat_age_s": 0}',
    ],
)  # fmt: skip
def test_a_status_that_says_nonsense_is_no_data(tmp_path, text):
    (tmp_path / "left" / "run").mkdir(parents=True)
    (tmp_path / "left" / "run" / STATUS_NAME).write_text(text)
    page = shown(tmp_path)
    assert "NO DATA" in page and "cannot be read" in page


def test_a_live_status_with_nonsense_inside_is_no_data(tmp_path):
    write_status(tmp_path)
    file = tmp_path / "left" / "run" / STATUS_NAME
    whole = json.loads(file.read_text())
    for key, value in (("newest", [{}]), ("newest", None), ("alarms", [1]), ("counts", {}), ("info", None)):
        file.write_text(json.dumps({**whole, "monotonic_s": time.monotonic(), "beat_age_s": 0.0, key: value}))
        assert "cannot be read" in shown(tmp_path), key


def test_a_line_that_was_never_started_says_so(tmp_path):
    assert "The line was not started" in shown(tmp_path)


def test_an_unknown_line_is_404_and_names_those_there_are(tmp_path):
    with browser(settings_of(tmp_path, "left", "right")) as client:
        answer = client.get("/line/<script>")
    assert (
        answer.status_code == 404
        and "Its lines: left, right" in answer.text
        and "<script>" not in answer.text.split("<body")[1]
    )


def test_the_overview_has_a_tile_for_each_line(tmp_path):
    write_status(tmp_path, "left", (Decision.NG,))
    with browser(settings_of(tmp_path, "left", "right")) as client:
        page = client.get("/").text
    assert 'class="tile ng"' in page and 'class="tile nodata"' in page


def test_health_is_200_only_if_every_line_is_alive(tmp_path):
    write_status(tmp_path, "left")
    with browser(settings_of(tmp_path, "left", "right")) as client:
        answer = client.get("/healthz")
        assert answer.status_code == 503 and answer.json() == {"lines": {"left": True, "right": False}}
        write_status(tmp_path, "left")
        write_status(tmp_path, "right")
        assert client.get("/healthz").status_code == 200


def test_events_bring_the_new_verdict_and_then_no_data(tmp_path):
    write_status(tmp_path, decisions=(Decision.OK,))
    with server(settings_of(tmp_path)) as address, urllib.request.urlopen(f"{address}/line/left/events") as stream:

        def until(word):
            while True:
                line = stream.readline().decode()
                if line.startswith("data:") and word in json.loads(line[5:]).get("html", ""):
                    return json.loads(line[5:])

        assert until('<strong class="word">OK')["live"]
        write_status(tmp_path, decisions=(Decision.NG,))
        assert until('<strong class="word">NG')["live"]
        # nothing more is written
        assert not until("NO DATA")["live"]


def test_four_see_the_picture_the_fifth_is_refused_and_nobody_costs_nothing(tmp_path):
    write_status(tmp_path, monotonic_s=time.monotonic() + 1.5)
    run = tmp_path / "left" / "run"
    with server(settings_of(tmp_path)) as address:
        where = f"{address}/line/left/preview.mjpg"
        with ExitStack() as stack:
            streams = [stack.enter_context(urllib.request.urlopen(where)) for _ in range(MOST_VIEWERS)]
            assert streams[0].readline() == b"--edge-inspect\r\n"
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(where)
            assert refused.value.code == 503 and b"Too many viewers" in refused.value.read()
            assert (run / WANTED_NAME).exists()

        # those that are gone give their places back
        def free():
            try:
                urllib.request.urlopen(where).close()
            except urllib.error.HTTPError:
                return False
            return True

        wait_for(free)
        time.sleep(0.3)
        touched = (run / WANTED_NAME).stat().st_mtime_ns
        time.sleep(1.1)
        assert (run / WANTED_NAME).stat().st_mtime_ns == touched


def test_who_comes_back_sees_the_picture_although_no_other_part_has_come(tmp_path):
    with server(settings_of(tmp_path)) as address:
        write_status(tmp_path)
        (tmp_path / "left" / "run" / "preview.jpg").write_bytes(b"the picture of the newest part\n")
        with urllib.request.urlopen(f"{address}/line/left/preview.mjpg") as stream:
            for line in (b"--edge-inspect\r\n", b"Content-Type: image/jpeg\r\n", b"\r\n"):
                assert stream.readline() == line
            assert stream.readline() == b"the picture of the newest part\n"


def test_a_line_that_comes_back_is_seen_although_its_picture_is_the_same_file(tmp_path):
    def shown(part):
        return any(part in stream.readline() for _ in range(500))

    write_status(tmp_path, monotonic_s=time.monotonic() + 1.5)
    (tmp_path / "left" / "run" / "preview.jpg").write_bytes(b"the newest part\n")
    with (
        server(settings_of(tmp_path)) as address,
        urllib.request.urlopen(f"{address}/line/left/preview.mjpg") as stream,
    ):
        assert shown(b"the newest part")
        write_status(tmp_path, monotonic_s=time.monotonic() - 5)
        assert shown(b"JFIF")
        write_status(tmp_path, monotonic_s=time.monotonic() + 1.5)
        assert shown(b"the newest part")


def test_a_line_that_is_not_alive_has_no_picture(tmp_path):
    with (
        server(settings_of(tmp_path)) as address,
        urllib.request.urlopen(f"{address}/line/left/preview.mjpg") as stream,
    ):
        assert stream.readline() == b"--edge-inspect\r\n"
        assert stream.readline() == b"Content-Type: image/jpeg\r\n"
