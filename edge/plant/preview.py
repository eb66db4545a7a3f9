"""preview.jpg: the newest judged picture for pages of the same machine, made only while somebody looks at it.

The same thread gives the whole picture to whoever asks for one (picture_request.py).
"""

from __future__ import annotations

import logging
import threading
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from edge.core.counters import worth_a_line
from edge.core.datatypes import U8, Decision, Frame, Region, Verdict
from edge.core.files.atomic_file import write_atomic
from edge.core.files.private_files import FILE_MODE, make_folder
from edge.core.files.safe_file import Stamp, stamp
from edge.plant.picture_request import PictureGiver
from edge.preprocessing.regions import FieldOfView
from edge.records.overlay import draw_box, judged_fields
from edge.records.writer.pictures import FieldOfRecipe, FieldOfViewOf

log = logging.getLogger("edge.plant")

PREVIEW_NAME = "preview.jpg"
WANTED_NAME = "preview.wanted"
# a reader touches the file at least this often, and is believed for this long
TOUCH_EVERY_S, BELIEVED_S = 1.0, 3.0
EVERY_S = 0.2
LARGEST_PX = 960
_LOOK_EVERY_S = 0.5
_CLOSE_S = 0.3
_QUALITY = (cv2.IMWRITE_JPEG_QUALITY, 80)
_GREY, _WORDS = 96, (235, 235, 235)
_MOST_BOXES = 12


class PreviewFile:
    """A sink that remembers the newest frame, and no more; a thread of its own draws, encodes and writes it.

    directory: where the file is, and where a reader touches WANTED_NAME while it looks. field_of_view: (height, width)
    of a frame → what the anomaly map covers; of_recipe: the same of a verdict's recipe, in its place. A folder that
    cannot be written is logged and tried again.
    """

    def __init__(
        self,
        directory: Path,
        field_of_view: FieldOfViewOf,
        every_s: float = EVERY_S,
        of_recipe: FieldOfRecipe = lambda name: None,
    ) -> None:
        self._directory, self._field_of_view, self._every_s = directory, field_of_view, every_s
        self._of_recipe = of_recipe
        self._newest: tuple[Frame, Verdict] | None = None
        self._failures = 0
        self._giver = PictureGiver(directory)
        self._remove()
        # by an earlier line's readers
        self._touched: Stamp = stamp(directory / WANTED_NAME)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="preview", daemon=True)
        self._thread.start()

    def write(self, frame: Frame, verdict: Verdict) -> None:
        self._newest = frame, verdict

    def close(self) -> None:
        """A picture that is being made is not waited for."""
        self._stop.set()
        self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        # by changes of the file and this clock: the wall clock may jump
        touched, until_s = self._touched, 0.0
        shown: tuple[Frame, Verdict] | None = None
        while not self._stop.wait(self._every_s if until_s else _LOOK_EVERY_S):
            seen: Stamp = stamp(self._directory / WANTED_NAME)
            if seen != touched:
                touched, until_s = seen, time.monotonic() + BELIEVED_S
            if until_s and time.monotonic() >= until_s:
                until_s, shown = 0.0, None
                self._remove()
            self._giver.look(lambda: None if self._newest is None else self._newest[0])
            newest = self._newest
            if until_s and newest is not None and newest is not shown:
                shown = newest
                self._write(*newest)
        self._remove()
        self._giver.close()

    def _write(self, frame: Frame, verdict: Verdict) -> None:
        try:
            field_of_view = self._of_recipe(verdict.recipe) or self._field_of_view
            view = None if frame.image is None else field_of_view(*frame.image.shape[:2])
            data = preview_bytes(frame, verdict, view)
            make_folder(self._directory)
            write_atomic(self._directory / PREVIEW_NAME, data, FILE_MODE, sync=False)
            self._failures = 0
        # OpenCV refuses with its own class; the next picture may be a good one
        except (OSError, ValueError, cv2.error) as error:
            self._failures += 1
            if worth_a_line(self._failures):
                log.warning("no preview in %s (%d times): %s", self._directory, self._failures, error)

    def _remove(self) -> None:
        """An old picture must not be taken for a new one."""
        with suppress(OSError):
            (self._directory / PREVIEW_NAME).unlink(missing_ok=True)


def preview_bytes(frame: Frame, verdict: Verdict, view: FieldOfView | None) -> bytes:
    """`preview_picture` as JPEG."""
    return bytes(cv2.imencode(".jpg", preview_picture(frame, verdict, view), _QUALITY)[1])


def preview_picture(frame: Frame, verdict: Verdict, view: FieldOfView | None) -> U8:
    """The picture of the frame, at most LARGEST_PX wide and high, uint8 BGR; of an NG part with heat and boxes.

    Grey, with the reason, where the frame has no picture.
    """
    if frame.image is None:
        return without_picture(str(verdict.reason).replace("_", " "))
    height, width = frame.image.shape[:2]
    scale = min(1.0, LARGEST_PX / max(height, width))
    picture = frame.image.copy() if scale == 1 else _smaller(frame.image, scale)
    if verdict.decision is not Decision.NG:
        return picture
    for field in judged_fields(frame, verdict, view):
        x = min(round(field.x * scale), picture.shape[1] - 1)
        width = max(1, min(round(field.width * scale), picture.shape[1] - x))
        height = max(1, min(round(field.height * scale), picture.shape[0]))
        seen = _scaled_view(field.view, picture[:height, x : x + width], scale)
        replace(field, view=seen, x=x, width=width, height=height).heat(picture)
    for region in verdict.regions[:_MOST_BOXES]:
        draw_box(picture, _scaled_region(region, scale), 1)
    return picture


def _smaller(image: U8, scale: float) -> U8:
    """By means of pixels; of a large picture by those of every second or third one: all would take ten times longer."""
    height, width = image.shape[:2]
    size = max(1, round(width * scale)), max(1, round(height * scale))
    step = int(1 / (2 * scale))
    if step > 1:
        thinned = max(1, width // step), max(1, height // step)
        image = np.asarray(cv2.resize(image, thinned, interpolation=cv2.INTER_NEAREST), np.uint8)
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def without_picture(words: str) -> U8:
    """What is shown where there is nothing to see, uint8 BGR; words: in ASCII."""
    picture = np.full((360, 480, 3), _GREY, np.uint8)
    (width, height), _ = cv2.getTextSize(words, cv2.FONT_HERSHEY_SIMPLEX, 1.4, 2)
    at = (480 - width) // 2, (360 + height) // 2
    cv2.putText(picture, words, at, cv2.FONT_HERSHEY_SIMPLEX, 1.4, _WORDS, 2, cv2.LINE_AA)
    return picture


def _scaled_view(view: FieldOfView, picture: U8, scale: float) -> FieldOfView:
    """Inside the scaled picture, and never empty."""
    height, width = picture.shape[:2]
    x, y = min(round(view.x * scale), width - 1), min(round(view.y * scale), height - 1)
    return FieldOfView(
        x, y, max(1, min(round(view.width * scale), width - x)), max(1, min(round(view.height * scale), height - y))
    )


def _scaled_region(region: Region, scale: float) -> Region:
    x, y, width, height = (round(side * scale) for side in (region.x, region.y, region.width, region.height))
    return Region(x, y, width, height, region.area_px, region.peak)
