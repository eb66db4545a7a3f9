"""Samples from a live line: when a picture is taken, what is told, and what happens when the first ones are strange."""

from collections import deque

import cv2
import numpy as np
import pytest

from calibration.samples.collection import Collection
from calibration.samples.sample_folder import folder_name, sample_folder
from calibration.samples.screening import Screener
from edge.cli.teach.collect import Taking, _Live, collect_files
from edge.core.config import Settings
from edge.core.datatypes import Fault, Reason
from edge.core.errors import UsageError
from tests.fakes import frame, write_picture
from tests.small_bundle import good_part


class Keys:
    """A person who types these lines, one before each picture; None: nothing yet."""

    def __init__(self, *lines):
        self.present = True
        self._lines = list(lines)

    def line(self):
        return self._lines.pop(0) if self._lines else None


@pytest.fixture
def collection(tmp_path):
    with sample_folder(tmp_path / "samples") as folder:
        yield Collection(folder, Screener(), wanted=12)


def still(image, pictures=4):
    """A part that lies still, a second between two pictures."""
    return [frame(image=image.copy()) for _ in range(pictures)]


def with_times(frames):
    return [vars(each) | {"captured_ns": (index + 1) * 10**9} for index, each in enumerate(frames)]


def shown(collection, frames, keys=None, **taking):
    timed = [type(frames[0])(**values) for values in with_times(frames)]
    _Live(collection, Taking(**taking), keys or Keys()).run(iter(timed))
    return len(collection.kept)


def test_by_itself_each_part_that_lies_still_is_taken_once(collection):
    line = [picture for seed in range(3) for picture in still(good_part(seed))]
    assert shown(collection, line, by_itself=True) == 3


def test_every_interval_a_picture_is_taken_until_there_are_enough(collection):
    line = [frame(image=good_part(seed)) for seed in range(40)]
    assert shown(collection, line, interval_s=2.0) == 12


def test_without_being_asked_no_picture_is_taken(collection):
    assert shown(collection, [frame(image=good_part(seed)) for seed in range(5)]) == 0


def test_typing_a_lets_pictures_be_taken_by_themselves_and_d_ends(collection, capfd):
    line = [picture for seed in range(5) for picture in still(good_part(seed))]
    keys = Keys("a", *[None] * 8, "d")
    assert shown(collection, line, keys) == 2
    assert "each time a new part lies still" in capfd.readouterr().err


def test_a_part_that_stays_is_told_to_be_a_duplicate_once(collection, capfd):
    line = [frame(image=good_part(0)) for _ in range(6)]
    assert shown(collection, line, interval_s=1.0) == 1
    assert capfd.readouterr().err.count("not taken, duplicate") == 1


def test_a_camera_in_trouble_is_told_once_and_brings_no_sample(collection, capfd):
    lost = Fault(Reason.NO_FRAME, "no frame for 2000 ms")
    line = [frame(fault=lost), frame(fault=lost), frame(image=good_part(0))]
    assert shown(collection, line, interval_s=1.0) == 1
    assert capfd.readouterr().err.count("camera: no frame for 2000 ms") == 1


def test_a_strange_part_is_turned_away_while_it_is_at_hand(collection):
    line = [frame(image=good_part(seed)) for seed in range(9)] + [frame(image=255 - good_part(50))]
    assert shown(collection, line, interval_s=1.0) == 9
    assert str(collection.turned_away[0].reason) == "inconsistent"


def test_when_most_are_unlike_the_first_ones_the_first_are_not_believed(collection):
    # nine pictures of an empty table before the first part
    table = [frame(image=255 - good_part(seed)) for seed in range(9)]
    line = [*table, *(frame(image=good_part(seed)) for seed in range(100, 140))]
    collection.wanted = 40
    shown(collection, line, interval_s=1.0)
    screening = collection.screener.screening()
    late = screening.rejected[len(collection.screener.turned_away) :]
    assert len(late) == 9 and len(screening.accepted) >= 25


def test_what_is_undone_may_be_taken_again(collection):
    collection.offer(good_part(0))
    collection.undo()
    assert collection.offer(good_part(0)) and len(collection.folder.paths()) == 1


def test_samples_come_back_as_they_were_taken(collection):
    from edge.capture.images.image_reader import read_image

    collection.offer(good_part(3))
    np.testing.assert_array_equal(read_image(collection.folder.paths()[0]), good_part(3))


def test_one_folder_is_taught_by_one_process_at_a_time(collection):
    with pytest.raises(UsageError, match="in use by another"), sample_folder(collection.folder.root):
        pass


def test_a_product_names_one_folder():
    for product in ("bracket", "部品", "a" * 100):
        assert folder_name(product) == product
    for product, name in {"Bügel 7/2": "Bügel-7-2", "../etc": "etc"}.items():
        assert folder_name(product) == name, product


def test_a_product_that_cannot_name_a_folder_is_refused(subtests):
    for product in ["", "..", "/", "a\nb", "\x1b[2J", "a" * 101, "部" * 50]:
        with subtests.test(product=product), pytest.raises(UsageError, match="--product"):
            folder_name(product)


@pytest.fixture
def video(tmp_path):
    """Three parts, each lying still for half a second, at 30 frames a second."""
    path = tmp_path / "line.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 30.0, (64, 48))
    if not writer.isOpened():
        pytest.skip("this OpenCV cannot write videos")
    for seed in range(3):
        for _ in range(15):
            writer.write(good_part(seed))
    writer.release()
    return str(path)


def test_of_a_video_each_part_that_lies_still_is_taken_once(collection, video):
    collect_files(collection, video, Settings(), Taking())
    assert len(collection.kept) == 3


def test_of_a_video_a_picture_is_taken_every_interval_of_its_own_time(collection, video, capfd):
    collect_files(collection, video, Settings(), Taking(interval_s=0.25))
    assert (len(collection.kept), len(collection.turned_away)) == (3, 3)
    assert "line.avi, frame 9: duplicate: the same pixels as line.avi, frame 1" in capfd.readouterr().err


def test_a_sample_of_any_kind_that_a_person_put_there_counts(tmp_path):
    with sample_folder(tmp_path / "samples") as folder:
        folder.store(good_part(1))
        write_picture(folder.good / "7.jpg", good_part(2))
        (folder.good / "notes.txt").write_text("x")
        assert [path.name for path in folder.paths()] == ["000001.png", "7.jpg"]


def test_a_camera_that_shows_no_sample_for_days_fills_no_memory(collection, monkeypatch, capsys):
    monkeypatch.setattr(collection, "turned_away", deque(maxlen=5))
    monkeypatch.setattr("calibration.samples.collection.MOST_REMEMBERED", 5)
    assert shown(collection, [frame(image=good_part(0)) for _ in range(12)], interval_s=1.0) == 1
    assert len(collection.turned_away) == 5
    assert collection.turned_away[-1].name == "picture 12"
    assert capsys.readouterr().err.count("5 pictures were turned away; of more, only the last ones are counted") == 1
