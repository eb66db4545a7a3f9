"""The pages in a real browser: what an operator does and sees."""

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from edge.core.datatypes import Decision
from edge.core.files.atomic_file import write_atomic
from edge.pages.pictures import picture_bytes
from edge.records.store import RecordStore
from edge.review.labelling import labels_in
from edge.review.labels import Label
from tests.edge.records.records_fakes import look, recorder, wait_for
from tests.edge.web.test_teach_pages import PATH as TEACH
from tests.edge.web.test_teach_pages import fill, running_line, samples
from tests.edge.web.web_site import server, settings_of, write_status
from tests.paths import ROOT
from tests.small_bundle import good_part

pytestmark = pytest.mark.browser

SCREENS = [((1920, 1080), "light"), ((1280, 800), "dark"), ((390, 844), "light")]
IN_VIEW = "e => { const box = e.getBoundingClientRect(); return box.left >= 0 && box.right <= innerWidth; }"


@pytest.fixture(scope="module")
def chromium():
    """Debian's, driven by playwright; nothing is downloaded."""
    sync_api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: `pip install playwright`"
    )
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium is installed: `apt install chromium`")
    with sync_api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def opened(chromium, address, size=(1280, 800), scheme="light"):
    """A page, and what its console complained about."""
    context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, color_scheme=scheme)
    page, complaints = context.new_page(), []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(address)
    try:
        yield page, complaints
    finally:
        context.close()


@contextmanager
def living(place, decisions=(Decision.OK,)):
    """A line whose status stays young; set `said` to let it say something else."""
    said, ended = [decisions], threading.Event()

    def work():
        while not ended.wait(0.2):
            write_status(place, decisions=said[0])

    write_status(place, decisions=decisions)
    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield said
    finally:
        ended.set()
        thread.join()


def word_of(page):
    return page.evaluate("document.querySelector('.word').innerText")


def records(place, decisions):
    run = recorder(place / "left" / "records", wait_when_full=True)
    for index, decision in enumerate(decisions):
        run.write(*look(index, decision, size=(240, 320)))
    run.close()


def test_the_verdict_changes_before_the_operators_eyes_and_is_gone_within_three_seconds(tmp_path, chromium):
    with server(settings_of(tmp_path)) as address:
        with living(tmp_path) as said, opened(chromium, f"{address}/line/left") as (page, _):
            wait_for(lambda: word_of(page) == "OK")
            said[0] = (Decision.OK, Decision.NG)
            wait_for(lambda: word_of(page) == "NG")
            height = page.evaluate("document.querySelector('.word').getBoundingClientRect().height")
            assert height > 800 / 4
        with opened(chromium, f"{address}/line/left") as (page, _):
            wait_for(lambda page=page: word_of(page) == "NO DATA", 3.0)
            assert not page.locator(".preview img").is_visible()


def test_a_page_that_has_lost_its_server_shows_no_verdict(tmp_path, chromium):
    with living(tmp_path):
        with server(settings_of(tmp_path)) as address:
            context = chromium.new_context()
            page = context.new_page()
            page.goto(f"{address}/line/left")
            wait_for(lambda: word_of(page) == "OK")
        page.wait_for_selector("body.cut", timeout=4000)
        assert not page.locator(".word").is_visible() and page.locator(".cutoff").is_visible()
        assert "NO DATA" in page.locator(".cutoff").inner_text()
        context.close()


@pytest.mark.parametrize(("size", "scheme"), SCREENS, ids=lambda value: str(value).replace(", ", "x"))
def test_every_page_fits_its_screen_and_breaks_no_rule_of_the_policy(tmp_path, chromium, size, scheme):
    records(tmp_path, [Decision.NG, Decision.OK, Decision.INVALID] * 3)
    paths = ("/line/left", "/gallery", "/report?shift=2026-03-14-1", "/verdict/left/1-000000", "/engineer/drift",
             "/engineer/disk", "/login")  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(living(tmp_path))
        address = stack.enter_context(server(settings_of(tmp_path)))
        page, complaints = stack.enter_context(opened(chromium, address, size, scheme))
        for path in paths:
            page.goto(address + path)
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path
            assert page.evaluate(f"[...document.querySelectorAll('nav [aria-current]')].every({IN_VIEW})"), path
            assert complaints == [], path


