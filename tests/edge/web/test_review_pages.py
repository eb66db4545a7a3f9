"""Review, quality and recalibration in the browser: blind answers, plain rates, and one command with fixed words."""

from __future__ import annotations

import html
import random
import re
import threading
from datetime import datetime, timedelta, timezone

import pytest

from edge.bundles.bundle import load_bundle
from edge.bundles.history import read_history
from edge.core.config import Settings
from edge.core.datatypes import Decision
from edge.records.store import RecordStore
from edge.review.database import ReviewDatabase
from edge.review.labelling import labels_in, take_back
from edge.review.labels import Answer, Label
from edge.web.review.queues import Queues
from edge.web.review.rates import parts_for
from tests.edge.records.records_fakes import look, recorder, wait_for
from tests.edge.review.review_fakes import BY, say
from tests.edge.web.web_site import browser, csrf_of, settings_of
from tests.small_bundle import bad_part, good_part, make_bundle, write_picture
from tests.system.command_line import edge_here

OK, NG, INVALID = Decision.OK, Decision.NG, Decision.INVALID


def record(tmp_path, decisions, share=1.0):
    """Recorded an hour ago and later, with pictures of accepted parts."""
    begin = datetime.now(timezone.utc) - timedelta(hours=1)
    run = recorder(
        tmp_path / "left" / "records", wait_when_full=True, keep_ok_share=share, draw=random.Random(0).random,
        utc_now=lambda: datetime.now(timezone.utc),
    )  # fmt: skip
    for index, decision in enumerate(decisions):
        run.write(*look(index, decision, utc=begin + timedelta(seconds=index), size=(24, 32)))
    run.drain(threading.Event(), lambda _: None)
    run.close()


def asked_for(page: str) -> str:
    """The number of the part that a page asks about."""
    return re.search(r'action="/review/left/([0-9-]+)" class="answers"', page)[1]


def labels(tmp_path) -> dict[int, Label]:
    return {key.verdict_id: review.label for key, review in labels_in(tmp_path / "left" / "records").items()}


def test_a_part_is_shown_without_its_verdict_and_after_the_answer_with_it(tmp_path):
    record(tmp_path, [NG])
    with browser(settings_of(tmp_path)) as client:
        page = client.get("/review").text
        assert asked_for(page) == "1-000000" and "/picture/left/1-000000/plain" in page
        for word in ("score", "NG", "reject", "overlay", "limit"):
            assert word not in page.split("<main")[1].lower().replace("not rejected", ""), word
        form = {"csrf": csrf_of(page), "answer": "good"}
        after = client.post("/review/left/1-000000", data=form, headers={"x-part": "1"}).text
        assert "<html" not in after and "good, but rejected" in after and "Score" in after
        assert "There is nothing to look at" in after
    (review,) = labels_in(tmp_path / "left" / "records").values()
    assert (review.label, review.asked, review.line) == (Label.FALSE_REJECT, True, "left")
    assert review.who.startswith("engineer at ")


def test_without_a_script_the_forms_work_as_well(tmp_path):
    record(tmp_path, [NG, OK])
    with browser(settings_of(tmp_path)) as client:
        first = asked_for(page := client.get("/review").text)
        answer = client.post(f"/review/left/{first}", data={"csrf": csrf_of(page), "answer": "unsure"})
        assert answer.status_code == 303 and answer.headers["location"] == f"/review?line=left&last={first}"
        page = client.get(answer.headers["location"]).text
        assert "not sure" in page and asked_for(page) != first
        undone = client.post(f"/review/left/{first}", data={"csrf": csrf_of(page), "answer": "undo"})
        assert asked_for(client.get(undone.headers["location"]).text) == first
    assert labels(tmp_path) == {}


def test_what_is_no_answer_is_refused(tmp_path):
    record(tmp_path, [NG, INVALID])
    with browser(settings_of(tmp_path)) as client:
        csrf = csrf_of(client.get("/review").text)
        for path, form, status in (
            ("/review/left/1-000000", {"answer": "perhaps"}, 400),
            ("/review/left/1-000000", {}, 400),
            ("/review/left/1-000000", {"answer": "undo"}, 409),
            ("/review/left/1-000001", {"answer": "good"}, 409),
            ("/review/left/9-999999", {"answer": "good"}, 404),
            ("/review/left/..%2F..", {"answer": "good"}, 404),
            ("/review/right/1-000000", {"answer": "good"}, 404),
            ("/verdict/left/1-000001/label", {"answer": "good"}, 409),
        ):
            assert client.post(path, data={"csrf": csrf, **form}).status_code == status, (path, form)
        assert client.post("/review/left/1-000000", data={"answer": "good"}).status_code == 403
        assert client.post(
            "/review/left/1-000000", data={"csrf": csrf, "answer": "good"}, headers={"origin": "http://elsewhere"}
        ).status_code == 403  # fmt: skip
    assert labels(tmp_path) == {}


