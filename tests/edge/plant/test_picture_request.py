"""One whole picture of a line for another process: as the camera gave it, or in words why not."""

import threading

import numpy as np
import pytest

from edge.core.datatypes import Decision, Fault, Frame, Reason
from edge.core.errors import UsageError
from edge.plant import preview
from edge.plant.picture_request import ANSWER_NAME, PICTURE_NAME, REQUEST_NAME, ask_for_picture
from edge.plant.preview import PREVIEW_NAME, PreviewFile
from edge.preprocessing.preprocess import Preprocess
from tests.edge.plant.test_recipe_request import line
from tests.edge.records.records_fakes import START, inspector, look, wait_for
from tests.fakes import WAIT_S

VIEW = Preprocess(32, 32).field_of_view


@pytest.fixture
def shown(tmp_path, monkeypatch):
    """What a line that runs shows, and its folder."""
    monkeypatch.setattr(preview, "_LOOK_EVERY_S", 0.01)
    with line(tmp_path):
        made = PreviewFile(tmp_path, VIEW, 0.01)
        try:
            yield made
        finally:
            made.close()


def test_the_whole_frame_comes_as_the_line_judged_it_without_marks_and_leaves_nothing(tmp_path, shown):
    frame, verdict = look(7, Decision.NG, size=(1201, 1603))
    shown.write(frame, verdict)
    got = ask_for_picture(tmp_path)
    assert np.array_equal(got.image, frame.image) and got.utc == frame.utc.isoformat()
    wait_for(lambda: not (tmp_path / PICTURE_NAME).exists() and not (tmp_path / ANSWER_NAME).exists())
    assert not (tmp_path / REQUEST_NAME).exists() and not (tmp_path / PREVIEW_NAME).exists()


def test_two_who_ask_at_once_both_get_one(tmp_path, shown):
    shown.write(*look(1, size=(40, 60)))
    got = []
    threads = [threading.Thread(target=lambda: got.append(ask_for_picture(tmp_path))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert [each.image.shape for each in got] == [(40, 60, 3)] * 4


def test_what_stands_in_the_way_is_said(tmp_path, shown):
    with pytest.raises(UsageError, match="has judged no part yet"):
        ask_for_picture(tmp_path)
    frame = Frame(3, 1, START, "fake", None, Fault(Reason.NO_FRAME, "the cable is out"))
    shown.write(frame, inspector().invalid(frame, frame.fault))
    with pytest.raises(UsageError, match="the cable is out"):
        ask_for_picture(tmp_path)
    (tmp_path / PICTURE_NAME).mkdir()
    shown.write(*look(4))
    with pytest.raises(UsageError, match=r"cannot be written into .*Is a directory"):
        ask_for_picture(tmp_path)


def test_a_request_that_is_none_harms_nothing(tmp_path, shown, caplog):
    shown.write(*look(1))
    for content in (b"", b"{", b"[]", b'{"kee": 1}', b"x" * 20_000):
        (tmp_path / REQUEST_NAME).write_bytes(content)
        wait_for(lambda: "is no request" in caplog.text)
        caplog.clear()
    assert ask_for_picture(tmp_path).image.shape == (24, 32, 3)


def test_no_line_and_one_that_gives_no_picture_are_told_apart(tmp_path):
    with pytest.raises(UsageError, match="does not run"):
        ask_for_picture(tmp_path)
    with line(tmp_path), pytest.raises(UsageError, match="has not given a picture within"):
        ask_for_picture(tmp_path, within_s=0.1)
    assert not (tmp_path / REQUEST_NAME).exists()


def test_what_was_asked_of_an_earlier_line_is_forgotten(tmp_path):
    (tmp_path / REQUEST_NAME).write_text('{"key": "old"}')
    (tmp_path / PICTURE_NAME).write_bytes(b"old")
    made = PreviewFile(tmp_path, VIEW, 0.01)
    made.close()
    assert list(tmp_path.iterdir()) == []
