"""One reader for the line and for every command: limits, faults, and what all pictures have in common."""

from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np
import pytest

import edge.capture.images.image_reader
from edge.capture.file_sources import PictureFiles
from edge.capture.images.image_reader import ImageReader
from edge.capture.sources import open_source
from edge.core.config import CameraSettings, FreshnessSettings
from edge.core.datatypes import Reason
from edge.core.errors import UsageError
from edge.preprocessing.normal_samples import read_normal_samples
from tests.fakes import picture, write_picture


def frames_of(source):
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def parts_of(folder, count=8):
    folder.mkdir(exist_ok=True)
    for number in range(count):
        write_picture(folder / f"part{number}.png", picture(number))
    return folder


def test_a_file_beyond_the_limit_is_not_read(tmp_path):
    parts_of(tmp_path, 2)
    with (tmp_path / "part0b.png").open("wb") as sparse:
        sparse.truncate(200_000_000_000)
    frames = frames_of(open_source(str(tmp_path), CameraSettings()))
    assert [frame.fault is None for frame in frames] == [True, False, True]
    assert frames[1].fault.detail == "part0b.png: 200,000.0 MB; camera.max_file_mb (256) allows no more"


def test_a_picture_beyond_the_limit_is_invalid_and_the_setting_is_named(tmp_path):
    parts_of(tmp_path, 1)
    (frame,) = frames_of(open_source(str(tmp_path), CameraSettings(max_megapixels=0.004)))
    assert frame.fault.reason is Reason.UNDECODABLE
    assert "80x60 px need room for 0.0 megapixels; camera.max_megapixels (0.004)" in frame.fault.detail


@pytest.mark.parametrize("error", [MemoryError(), RecursionError("deep"), KeyError("tag"), OSError(5, "I/O error")])
def test_whatever_one_file_raises_is_its_own_verdict(tmp_path, monkeypatch, error):
    """The others are looked at, whatever came before."""
    whole = edge.capture.images.image_reader.decode_buffer

    def decode(encoded, max_megapixels):
        if encoded == (tmp_path / "part1.png").read_bytes():
            raise error
        return whole(encoded, max_megapixels)

    monkeypatch.setattr(edge.capture.images.image_reader, "decode_buffer", decode)
    parts_of(tmp_path, 3)
    frames = frames_of(open_source(str(tmp_path), CameraSettings()))
    assert [frame.fault is None for frame in frames] == [True, False, True]
    assert frames[1].fault.reason is Reason.UNDECODABLE and frames[1].fault.detail.startswith("part1.png: ")


def test_a_file_that_goes_away_or_may_not_be_read_is_invalid(tmp_path):
    source = open_source(str(parts_of(tmp_path, 2)), CameraSettings())
    (tmp_path / "part0.png").unlink()
    first, second = frames_of(source)
    assert "No such file" in first.fault.detail and second.fault is None


def test_twelve_bits_under_a_setting_of_sixteen_are_noticed_once(tmp_path):
    for number in range(7):
        deep = np.random.default_rng(number).integers(200, 4000, (60, 80)).astype(np.uint16)
        write_picture(tmp_path / f"{number}.png", deep)
    said: list[str] = []
    reader = ImageReader(CameraSettings(), FreshnessSettings(), said.append)
    for path in reader.pictures_in(tmp_path):
        reader.look(path)
    assert len(said) == 1 and "camera.sensor_bits: 12 fits them" in said[0]
    assert reader.fitting_sensor_bits() == 12
    fitting = ImageReader(CameraSettings(sensor_bits=12), FreshnessSettings(), said.append)
    frames = frames_of(PictureFiles(fitting.pictures_in(tmp_path), None, fitting, "folder"))
    assert not any(frame.fault for frame in frames) and fitting.fitting_sensor_bits() is None and len(said) == 1


# --- good parts that the line would not judge


def needle(number: int) -> np.ndarray:
    """Backlit: 0.19 % of the picture are dark."""
    image = np.full((300, 400), 255, np.uint8)
    image[75 + number % 3 : 226 + number % 3, 199:201] = 20 + number
    return image


def dark_field(number: int) -> np.ndarray:
    return np.random.default_rng(number).integers(1, 6, (60, 80)).astype(np.uint8)


