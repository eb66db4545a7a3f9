"""Teaching on the pages: pictures of the running line become samples, or are refused in words, and a command learns."""

import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timezone

import cv2
import numpy as np
import pytest

from edge.bundles.bundle import load_bundle
from edge.cli.teach.page_samples import PageSamples
from edge.plant import preview
from edge.plant.preview import PreviewFile
from edge.preprocessing.preprocess import Preprocess
from edge.review.database import ReviewDatabase
from edge.web.engineer.teaching import Teaching
from edge.web.security.tokens import Role, new_token
from tests.edge.plant.test_recipe_request import line
from tests.edge.records.records_fakes import look, recorder, wait_for
from tests.edge.web.web_site import browser, csrf_of, settings_of
from tests.fakes import MjpegCamera, write_picture
from tests.paths import ROOT
from tests.small_bundle import good_part

PATH = "/engineer/teach?line=left&product=plate"


class Camera:
    """A line that runs in this process, and the part that lies under its camera."""

    def __init__(self, shown):
        self._shown = shown

    def show(self, picture):
        frame, verdict = look(1, size=picture.shape[:2])
        self._shown.write(frame.__class__(**{**vars(frame), "image": picture}), verdict)


@contextmanager
def running_line(place, monkeypatch):
    monkeypatch.setattr(preview, "_LOOK_EVERY_S", 0.01)
    run = place / "left" / "run"
    run.mkdir(parents=True, exist_ok=True)
    with line(run):
        shown = PreviewFile(run, Preprocess(32, 32).field_of_view, 0.01)
        try:
            yield Camera(shown)
        finally:
            shown.close()


@pytest.fixture
def settings(tmp_path):
    recorder(tmp_path / "left" / "records").close()
    return settings_of(tmp_path)


@pytest.fixture
def camera(tmp_path, settings, monkeypatch):
    with running_line(tmp_path, monkeypatch) as made:
        yield made


def press(client, do, product="plate", **form):
    """A key on the page: what comes in its place."""
    csrf = csrf_of(client.get(f"/engineer/teach?line=left&product={product}").text)
    data = {"csrf": csrf, "line": "left", "product": product, "do": do, **form}
    return client.post("/engineer/teach", data=data, headers={"x-part": "1"})


def audit(place):
    with ReviewDatabase(place / "left" / "records") as review:
        return [(change.action, change.before, change.after) for change in review.changes(50)]


def folder_of(place):
    return place / "left" / "records" / "teach" / "plate"


def samples(place):
    return sorted(path.name for path in (folder_of(place) / "train" / "good").glob("*.png"))


def fill(place, count):
    """Samples that were taken earlier."""
    (folder_of(place) / "train" / "good").mkdir(parents=True)
    for number in range(count):
        write_picture(folder_of(place) / "train" / "good" / f"{number + 1:06}.png", good_part(number))


def test_the_shutter_keeps_the_whole_picture_and_puts_it_into_the_audit(settings, camera, tmp_path):
    large = cv2.resize(good_part(1), (1600, 1200))
    with browser(settings) as client:
        page = client.get(PATH).text
        assert "/line/left/preview.mjpg" in page and 'data-key="t"' in page and " style=" not in page
        camera.show(large)
        part = press(client, "take").text
        assert "Taken." in part and '<strong class="taken">1</strong>' in part and "data:image/jpeg" in part
        assert "<html" not in part
    assert np.array_equal(cv2.imread(str(folder_of(tmp_path) / "train" / "good" / "000001.png")), large)
    assert audit(tmp_path) == [("teach sample", "plate", "000001.png taken")]


def test_a_refused_picture_is_shown_with_the_reason_in_words_and_changes_nothing(settings, camera, tmp_path):
    with browser(settings) as client:
        camera.show(good_part(1))
        press(client, "take")
        part = press(client, "take").text
        assert "Refused: This picture was taken already." in part and "the same pixels as 000001.png" in part
        camera.show(np.zeros((48, 64, 3), np.uint8))
        part = press(client, "take").text
        assert "Refused: The picture is black." in part and "Check the light" in part
        assert part.count('class="card ng"') == 2 and part.count('class="card ok"') == 1
        for number in range(2, 12):
            camera.show(good_part(number))
            assert "Taken." in press(client, "take").text
        camera.show(cv2.GaussianBlur(good_part(40), (0, 0), 6))
        part = press(client, "take").text
        assert "Refused: " in part and "Taken." not in part
        camera.show(good_part(41, 96, 128))
        assert "Refused: The picture has another size than the others." in press(client, "take").text
    assert len(samples(tmp_path)) == 11 == len(audit(tmp_path))


