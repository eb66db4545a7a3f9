"""A file that keeps room for verdicts is there where there is plenty, and goes when the room is needed."""

import shutil
from collections import namedtuple

from edge.records.writer.spare_room import NAME, SIZE_BYTES, SpareRoom

Usage = namedtuple("Usage", "total used free")


def disk(monkeypatch, total, free):
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(total, total - free, free))


def test_a_large_disk_keeps_its_full_size_and_a_small_one_a_share(tmp_path, monkeypatch):
    for total, size in ((10**12, SIZE_BYTES), (16_000_000, 1_000_000)):
        disk(monkeypatch, total, total)
        room = SpareRoom(tmp_path)
        room.keep()
        assert (tmp_path / NAME).stat().st_size == size
        assert room.give()
        assert not room.give()
        assert not (tmp_path / NAME).exists()


def test_what_was_given_is_kept_again_when_there_is_plenty(tmp_path, monkeypatch):
    disk(monkeypatch, 10**9, 10**9)
    room = SpareRoom(tmp_path)
    room.keep()
    room.give()
    disk(monkeypatch, 10**9, SIZE_BYTES)
    room.keep()
    assert not (tmp_path / NAME).exists()
    disk(monkeypatch, 10**9, 10**8)
    room.keep()
    assert (tmp_path / NAME).exists()


def test_a_file_that_somebody_removed_is_not_made_again_and_again(tmp_path, monkeypatch):
    disk(monkeypatch, 10**9, 10**9)
    room = SpareRoom(tmp_path)
    room.keep()
    (tmp_path / NAME).unlink()
    room.keep()
    assert not (tmp_path / NAME).exists()
