"""Pictures that arrive in a folder: each once, when it is whole, in the order of arrival, nothing lost."""

from __future__ import annotations

import json
import os
import shutil
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.capture.capture import Capture
from edge.capture.images.image_reader import ImageReader
from edge.capture.sources import open_source
from edge.capture.watched_folder import WatchedFolder
from edge.cli import main
from edge.core.config import CameraSettings, FreshnessSettings
from edge.core.counters import RunCounters
from edge.core.datatypes import Reason
from edge.core.errors import CameraError
from tests.fakes import WAIT_S, eventually, picture, write_picture
from tests.small_bundle import good_part, make_bundle


def encoded(seed: int, suffix: str = ".png") -> bytes:
    noise = np.random.default_rng(seed).integers(40, 200, (60, 80, 3), dtype=np.uint8)
    return cv2.imencode(suffix, noise)[1].tobytes()


class Watched:
    """A watched folder, read in a thread of its own; `names` are those of the frames that came."""

    def __init__(self, folder: Path, patience_s: float = 0.4) -> None:
        self.source = WatchedFolder(folder, ImageReader(), poll_s=0.01, patience_s=patience_s)
        self.frames = []
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while (frame := self.source.read()) is not None:
            self.frames.append(frame)

    @property
    def names(self):
        return [Path(frame.source).name for frame in self.frames]

    def wait_for(self, count):
        assert eventually(lambda: len(self.frames) >= count, WAIT_S), self.names

    def stop(self):
        self.source.interrupt()
        self._thread.join(WAIT_S)
        assert not self._thread.is_alive()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    return tmp_path / "in"


@pytest.fixture
def watched(folder):
    made = Watched(folder)
    yield made
    made.stop()


def test_pictures_come_once_each_in_the_order_of_arrival(folder, watched):
    for number, name in enumerate(("z.png", "a.png", "m.png")):
        (folder / name).write_bytes(encoded(number))
        watched.wait_for(number + 1)
    time.sleep(0.1)
    assert watched.names == ["z.png", "a.png", "m.png"]
    assert [frame.index for frame in watched.frames] == [0, 1, 2]
    assert watched.frames[0].original == (folder / "z.png").read_bytes()