def test_the_last_one_is_taken_back_and_its_number_comes_again(settings, camera, tmp_path):
    with browser(settings) as client:
        for number in (1, 2):
            camera.show(good_part(number))
            press(client, "take")
        part = press(client, "undo").text
        assert '<strong class="taken">1</strong>' in part and "000002.png" not in part
        # the same part may be shown once more
        assert "Taken." in press(client, "take").text
    assert samples(tmp_path) == ["000001.png", "000002.png"]
    assert audit(tmp_path)[1] == ("teach sample", "plate", "000002.png taken back")


def test_two_browsers_at_once_keep_each_part_once(settings, camera, tmp_path):
    camera.show(good_part(1))
    with browser(settings) as client:
        csrf = csrf_of(client.get(PATH).text)
        form = {"csrf": csrf, "line": "left", "product": "plate", "do": "take"}
        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(lambda _: client.post("/engineer/teach", data=form).status_code, range(4)))
        assert answers == [303] * 4
        assert client.get(PATH).text.count("This picture was taken already</strong>") == 3
    assert samples(tmp_path) == ["000001.png"]


def test_a_page_is_made_of_the_pictures_that_it_began_with(settings, tmp_path):
    """Another browser may take one, or take one back, meanwhile."""
    teaching = Teaching(PageSamples(folder_of(tmp_path), settings))
    at = datetime.now(timezone.utc)
    for number in (1, 2):
        teaching.take(good_part(number), at, lambda name: None)
    shown = iter(teaching.shots)
    names = [next(shown).offered.name]
    teaching.take(good_part(3), at, lambda name: None)
    teaching.take_back(lambda name: None)
    names += [shot.offered.name for shot in shown]
    assert names == ["000002.png", "000001.png"] == [shot.offered.name for shot in teaching.shots]


def test_a_folder_that_another_teach_changed_or_holds_is_seen(settings, camera, tmp_path):
    from calibration.samples.sample_folder import sample_folder

    with browser(settings) as client:
        camera.show(good_part(1))
        press(client, "take")
        write_picture(folder_of(tmp_path) / "train" / "good" / "000007.png", good_part(2))
        camera.show(good_part(2))
        assert "the same pixels as 000007.png" in press(client, "take").text
        camera.show(good_part(3))
        with sample_folder(folder_of(tmp_path)):
            part = press(client, "take").text
            assert "is in use by another `teach`" in part and "What to do" in part
        assert "Taken." in press(client, "take").text
    assert samples(tmp_path) == ["000001.png", "000007.png", "000008.png"]


def test_what_cannot_be_written_is_said_and_not_counted(settings, camera, tmp_path):
    camera.show(good_part(1))
    with browser(settings) as client:
        (folder_of(tmp_path) / "train" / "good" / "000001.png.part").mkdir(parents=True)
        part = press(client, "take").text
        assert "cannot be written" in part and "free some space" in part and '<strong class="taken">0</strong>' in part
        (folder_of(tmp_path) / "train" / "good" / "000001.png.part").rmdir()
        # what cannot be put into the audit is not kept
        database = tmp_path / "left" / "records" / "review.sqlite"
        database.write_bytes(b"no database at all, but long enough to be looked at" * 40)
        part = press(client, "take").text
        assert "Taken." not in part and "What to do" in part
    assert samples(tmp_path) == [] and audit_is_empty(tmp_path)


def audit_is_empty(place):
    database = place / "left" / "records" / "review.sqlite"
    database.unlink()
    return audit(place) == []


def test_without_a_line_that_runs_no_picture_is_taken(settings, tmp_path):
    with browser(settings) as client:
        assert "The line does not run" in client.get(PATH).text
        assert "does not run, or hangs" in press(client, "take").text
    assert not folder_of(tmp_path).exists() and audit(tmp_path) == []


@pytest.mark.parametrize("product", ["../left", "a/b", ".", "-x", "a b", "a" * 41, "ü", "a\n", "$(id)"])
def test_what_cannot_name_a_product_is_refused(settings, product, tmp_path):
    with browser(settings) as client:
        assert client.get("/engineer/teach", params={"line": "left", "product": product}).status_code == 400
        csrf = csrf_of(client.get(PATH).text)
        for do in ("take", "undo", "begin", "end"):
            form = {"csrf": csrf, "line": "left", "product": product, "do": do}
            assert client.post("/engineer/teach", data=form).status_code == 400
    assert not (tmp_path / "left" / "records" / "teach").exists()


