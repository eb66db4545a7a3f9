"""Pictures on disk: complete or absent, whatever happens to the power in between."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.capture.images.image_io import original_suffix
from edge.core.datatypes import U8, Frame, Verdict
from edge.core.files.atomic_file import PART_END, sync_directory, write_atomic
from edge.core.files.private_files import FILE_MODE, make_folder
from edge.core.picture_names import OVERLAY_END, overlay_name, owner_of, picture_place, verdict_number
from edge.preprocessing.regions import FieldOfView
from edge.records.cameras import camera_records, cameras_text
from edge.records.overlay import draw_overlay
from edge.records.schema import IMAGES_NAME
from edge.records.writer.png import png_bytes

_IMAGE_ENDS = (".png", ".jpg")

# full colour resolution: with the usual halving, coloured letters and thin boxes smear
_OVERLAY_FORMAT = (cv2.IMWRITE_JPEG_QUALITY, 88, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)

# pictures leave this much free, at most a quarter of the disk, so that rows still fit when pictures no longer do: the
# database's log grows by a megabyte before it is taken in, the database by about a megabyte for a thousand rows
RESERVE_BYTES = 32_000_000

FieldOfViewOf = Callable[[int, int], "FieldOfView | None"]
# name of a recipe → what its parts are seen through; None where there is no such recipe
FieldOfRecipe = Callable[[str], FieldOfViewOf | None]


@dataclass(frozen=True)
class StoredPicture:
    """Files of one picture, relative to the store. size_bytes: of both files, 0 when they belong to an earlier row."""

    image: str
    image_sha256: str
    overlay: str
    size_bytes: int


class NoRoomForPictures(OSError):
    """What is left of the disk is for verdicts."""


class RecordedPictures:
    """Write, remove and sweep the pictures of a store at `directory`.

    field_of_view: (height, width) of a frame → the part the anomaly map covers. of_recipe: the same of the recipe that
    a verdict was judged by.
    """

    def __init__(
        self, directory: Path, field_of_view: FieldOfViewOf, of_recipe: FieldOfRecipe = lambda name: None
    ) -> None:
        self._directory = directory
        self._field_of_view, self._of_recipe = field_of_view, of_recipe
        self._unsynced: set[Path] = set()

    def store(self, frame: Frame, verdict: Verdict, run_id: int) -> StoredPicture:
        """Write the inspected pixels losslessly, and an overlay; both are whole and on disk when this returns.

        A picture that came as a PNG or JPEG file is stored as that file, all others as PNG. Their names are safe only
        after `sync_names`. Raises OSError, and leaves nothing behind.
        """
        assert frame.image is not None
        image = frame.original
        if image is None or original_suffix(image) is None:
            image = png_bytes(frame.image, cameras_text(camera_records(frame, verdict)))
        number = verdict_number(run_id, frame.index)
        field_of_view = self._of_recipe(verdict.recipe) or self._field_of_view
        drawing = draw_overlay(frame, verdict, field_of_view(*frame.image.shape[:2]), number)
        overlay = _jpeg(drawing)
        self._leave_room(len(image) + len(overlay))
        image_path, again = self._directory / image_place(frame, verdict, run_id), 1
        day = image_path.parent
        self._make_directory(day)
        while image_path.exists():
            again += 1
            image_path = self._directory / image_place(frame, verdict, run_id, again)
        overlay_path = _overlay_of(image_path)
        try:
            write_atomic(image_path, image, FILE_MODE)
            write_atomic(overlay_path, overlay, FILE_MODE)
        except OSError:
            _unlink(image_path)
            raise
        self._unsynced.add(day)
        return StoredPicture(
            image=image_path.relative_to(self._directory).as_posix(),
            image_sha256=hashlib.sha256(image).hexdigest(),
            overlay=overlay_path.relative_to(self._directory).as_posix(),
            size_bytes=len(image) + len(overlay),
        )

    def sync_names(self) -> None:
        """Make the names of all files stored so far survive a power cut; call before their rows are committed."""
        for directory in sorted(self._unsynced):
            # a directory that somebody deleted took its pictures along; there is nothing left to sync
            with contextlib.suppress(FileNotFoundError):
                sync_directory(directory)
        self._unsynced.clear()

    def remove(self, image: str) -> None:
        """Remove a picture and its overlay; absent files are fine."""
        path = self._directory / image
        _unlink(path)
        _unlink(_overlay_of(path))

    def sweep(self, is_stale: Callable[[str, str], bool], slice_size: int = 200) -> Iterator[int]:
        """Remove files that no row names, yielding the count removed so far after every `slice_size` files.

        is_stale(run, image) decides, with the run's id or, in earlier names, its key; files whose names this store did
        not give are left alone.
        """
        removed = seen = 0
        for day in sorted(_entries(self._directory / IMAGES_NAME)):
            for path in _entries(day):
                seen += 1
                run, image = _owner(path.relative_to(self._directory).as_posix())
                if run and is_stale(run, image):
                    _unlink(path)
                    removed += 1
                if seen % slice_size == 0:
                    yield removed
            with contextlib.suppress(OSError):
                day.rmdir()
        yield removed

    def _leave_room(self, wanted_bytes: int) -> None:
        usage = shutil.disk_usage(self._directory)
        if usage.free - wanted_bytes < min(RESERVE_BYTES, usage.total // 4):
            raise NoRoomForPictures(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self._directory))

    def _make_directory(self, day: Path) -> None:
        if not day.is_dir():
            make_folder(day)
            self._unsynced.update((day.parent, self._directory))


def image_place(frame: Frame, verdict: Verdict, run_id: int, again: int = 1) -> str:
    """Where the picture of a verdict is stored, relative to the store; again: see `picture_place`."""
    day, name = picture_place(frame.utc, run_id, frame.index, verdict.decision, frame.part, again)
    return f"{IMAGES_NAME}/{day}/{name}{original_suffix(frame.original or b'') or '.png'}"


def newest_run_on_disk(directory: Path) -> int:
    """The highest run in the names of pictures, 0 without any: after a lost database it must not be given again."""
    names = (path.name for day in _entries(directory / IMAGES_NAME) for path in _entries(day))
    owners = (owner_of(name) for name in names)
    return max((int(owner.run) for owner in owners if owner is not None and not owner.by_key), default=0)


def _jpeg(drawing: U8) -> bytes:
    done, data = cv2.imencode(".jpg", drawing, _OVERLAY_FORMAT)
    if not done:
        raise ValueError(f"OpenCV cannot encode {drawing.shape} as JPEG")
    return bytes(np.asarray(data).data)


def _unlink(path: Path) -> None:
    """Best effort: a file that stays is found again by the next sweep."""
    with contextlib.suppress(OSError):
        path.unlink()


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _overlay_of(image: Path) -> Path:
    return image.with_name(overlay_name(image.name))


def _owner(relative: str) -> tuple[str, str]:
    """The run in a file's name and the picture it belongs to; empty when the name is not one of ours."""
    image = relative.removesuffix(PART_END)
    if image.endswith(OVERLAY_END):
        image = image.removesuffix(OVERLAY_END)
        image += "" if image.endswith(_IMAGE_ENDS) else ".png"
    owner = owner_of(image.rsplit("/", 1)[-1]) if image.endswith(_IMAGE_ENDS) else None
    # a temporary file is nobody's picture, even beside a finished one of the same name
    return ("", "") if owner is None else (owner.run, image + (PART_END if relative.endswith(PART_END) else ""))