def test_the_picture_beside_a_verdict_is_of_its_part_also_when_no_other_comes(tmp_path, chromium):
    """Chromium shows a picture of a stream only when it sees that the next one begins."""
    pixel = (
        "(() => { const image = document.querySelector('.preview img'), canvas = document.createElement('canvas');"
        " canvas.width = canvas.height = 1; const pen = canvas.getContext('2d'); pen.drawImage(image, 0, 0, 1, 1);"
        " return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3); })()"
    )
    run = tmp_path / "left" / "run"
    with ExitStack() as stack:
        stack.enter_context(living(tmp_path))
        address = stack.enter_context(server(settings_of(tmp_path)))
        page, _ = stack.enter_context(opened(chromium, f"{address}/line/left"))
        wait_for((run / "preview.wanted").exists)
        for place, colour in enumerate([(200, 0, 0), (0, 200, 0), (0, 0, 200)]):
            write_atomic(run / "preview.jpg", picture_bytes(np.full((40, 60, 3), colour[::-1], np.uint8), ".jpg"))
            # before the server sends the same picture again
            wait_for(
                lambda place=place: np.argmax(page.evaluate(pixel)) == place and max(page.evaluate(pixel)) > 90, 1.8
            )


def test_a_script_in_the_text_of_a_page_would_not_run(tmp_path, chromium):
    with living(tmp_path), server(settings_of(tmp_path)) as address, opened(chromium, address) as (page, complaints):
        page.evaluate(
            "() => { const bad = document.createElement('button'); bad.setAttribute('onclick', 'document.title = 1');"
            " document.body.append(bad); bad.click(); }"
        )
        assert page.title() != "1" and any("Content Security Policy" in text for text in complaints)


def test_with_the_keyboard_alone_one_comes_from_the_lines_to_a_picture(tmp_path, chromium):
    records(tmp_path, [Decision.NG])

    def press_until(page, words):
        for _ in range(40):
            page.keyboard.press("Tab")
            focused = page.evaluate("document.activeElement.innerText") or ""
            if words in focused:
                # whoever cannot see where the focus is cannot work without a mouse
                style = "getComputedStyle(document.activeElement).outlineStyle"
                assert page.evaluate(style) != "none"
                page.keyboard.press("Enter")
                return
        raise AssertionError(f"the focus never came to {words!r}")

    with living(tmp_path), server(settings_of(tmp_path)) as address, opened(chromium, address) as (page, _):
        press_until(page, "Pictures")
        page.wait_for_url("**/gallery")
        press_until(page, "1-000000")
        page.wait_for_url("**/verdict/left/1-000000")
        assert page.evaluate("document.querySelector('.large img').naturalWidth") > 0