def test_a_part_that_was_looked_up_is_labelled_on_its_own_page_and_seen_in_the_gallery(tmp_path):
    record(tmp_path, [OK] * 30)
    with browser(settings_of(tmp_path)) as client:
        asked = asked_for(client.get("/review").text)
        page = client.get("/verdict/left/1-000011").text
        form = {"csrf": csrf_of(page), "answer": "defect"}
        assert client.post("/verdict/left/1-000011/label", data=form).headers["location"] == "/verdict/left/1-000011"
        page = client.get("/verdict/left/1-000011").text
        assert "defective, but accepted" in page and "engineer at " in page
        assert client.get("/gallery?decision=OK").text.count("defective, but accepted") == 1
        (review,) = labels_in(tmp_path / "left" / "records").values()
        assert not review.asked
        # it was not asked for, so it says nothing of the rate
        assert "Nobody has looked at accepted parts" in client.get("/quality").text
        assert asked_for(client.get("/review").text) == asked
        client.post("/verdict/left/1-000011/label", data={**form, "answer": "undo"})
        assert "Was the line right?" in client.get("/verdict/left/1-000011").text


def test_a_labelled_part_is_seen_when_its_picture_has_gone_from_the_images(tmp_path):
    record(tmp_path, [NG])
    with browser(settings_of(tmp_path)) as client:
        form = {"csrf": csrf_of(client.get("/review").text), "answer": "defect"}
        client.post("/review/left/1-000000", data=form)
        plain = client.get("/picture/left/1-000000/plain").content
        late = datetime.now(timezone.utc) + timedelta(days=3)
        sink = recorder(tmp_path / "left" / "records", max_image_age_days=1, utc_now=lambda: late)
        wait_for(lambda: not list((tmp_path / "left" / "records" / "images").rglob("*.png")))
        sink.close()
        assert client.get("/picture/left/1-000000/plain").content == plain
        assert client.get("/picture/left/1-000000").headers["content-type"] == "image/jpeg"
        assert '<figure class="large">' in client.get("/verdict/left/1-000000").text


def test_the_queue_knows_what_others_said_at_once_and_new_parts_after_some_seconds(tmp_path):
    record(tmp_path, [NG] * 6)
    folder, clock, now = tmp_path / "left" / "records", [0.0], datetime.now(timezone.utc)
    queues = Queues(timedelta(days=30), lambda: clock[0])

    def waiting():
        with RecordStore(folder) as store, ReviewDatabase(folder) as reviews:
            return {each.key.verdict_id for each in queues.drawn(store, reviews, now) if each.review is None}

    assert waiting() == {1, 2, 3, 4, 5, 6}
    say(folder, 3, Answer.GOOD)
    assert waiting() == {1, 2, 4, 5, 6}
    with RecordStore(folder) as store, ReviewDatabase(folder) as reviews:
        take_back(store, reviews, store.verdict(3), BY, now)
    record(tmp_path, [NG])
    assert waiting() == {1, 2, 3, 4, 5, 6}
    clock[0] = 30
    assert waiting() == {1, 2, 3, 4, 5, 6, 7}
    # another database in its place begins its numbers anew
    for file in folder.glob("verdicts.sqlite*"):
        file.unlink()
    record(tmp_path, [NG])
    assert waiting() == {1}


def test_quality_says_in_words_what_is_known_and_how_much_is_missing(tmp_path):
    record(tmp_path, [OK] * 40 + [NG] * 4)
    with browser(settings_of(tmp_path)) as client:
        page = client.get("/quality").text
        assert page.count("not known") >= 2 and "Nobody has looked at accepted parts" in page
        csrf = csrf_of(client.get("/review").text)
        for _ in range(44):
            number = asked_for(client.get("/review").text)
            answer = "defect" if int(number[2:]) in (7, 40, 41, 42) else "good"
            client.post(f"/review/left/{number}", data={"csrf": csrf, "answer": answer})
        page = html.unescape(re.sub(r"\s+", " ", client.get("/quality?days=7").text))
        assert "About 2.5 % of the accepted parts are defective" in page
        assert "About 2.3 % of all parts are good and were rejected" in page
        assert "Of the 40 accepted parts that were looked at, 1 is wrong" in page
        assert page.count("<svg") == 2 and " style=" not in page
        assert "<td>accepted parts</td><td>40</td><td>300</td>" in page
        assert client.get("/quality?days=8").status_code == 400
        assert "every picture of the last 30 days" in client.get("/review").text


def test_the_number_of_parts_for_a_rate_is_the_one_of_the_confidence_bound():
    assert [parts_for(rate, 0) for rate in (0.03, 0.01, 0.003, 0.001)] == [99, 299, 998, 2995]
    assert parts_for(0.01, 1) == 473


