"""One whole picture of a running line, asked for by another process: through files in the line's run directory.

One asks at a time. The picture and the answer stay as long as the request does.
"""

from __future__ import annotations

import json
import logging
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2
import numpy as np

from edge.core.datatypes import U8, Frame
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.files.file_lock import file_lock
from edge.core.files.private_files import FILE_MODE
from edge.core.files.safe_file import Stamp, read_safe, stamp
from edge.plant.status_file import is_live, read_status

log = logging.getLogger("edge.plant")

REQUEST_NAME, ANSWER_NAME, LOCK_NAME = "picture-request.json", "picture-answer.json", "picture.lock"
PICTURE_NAME = "picture.png"
# the thread looks twice a second, and packs 12 megapixels in half a second on a slow machine
ANSWER_WITHIN_S = 10.0
_LOOK_EVERY_S = 0.02
_LARGEST_TEXT_BYTES, _LARGEST_PICTURE_BYTES = 10_000, 256_000_000
# the quickest packing, and lossless
_PACKING = [int(cv2.IMWRITE_PNG_COMPRESSION), 1]


@dataclass(frozen=True)
class PictureAnswer:
    """key: of the request. taken: whether the picture lies there. text: when not, why. utc: when it was taken."""

    key: str
    taken: bool
    text: str = ""
    utc: str = ""


@dataclass(frozen=True)
class LinePicture:
    """image: the whole frame as the line judged it, uint8 (H, W, 3) BGR. utc: when it was taken, ISO 8601."""

    image: U8
    utc: str


def ask_for_picture(directory: Path, within_s: float = ANSWER_WITHIN_S) -> LinePicture:
    """The newest frame that the line of this run directory has judged.

    Raises UsageError where no line runs there, where it does not answer, has no picture or cannot write it, and where
    the directory cannot be written.
    """
    status = read_status(directory)
    if status is None or not status.get("running") or not is_live(status):
        raise UsageError("the line does not run, or hangs: it takes no picture", fix="start the line, and try again")
    try:
        with file_lock(directory / LOCK_NAME):
            return _asked(directory, secrets.token_hex(8), within_s)
    except OSError as error:
        raise UsageError(
            f"{directory}: the line cannot be asked for a picture: {error.strerror or error}",
            fix="free some space there, or run the pages as the user that the line runs as",
        ) from error


def _asked(directory: Path, key: str, within_s: float) -> LinePicture:
    request = directory / REQUEST_NAME
    write_atomic(request, json.dumps({"key": key}).encode(), FILE_MODE, sync=False)
    until = time.monotonic() + within_s
    try:
        while time.monotonic() < until:
            answer = _answer_in(directory)
            if answer is not None and answer.key == key:
                if not answer.taken:
                    raise UsageError(f"the line has no picture: {answer.text}", fix="mend that, and try again")
                return LinePicture(_decoded(read_safe(directory, PICTURE_NAME, _LARGEST_PICTURE_BYTES)), answer.utc)
            time.sleep(_LOOK_EVERY_S)
    finally:
        # the line removes the picture when it sees that nobody asks any more
        request.unlink(missing_ok=True)
    raise UsageError(
        f"the line has not given a picture within {within_s:g} s",
        fix="see the line's log; a line of an older version gives none: restart it",
    )


def _decoded(data: bytes) -> U8:
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR)
    if picture is None:
        raise UsageError("the picture that the line gave cannot be read", fix="try again")
    return np.asarray(picture, np.uint8)


def _answer_in(directory: Path) -> PictureAnswer | None:
    try:
        values = json.loads(read_safe(directory, ANSWER_NAME, _LARGEST_TEXT_BYTES))
        answer = PictureAnswer(**{name: values[name] for name in PictureAnswer.__dataclass_fields__})
    except (OSError, ValueError, KeyError, TypeError):
        return None
    sound = isinstance(answer.taken, bool) and all(isinstance(t, str) for t in (answer.key, answer.text, answer.utc))
    return answer if sound else None


class PictureGiver:
    """The line's side. Used from one thread. What was asked of an earlier line is forgotten."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._seen: Stamp = None
        self.close()

    def look(self, newest: Callable[[], Frame | None]) -> None:
        """Answer a request that has come; remove the picture of one that has gone. newest: the frame to give."""
        seen = stamp(self._directory / REQUEST_NAME)
        if seen == self._seen:
            return
        self._seen = seen
        if seen is None:
            self._remove(PICTURE_NAME, ANSWER_NAME)
            return
        try:
            key = json.loads(read_safe(self._directory, REQUEST_NAME, _LARGEST_TEXT_BYTES))["key"]
        except (OSError, ValueError, KeyError, TypeError):
            log.warning("%s cannot be read, or is no request", self._directory / REQUEST_NAME)
            return
        try:
            answer = json.dumps(asdict(self._taken(str(key), newest()))).encode()
            write_atomic(self._directory / ANSWER_NAME, answer, FILE_MODE, sync=False)
        except OSError as error:
            log.warning("nobody is told of the picture in %s: %s", self._directory, error)

    def _taken(self, key: str, frame: Frame | None) -> PictureAnswer:
        if frame is None:
            return PictureAnswer(key, False, "it has judged no part yet")
        if frame.image is None:
            return PictureAnswer(key, False, "the camera sends none" if frame.fault is None else frame.fault.detail)
        try:
            _, packed = cv2.imencode(".png", frame.image, _PACKING)
            write_atomic(self._directory / PICTURE_NAME, packed.tobytes(), FILE_MODE, sync=False)
        except OSError as error:
            return PictureAnswer(key, False, f"it cannot be written into {self._directory}: {error.strerror or error}")
        # OpenCV refuses with its own class
        except cv2.error as error:
            return PictureAnswer(key, False, f"it cannot be packed: {error}")
        return PictureAnswer(key, True, "", frame.utc.isoformat())

    def close(self) -> None:
        """Leave nothing that a reader could take for an answer of a line that runs."""
        self._remove(REQUEST_NAME, PICTURE_NAME, ANSWER_NAME)

    def _remove(self, *names: str) -> None:
        for name in names:
            with suppress(OSError):
                (self._directory / name).unlink(missing_ok=True)