def test_forms_of_elsewhere_other_words_and_operators_change_nothing(settings, camera, tmp_path):
    camera.show(good_part(1))
    form = {"line": "left", "product": "plate", "do": "take"}
    with browser(settings) as client:
        csrf = csrf_of(client.get(PATH).text)
        assert client.post("/engineer/teach", data={**form, "csrf": "old"}).status_code == 403
        elsewhere = {"origin": "http://elsewhere", "sec-fetch-site": "cross-site"}
        assert client.post("/engineer/teach", data={**form, "csrf": csrf}, headers=elsewhere).status_code == 403
        assert client.post("/engineer/teach", data={**form, "csrf": csrf, "line": "right"}).status_code == 404
        assert client.post("/engineer/teach", data={**form, "csrf": csrf, "do": "rm"}).status_code == 400
        assert client.post("/engineer/teach", data={**form, "csrf": csrf, "do": "begin"}).status_code == 409
    token = new_token(tmp_path / "tokens.json", Role.OPERATOR)
    web = settings.web.model_copy(update={"tokens_file": str(tmp_path / "tokens.json")})
    with browser(settings.model_copy(update={"web": web})) as client:
        client.post("/login", data={"csrf": csrf_of(client.get("/login").text), "token": token})
        csrf = csrf_of(client.get("/gallery").text)
        assert client.get(PATH).status_code == 403
        assert client.post("/engineer/teach", data={**form, "csrf": csrf}).status_code == 403
    assert samples(tmp_path) == [] and audit(tmp_path) == []


def test_a_product_is_chosen_by_name_or_among_those_begun(settings, tmp_path):
    fill(tmp_path, 3)
    with browser(settings) as client:
        page = client.get("/engineer/teach").text
        assert 'href="/engineer/teach?line=left&amp;product=plate"' in page and 'name="product"' in page
        assert '<strong class="taken">3</strong>' in client.get(PATH).text
        assert "Teach from these" not in client.get(PATH).text


def test_a_teaching_that_is_killed_or_stopped_keeps_the_samples_and_says_so(settings, tmp_path):
    pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
    fill(tmp_path, 16)
    with browser(settings) as client:
        assert "Teach from these 16 samples" in client.get(PATH).text
        jobs = client.app.state.jobs
        for end, words in (
            (lambda: jobs.of("left", "teach").process.send_signal(signal.SIGKILL), "It was ended from outside"),
            (lambda: press(client, "end"), "It was stopped."),
        ):
            assert press(client, "begin").status_code == 200
            assert "is being taught" in client.get(PATH).text and "data-running" in client.get(PATH).text
            wait_for(lambda: "going on with 16 samples" in client.get(PATH).text, 60)
            assert press(client, "begin").status_code == 409, "one command of a line at a time"
            other = client.get("/engineer/teach?line=left&product=other").text
            assert "Another command of this line runs" in other
            end()
            wait_for(lambda: not jobs.busy("left"), 30)
            page = client.get(PATH).text
            assert words in page and "samples are kept" in page
    assert len(samples(tmp_path)) == 16
    ended = ("teach", "plate", "no bundle")
    assert audit(tmp_path) == [ended, ("teach begun", "plate", "16 samples")] * 2


@pytest.mark.long
def test_from_the_shutter_to_a_bundle_that_inspects(tmp_path, bundle_path):
    """A line as a program of its own: parts are taken as they come, and learned from."""
    pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
    run, records = tmp_path / "left" / "run", tmp_path / "left" / "records"
    camera = MjpegCamera(fps=8, show=good_part)
    words = [sys.executable, "-m", "edge", "run", "--camera", camera.url, "--line", "left", "--run-directory", str(run)]
    running = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "stderr": subprocess.DEVNULL}
    with ExitStack() as stack:
        live = stack.enter_context(
            subprocess.Popen([*words, "--bundle", str(bundle_path), "--record-dir", str(records)], **running)
        )
        stack.callback(live.kill)
        stack.callback(camera.kill)
        wait_for((run / "status.json").exists, 60)
        client = stack.enter_context(browser(settings_of(tmp_path)))
        wait_for(lambda: "The line does not run" not in client.get(PATH).text, 60)
        shutter = threading.Event()
        for _ in range(400):
            press(client, "take")
            if len(samples(tmp_path)) >= 20:
                break
            shutter.wait(0.2)
        assert len(samples(tmp_path)) >= 20
        assert press(client, "begin").status_code == 200
        wait_for(lambda: not client.app.state.jobs.busy("left"), 600)
        page = client.get(PATH).text
        assert "plate is taught" in page and "rejects about" in page and "plain defects" in page
        assert live.poll() is None, "the line went on"
        assert load_bundle(folder_of(tmp_path) / "bundle").manifest.product == "plate"
    assert [action for action, *_ in audit(tmp_path)[:2]] == ["teach", "teach begun"]