def test_accepted_parts_that_are_never_drawn_are_said_to_be_missing(tmp_path):
    record(tmp_path, [OK] * 3, share=0.0)
    with browser(settings_of(tmp_path)) as client:
        for path in ("/review", "/quality"):
            assert "record.keep_ok_share" in client.get(path).text


def test_without_enough_labels_recalibration_says_what_is_missing(tmp_path, bundle_path):
    record(tmp_path, [NG])
    settings = settings_of(tmp_path)
    lines = [replace_bundle(line, bundle_path) for line in settings.web.lines]
    with browser(settings.model_copy(update={"web": settings.web.model_copy(update={"lines": lines})})) as client:
        page = client.get("/engineer/recalibrate").text
        assert "nobody has labelled a part" in page and "Begin" not in page
        # whoever reads a page gives no command
        assert "look at parts" in page and "edge-inspect review" not in page and "--from-records" not in page
        csrf = csrf_of(client.get("/review").text)
        answer = client.post("/engineer/recalibrate", data={"csrf": csrf, "line": "left"})
        assert answer.status_code == 409 and "nobody has labelled" in answer.text


def replace_bundle(line, bundle):
    return line.model_copy(update={"bundle": str(bundle)})


@pytest.fixture
def taught(tmp_path, monkeypatch, capsys):
    """A line with a real bundle, and records of rejected and accepted parts that a person found good."""
    monkeypatch.chdir(tmp_path)
    make_bundle(tmp_path / "plate")
    (tmp_path / "shift").mkdir()
    for seed in range(900, 932):
        part = good_part(seed) if seed < 922 else bad_part(seed)
        write_picture(tmp_path / "shift" / f"{seed}.png", part)
    (tmp_path / "config.yaml").write_text("record: {keep_ok_share: 1}\n")
    edge_here(capsys, "--camera", "shift", "--bundle", "plate")
    with RecordStore(tmp_path / "records") as store:
        numbers = [verdict.number for verdict in store.verdicts("ORDER BY id", ())]
    for number in numbers:
        assert edge_here(capsys, "review", number, "good").returncode == 0
    return Settings.model_validate(
        {"line": {"name": "left"}, "record": {"directory": str(tmp_path / "records")},
         "inspection": {"bundle": str(tmp_path / "plate")}}
    )  # fmt: skip


def test_a_recalibration_is_started_watched_and_told_and_stands_in_the_audit(taught, tmp_path):
    before = load_bundle(tmp_path / "plate").sha256
    with browser(taught) as client:
        page = client.get("/engineer/recalibrate").text
        assert "good, but rejected<strong>10</strong>" in page and page.count('class="card ng"') == 10
        form = {"csrf": csrf_of(page), "line": "left"}
        assert client.post("/engineer/recalibrate", data=form).status_code == 303
        running = client.get("/engineer/recalibrate", headers={"x-part": "1"}).text
        assert "data-running" in running and "<html" not in running
        assert client.post("/engineer/recalibrate", data=form).status_code == 409, "one at a time"
        over = {}
        wait_for(lambda: "data-running" not in over.setdefault(0, "data-running") or _asked(client, over), 60)
        assert over[0].count("data-running") == 0
    entry = read_history(tmp_path / "plate")[-1]
    assert entry.samples.folder.startswith(f"labels in {tmp_path / 'records'}, 10 false rejects and 20 confirmed")
    after = load_bundle(tmp_path / "plate").sha256
    assert entry.refused == (after == before)
    assert ("The new version is made" in over[0]) == (after != before)
    with ReviewDatabase(tmp_path / "records") as reviews:
        changes = [(change.role, change.action, change.before, change.after) for change in reviews.changes(5)]
    said = "refused, " if after == before else ""
    assert changes == [
        ("engineer", "recalibrate", before[:16], said + after[:16]),
        ("engineer", "recalibrate begun", before[:16], "10 false rejects and 20 confirmed parts"),
    ]


def _asked(client, over) -> bool:
    over[0] = client.get("/engineer/recalibrate", headers={"x-part": "1"}).text
    return "data-running" not in over[0]


def test_a_recalibration_that_is_stopped_leaves_everything_as_it_was(taught, tmp_path):
    before = load_bundle(tmp_path / "plate").sha256
    with browser(taught) as client:
        form = {"csrf": csrf_of(client.get("/engineer/recalibrate").text), "line": "left"}
        client.post("/engineer/recalibrate", data=form)
        assert client.post("/engineer/recalibrate", data={**form, "end": "1"}).status_code == 303
        over = {}
        wait_for(lambda: _asked(client, over), 30)
        assert "It was stopped" in over[0] and before[:16] in over[0]
    assert load_bundle(tmp_path / "plate").sha256 == before