def test_four_browsers_see_a_line_that_runs_and_a_stopped_process_is_no_data(tmp_path, chromium):
    """A whole line, and whole pages: the picture comes, and SIGSTOP is seen within three seconds."""
    line = subprocess.Popen(
        [sys.executable, "-m", "edge", "run", "--camera", "demo", "--fps", "4", "--line", "left", "--run-directory",
         str(tmp_path / "left" / "run"), "--record-dir", str(tmp_path / "left" / "records")],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        wait_for((tmp_path / "left" / "run" / "status.json").exists, 30)
        with server(settings_of(tmp_path)) as address:
            pages = [chromium.new_page() for _ in range(4)]
            for page in pages:
                page.goto(f"{address}/line/left")
            for page in pages:
                wait_for(lambda page=page: page.evaluate("document.querySelector('.preview img').naturalWidth") > 400)
                wait_for(lambda page=page: word_of(page) in ("OK", "NG"))
            line.send_signal(signal.SIGSTOP)
            began = time.monotonic()
            for page in pages:
                wait_for(lambda page=page: word_of(page) == "NO DATA", 3.0)
            assert time.monotonic() - began < 3.5
            for page in pages:
                page.close()
    finally:
        line.kill()
        line.wait()


def record_now(place, decisions):
    """Recorded within the last hour, with a picture of each part."""
    begin = datetime.now(timezone.utc) - timedelta(hours=1)
    run = recorder(
        place / "left" / "records", wait_when_full=True, keep_ok_share=1.0, utc_now=lambda: datetime.now(timezone.utc)
    )
    for index, decision in enumerate(decisions):
        run.write(*look(index, decision, size=(240, 320), utc=begin + timedelta(seconds=index)))
    run.drain(threading.Event(), lambda left: None)
    run.close()


def part_of(page):
    """The number of the part that is to be looked at; empty where none is left."""
    return page.evaluate("document.querySelector('.answers')?.getAttribute('action').split('/').pop() ?? ''")


def test_an_operator_labels_fifty_parts_with_three_keys(tmp_path, chromium):
    record_now(tmp_path, [Decision.NG if index % 3 == 0 else Decision.OK for index in range(50)])
    said = {}
    with server(settings_of(tmp_path)) as address, opened(chromium, f"{address}/review") as (page, complaints):
        for count in range(50):
            number = part_of(page)
            assert page.evaluate("document.querySelector('.part img').naturalWidth") == 320
            # nothing on the page tells the verdict of the part that is asked for
            if not count:
                assert "NG" not in page.locator("main").inner_text()
            said[number] = ("g", "d", "u")[count % 3]
            page.wait_for_timeout(160)
            page.keyboard.press(said[number])
            page.wait_for_function("number => !document.querySelector(`.answers[action$='/${number}']`)", arg=number)
        assert "There is nothing to look at" in page.locator("main").inner_text()
        assert complaints == []
        # the last one is taken back, and asked for again
        page.wait_for_timeout(160)
        page.keyboard.press("z")
        page.wait_for_selector(".answers")
        assert part_of(page) == number
    with RecordStore(tmp_path / "left" / "records") as store:
        numbers = {verdict.id: verdict.number for verdict in store.verdicts("ORDER BY id", ())}
    del said[number]
    assert len(said) == 49
    words = {Label.OK_CONFIRMED: "g", Label.FALSE_REJECT: "g", Label.ESCAPE: "d", Label.CONFIRM: "d", Label.UNSURE: "u"}
    found = labels_in(tmp_path / "left" / "records")
    assert {numbers[key.verdict_id]: words[review.label] for key, review in found.items()} == said
    assert all(review.asked for review in found.values())


def test_a_key_that_is_held_or_hit_twice_answers_for_one_part(tmp_path, chromium):
    record_now(tmp_path, [Decision.NG] * 5)
    with server(settings_of(tmp_path)) as address, opened(chromium, f"{address}/review") as (page, _):
        page.wait_for_timeout(300)
        first = part_of(page)
        for _ in range(3):
            page.keyboard.down("g")
        page.wait_for_function("number => !document.querySelector(`.answers[action$='/${number}']`)", arg=first)
        page.keyboard.up("g")
        page.wait_for_timeout(300)
    assert len(labels_in(tmp_path / "left" / "records")) == 1


@pytest.mark.parametrize(("size", "scheme"), SCREENS, ids=lambda value: str(value).replace(", ", "x"))
def test_three_large_buttons_and_the_whole_part_fit_on_every_screen(tmp_path, chromium, size, scheme):
    record_now(tmp_path, [Decision.NG, Decision.OK] * 3)
    with ExitStack() as stack:
        address = stack.enter_context(server(settings_of(tmp_path)))
        page, complaints = stack.enter_context(opened(chromium, f"{address}/review", size, scheme))
        boxes = [page.locator(f"button[data-key={key}]").bounding_box() for key in "gud"]
        assert all(box["height"] >= 70 and box["width"] >= 100 for box in boxes)
        picture = page.locator(".part img").bounding_box()
        assert picture["y"] >= 0 and max(box["y"] + box["height"] for box in boxes) <= size[1]
        page.locator("button[data-key=g]").wait_for()
        page.wait_for_timeout(300)
        page.locator("button[data-key=g]").click()
        page.wait_for_selector(".before")
        newest = "[...document.querySelectorAll('.chart .wide')].map(w => w.scrollWidth - w.clientWidth - w.scrollLeft)"
        for path in ("/review", "/quality", "/gallery", "/engineer/drift"):
            page.goto(address + path)
            assert all(left < 2 for left in page.evaluate(newest)), path
            assert page.evaluate("document.documentElement.scrollWidth") <= size[0], path
        assert complaints == []


def test_a_key_takes_pictures_to_teach_from_and_the_page_follows_the_command(tmp_path, chromium, monkeypatch):
    pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
    recorder(tmp_path / "left" / "records").close()
    fill(tmp_path, 15)
    with ExitStack() as stack:
        camera = stack.enter_context(running_line(tmp_path, monkeypatch))
        camera.show(good_part(70))
        address = stack.enter_context(server(settings_of(tmp_path)))
        page, complaints = stack.enter_context(opened(chromium, address + TEACH, (390, 844)))
        # a function: an expression would be evaluated in the page, which its policy forbids
        page.wait_for_function("() => document.querySelector('.preview img').naturalWidth > 0")
        for words in ("Taken.", "Refused: This picture was taken already."):
            page.wait_for_timeout(200)
            page.keyboard.press("t")
            page.wait_for_selector(f"text={words}")
            assert page.locator(".taken").inner_text() == "16"
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        page.locator("details.change summary").click()
        page.locator("button[value=begin]").click()
        page.wait_for_selector("text=is being taught")
        # and not below the pictures
        assert page.locator("#job").bounding_box()["y"] < page.locator(".preview").bounding_box()["y"]
        page.wait_for_selector("text=going on with 16 samples")
        page.locator("button[value=end]").click()
        # by itself
        page.wait_for_selector("text=It was stopped.")
        assert complaints == []
    assert len(samples(tmp_path)) == 16
