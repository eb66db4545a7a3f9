"""Pictures that came as files are kept as those files: nothing is encoded again, and nothing is lost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from edge.capture.file_sources import PictureFiles
from edge.capture.images.image_io import original_suffix
from edge.capture.images.image_reader import ImageReader
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.inspection.replay import Outcome, replay
from edge.records.store import RecordStore
from tests.edge.records.records_fakes import START, image_files, inspector, look, recorder, stored, wait_for


def encoded(suffix: str, picture: np.ndarray) -> bytes:
    return cv2.imencode(suffix, picture)[1].tobytes()


def source(*paths: Path) -> PictureFiles:
    return PictureFiles(paths, None, ImageReader(), "folder")


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_a_rejected_file_is_stored_byte_for_byte_and_replays(tmp_path, suffix):
    part, _ = look(0, Decision.NG)
    path = tmp_path / f"part{suffix}"
    path.write_bytes(encoded(suffix, part.image))
    frame = source(path).read()
    records = tmp_path / "records"
    sink = recorder(records)
    sink.write(replace(frame, utc=START), inspector().inspect(frame))
    sink.close()

    row = stored(records)[0]
    assert (records / row.image).read_bytes() == path.read_bytes()
    assert row.image.endswith(suffix)
    with RecordStore(records) as store:
        assert replay(store, row.id, lambda run, recorded: inspector()).outcome is Outcome.SAME


def test_a_rotation_noted_in_a_jpeg_is_ignored_by_replay_as_on_the_line(tmp_path):
    part, _ = look(0, Decision.NG)
    plain = encoded(".jpg", part.image)
    turned = bytes.fromhex("ffe1001e457869660000") + b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0"
    path = tmp_path / "turned.jpg"
    path.write_bytes(plain[:2] + turned + plain[2:])
    assert cv2.imread(str(path)).shape[:2] == part.image.shape[1::-1], "the file says it is rotated"
    frame = source(path).read()
    sink = recorder(tmp_path / "records")
    sink.write(replace(frame, utc=START), inspector().inspect(frame))
    sink.close()
    with RecordStore(tmp_path / "records") as store:
        assert replay(store, 1, lambda run, recorded: inspector()).outcome is Outcome.SAME


def test_a_picture_of_sixteen_bits_and_other_formats_are_stored_as_png(tmp_path):
    """What they decode to depends on a setting, or on who decodes them."""
    grey = np.full((24, 32), 40000, np.uint16)
    grey[8:12, 8:12] = 60000
    (tmp_path / "deep.png").write_bytes(encoded(".png", grey))
    (tmp_path / "part.webp").write_bytes(encoded(".webp", look(1, Decision.NG)[0].image))
    assert original_suffix((tmp_path / "deep.png").read_bytes()) is None
    camera = source(tmp_path / "deep.png", tmp_path / "part.webp")
    frames = [camera.read(), camera.read()]
    sink = recorder(tmp_path / "records")
    for frame in frames:
        assert frame.original is None
        sink.write(replace(frame, utc=START), replace(inspector().inspect(frame), decision=Decision.NG))
    sink.close()
    for row, frame in zip(stored(tmp_path / "records"), frames, strict=True):
        assert np.array_equal(cv2.imread(str(tmp_path / "records" / row.image)), frame.image)


def test_expired_files_go_with_their_overlays_whatever_their_kind(tmp_path):
    pictures = [look(index, Decision.NG, utc=START)[0] for index in range(2)]
    paths = [tmp_path / "a.png", tmp_path / "b.jpg"]
    for path, picture in zip(paths, pictures, strict=True):
        path.write_bytes(encoded(path.suffix, picture.image))
    camera, records = source(*paths), tmp_path / "records"
    counters = RunCounters()
    sink = recorder(records, counters, max_image_mb=1e-6)
    for frame in (camera.read(), camera.read()):
        sink.write(replace(frame, utc=START), inspector().inspect(frame))
    wait_for(lambda: counters.images_stored == 2)
    wait_for(lambda: not image_files(records))
    sink.close()


def test_a_left_over_overlay_of_a_jpeg_is_swept(tmp_path):
    sink = recorder(tmp_path)
    frame, verdict = look(0, Decision.NG)
    sink.write(replace(frame, original=encoded(".jpg", frame.image)), verdict)
    sink.close()
    row = stored(tmp_path)[0]
    kept = image_files(tmp_path)
    left = (tmp_path / row.overlay).with_name((tmp_path / row.overlay).name.replace("1-000000", "1-000001"))
    left.write_bytes(b"left behind")
    sink = recorder(tmp_path)
    wait_for(lambda: not left.exists())
    sink.close()
    assert image_files(tmp_path) == kept
