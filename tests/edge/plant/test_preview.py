"""The preview of a line: made only while somebody looks, and never of an old picture."""

import cv2
import numpy as np
import pytest

from edge.core.datatypes import Decision, Fault, Frame, Reason
from edge.plant import preview
from edge.plant.preview import LARGEST_PX, PREVIEW_NAME, WANTED_NAME, PreviewFile, preview_picture
from edge.preprocessing.preprocess import Preprocess
from tests.edge.records.records_fakes import START, inspector, look, wait_for

VIEW = Preprocess(32, 32).field_of_view


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(preview, "BELIEVED_S", 0.15)
    monkeypatch.setattr(preview, "_LOOK_EVERY_S", 0.01)


def test_a_picture_is_made_while_somebody_looks_and_removed_when_nobody_does(tmp_path, quick):
    made = PreviewFile(tmp_path, VIEW, 0.01)
    made.write(*look(0))
    assert not (tmp_path / PREVIEW_NAME).exists()
    # a line between two parts shows the last one at once
    (tmp_path / WANTED_NAME).touch()
    wait_for((tmp_path / PREVIEW_NAME).exists)
    assert cv2.imread(str(tmp_path / PREVIEW_NAME)).shape == (24, 32, 3)
    assert (tmp_path / PREVIEW_NAME).stat().st_mode & 0o777 == 0o640
    wait_for(lambda: not (tmp_path / PREVIEW_NAME).exists())
    (tmp_path / WANTED_NAME).touch()
    wait_for((tmp_path / PREVIEW_NAME).exists)
    made.close()
    assert not (tmp_path / PREVIEW_NAME).exists()


def test_files_of_an_earlier_line_are_no_look_and_no_picture(tmp_path, quick):
    (tmp_path / WANTED_NAME).touch()
    (tmp_path / PREVIEW_NAME).write_bytes(b"of a line that was killed")
    made = PreviewFile(tmp_path, VIEW, 0.01)
    made.write(*look(0))
    made.close()
    assert [path.name for path in tmp_path.iterdir()] == [WANTED_NAME]


def test_a_folder_that_is_a_file_is_logged_and_nothing_else_happens(tmp_path, quick, caplog):
    place = tmp_path / "run"
    place.mkdir()
    made = PreviewFile(place, VIEW, 0.01)
    made.write(*look(0))
    (place / PREVIEW_NAME).mkdir()
    (place / WANTED_NAME).touch()
    wait_for(lambda: "no preview in" in caplog.text)
    made.close()


def test_a_large_picture_is_made_smaller_and_the_frame_stays_as_it_is():
    taken, verdict = look(1, Decision.NG, size=(601, 1921))
    before = taken.image.copy()
    picture = preview_picture(taken, verdict, VIEW(601, 1921))
    assert picture.shape == (300, LARGEST_PX, 3)
    large, accepted = look(2, size=(3001, 4003))
    assert preview_picture(large, accepted, None).shape == (720, LARGEST_PX, 3)
    assert np.array_equal(taken.image, before)


def test_a_rejected_part_is_marked_and_an_accepted_one_is_shown_as_it_is():
    rejected, accepted = look(1, Decision.NG, size=(240, 320)), look(2, size=(240, 320))
    assert not np.array_equal(preview_picture(*rejected, VIEW(240, 320)), rejected[0].image)
    assert np.array_equal(preview_picture(*accepted, VIEW(240, 320)), accepted[0].image)


def test_without_a_picture_the_reason_stands_there():
    frame = Frame(3, 1, START, "fake", None, Fault(Reason.NO_FRAME, "gone"))
    picture = preview_picture(frame, inspector().invalid(frame, frame.fault), None)
    assert len(np.unique(picture)) > 1 and picture.mean() > 50


@pytest.mark.parametrize("size", [(1, 1), (1, 2001), (3, 5), (4001, 1)])
def test_odd_sizes_of_rejected_parts_are_drawn(size):
    _, verdict = look(1, Decision.NG, size=(24, 32))
    odd = Frame(1, 1, START, "fake", np.full((*size, 3), 90, np.uint8))
    assert min(preview_picture(odd, verdict, VIEW(*size)).shape) >= 1