def test_those_that_are_there_already_come_first(folder):
    for number in range(3):
        (folder / f"{number}.png").write_bytes(encoded(number))
    watched = Watched(folder)
    watched.wait_for(3)
    watched.stop()
    assert watched.names == ["0.png", "1.png", "2.png"]


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".bmp"])
def test_a_file_that_is_written_slowly_is_judged_when_it_is_whole(folder, suffix):
    watched = Watched(folder, patience_s=WAIT_S)
    whole = encoded(1, suffix)
    with (folder / f"slow{suffix}").open("wb") as file:
        for start in range(0, len(whole), len(whole) // 6 + 1):
            assert not watched.frames
            file.write(whole[start : start + len(whole) // 6 + 1])
            file.flush()
            time.sleep(0.05)
    watched.wait_for(1)
    watched.stop()
    assert watched.frames[0].fault is None


def test_a_file_that_stays_cut_off_is_invalid_and_does_not_hold_up_the_others(folder):
    watched = Watched(folder, patience_s=1.5)
    (folder / "cut.png").write_bytes(encoded(1)[:2000])
    (folder / "whole.png").write_bytes(encoded(2))
    watched.wait_for(2)
    watched.stop()
    faults = {name: frame.fault for name, frame in zip(watched.names, watched.frames, strict=True)}
    assert faults["whole.png"] is None
    assert faults["cut.png"].reason is Reason.UNDECODABLE and "cut off" in faults["cut.png"].detail


def test_a_file_that_is_renamed_into_place_or_afterwards_is_judged_once(folder, watched, tmp_path):
    (tmp_path / "part.tmp").write_bytes(encoded(1))
    (tmp_path / "part.tmp").rename(folder / "part.png")
    watched.wait_for(1)
    (folder / "part.png").rename(folder / "part-done.png")
    (folder / "half.part").write_bytes(encoded(2))
    (folder / "half.part").rename(folder / "next.png")
    watched.wait_for(2)
    time.sleep(0.1)
    assert watched.names == ["part.png", "next.png"]


def test_a_file_with_new_content_under_an_old_name_is_a_new_picture(folder, watched):
    (folder / "last.png").write_bytes(encoded(1))
    watched.wait_for(1)
    (folder / "last.png").write_bytes(encoded(2))
    watched.wait_for(2)
    assert watched.names == ["last.png", "last.png"]
    assert not (watched.frames[0].image == watched.frames[1].image).all()


def test_a_folder_that_is_removed_and_made_again_goes_on(folder, watched, caplog):
    (folder / "a.png").write_bytes(encoded(1))
    watched.wait_for(1)
    shutil.rmtree(folder)
    assert eventually(lambda: "waiting for it" in caplog.text)
    folder.mkdir()
    (folder / "a.png").write_bytes(encoded(2))
    watched.wait_for(2)
    assert watched.names == ["a.png", "a.png"] and "is there again" in caplog.text


def test_what_is_gone_is_forgotten(folder, watched):
    for number in range(30):
        (folder / f"{number}.png").write_bytes(encoded(number))
        watched.wait_for(number + 1)
        (folder / f"{number}.png").unlink()
    assert eventually(lambda: len(watched.source._done) <= 1)
    assert watched.names == [f"{number}.png" for number in range(30)]


def test_an_idle_folder_is_hardly_looked_at(folder, monkeypatch):
    looks = []
    whole = os.scandir
    monkeypatch.setattr(os, "scandir", lambda place: looks.append(place) or whole(place))
    watched = Watched(folder)
    (folder / "a.png").write_bytes(encoded(1))
    watched.wait_for(1)
    before = sum(place == folder for place in looks)
    time.sleep(0.5)
    watched.stop()
    assert sum(place == folder for place in looks) - before <= 3


def test_links_out_of_the_folder_and_other_files_are_told_and_not_followed(folder, tmp_path, caplog):
    write_picture(tmp_path / "secret.png", picture(1))
    (folder / "away.png").symlink_to(tmp_path / "secret.png")
    (folder / "notes.txt").write_text("x")
    (folder / "sub").mkdir()
    watched = Watched(folder)
    (folder / "a.png").write_bytes(encoded(1))
    watched.wait_for(1)
    watched.stop()
    assert watched.names == ["a.png"]
    for text in ("1 link out of the folder", "1 without a picture's suffix", "1 sub-folder"):
        assert caplog.text.count(text) == 1


def test_capture_never_ends_by_itself_and_stops_at_once(folder):
    camera = CameraSettings(watch=True)
    capture = Capture(lambda: open_source(str(folder), camera), camera, FreshnessSettings(), RunCounters())
    assert not capture.live and capture.take(0.05) is None and not capture.ended
    (folder / "a.png").write_bytes(encoded(1))
    taken = []
    assert eventually(lambda: taken.append(capture.take(0.05)) or taken[-1] is not None)
    capture.close()
    assert not capture._thread.is_alive()


def test_only_a_folder_can_be_watched(tmp_path, monkeypatch, subtests):
    for camera in ["missing", "a.png", "0", "rtsp://camera/1"]:
        with subtests.test(camera=camera):
            monkeypatch.chdir(tmp_path)
            (tmp_path / "a.png").write_bytes(encoded(1))
            with pytest.raises(CameraError, match="watch"):
                open_source(camera, CameraSettings(watch=True))


def test_the_line_watches_until_its_limit(folder, tmp_path, monkeypatch, capsys):
    pytest.importorskip("openvino", reason="openvino is not installed: nothing can be inspected")
    monkeypatch.chdir(tmp_path)
    bundle = make_bundle(tmp_path / "plate").path
    write_picture(folder / "0.png", good_part(1))
    later = threading.Timer(0.5, lambda: write_picture(folder / "1.png", good_part(2)))
    later.start()
    words = ["--camera", "in", "--watch", "--bundle", str(bundle), "--no-record", "--json"]
    assert main([*words, "--frames", "2"]) == 0
    verdicts = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [Path(verdict["source"]).name for verdict in verdicts] == ["0.png", "1.png"]
    assert main([*words, "--duration", "0.3"]) == 0