@pytest.mark.parametrize(
    ("part", "reason", "key", "settings"),
    [
        (needle, "saturated", "freshness.saturated_share: 0.9988", {"saturated_share": 0.9988}),
        (dark_field, "black", "freshness.black_level: 3", {"black_level": 3}),
    ],
)
def test_parts_that_the_line_would_not_judge_are_refused_with_the_setting_they_need(
    tmp_path, part, reason, key, settings
):
    for number in range(12):
        write_picture(tmp_path / f"{number:02d}.png", part(number))
    with pytest.raises(UsageError, match=rf"12 of 12 pictures of good parts would be INVALID .*12 {reason}") as caught:
        list(read_normal_samples(tmp_path, ImageReader(freshness=FreshnessSettings())))
    assert key in caught.value.fix
    fitting = ImageReader(freshness=FreshnessSettings(**settings))
    assert len(list(read_normal_samples(tmp_path, fitting))) == 12


def test_parts_of_fewer_bits_are_refused_with_the_bits_they_need(tmp_path):
    for number in range(12):
        deep = np.random.default_rng(number).integers(1, 1000, (60, 80)).astype(np.uint16)
        write_picture(tmp_path / f"{number:02d}.png", deep)
    with pytest.raises(UsageError, match="12 black") as caught:
        list(read_normal_samples(tmp_path, ImageReader(freshness=FreshnessSettings())))
    assert "camera.sensor_bits: 10" in caught.value.fix


def test_a_few_such_parts_are_left_out_and_told(tmp_path):
    parts_of(tmp_path, 6)
    write_picture(tmp_path / "part3.5.png", np.zeros((60, 80), np.uint8))
    write_picture(tmp_path / "part4.5.png", np.full((60, 80), 255, np.uint8))
    said: list[str] = []
    parts = list(read_normal_samples(tmp_path, ImageReader(freshness=FreshnessSettings(), notice=said.append)))
    assert [part.path.name for part in parts] == [f"part{number}.png" for number in range(6)]
    (text,) = said
    assert text.startswith("2 of 8 pictures of good parts would be INVALID on the line, and are left out: 1 black (")
    assert "part4.5.png: 100 % of the picture is above grey level 250" in text


# --- what a folder holds besides


def test_what_is_left_out_of_a_folder_is_told_with_counts_and_reasons(tmp_path):
    folder = parts_of(tmp_path / "parts", 3)
    parts_of(folder / "cam1", 2)
    for name in ("notes.txt", "no_suffix", "a.png.part", "b.raw"):
        (folder / name).write_bytes(b"x")
    (folder / ".DS_Store").write_bytes(b"x")
    (folder / "gone.png").symlink_to(tmp_path / "nowhere.png")
    said: list[str] = []
    assert len(ImageReader(notice=said.append).pictures_in(folder)) == 3
    assert said == [
        f"{folder}: 3 pictures; left out: 1 hidden (.DS_Store), 4 without a picture's suffix (a.png.part, b.raw, "
        "no_suffix, ...), 1 sub-folder (cam1 with 2 pictures), 1 link to nothing (gone.png)"
    ]


def test_the_line_says_what_it_leaves_out_and_follows_no_link_out_of_the_folder(tmp_path, caplog):
    folder = parts_of(tmp_path / "parts", 2)
    write_picture(tmp_path / "secret.png", picture(9))
    (folder / "away.png").symlink_to(tmp_path / "secret.png")
    (folder / "same.png").symlink_to("part0.png")
    shown = [Path(frame.source).name for frame in frames_of(open_source(str(folder), CameraSettings()))]
    assert shown == ["part0.png", "part1.png", "same.png"]
    assert "1 link out of the folder, which is not followed (away.png)" in caplog.text


@pytest.mark.parametrize("name", ["part", "part.dat", "part.jpeg.bak"])
def test_a_single_file_of_an_unknown_suffix_is_looked_at_by_its_bytes(tmp_path, name):
    (tmp_path / name).write_bytes(cv2.imencode(".jpg", picture(1))[1].tobytes())
    (frame,) = frames_of(open_source(str(tmp_path / name), CameraSettings()))
    assert frame.image.shape == (60, 80, 3)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
def test_a_pipe_among_pictures_is_not_waited_for(tmp_path):
    folder = parts_of(tmp_path / "parts", 2)
    os.mkfifo(folder / "pipe.png")
    assert len(frames_of(open_source(str(folder), CameraSettings()))) == 2


def test_good_parts_beside_the_folder_that_is_read_are_told(tmp_path):
    parts_of(tmp_path, 2)
    (tmp_path / "train").mkdir()
    parts_of(tmp_path / "train" / "good", 3)
    said: list[str] = []
    assert len(list(read_normal_samples(tmp_path, ImageReader(notice=said.append)))) == 3
    assert said == [f"{tmp_path}: left out: 2 beside the folders that are read (part0.png, part1.png)"]
