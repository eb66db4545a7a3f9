"""Which part lies before the camera, as a text file says that another program replaces."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from edge.capture.capture import FrameSupply
from edge.core.counters import worth_a_line
from edge.core.datatypes import Fault, Frame, Part
from edge.core.files.safe_file import Stamp, read_safe, stamp

log = logging.getLogger(__name__)

LOOK_EVERY_S = 0.05
LARGEST_BYTES = 4096
# what was read says nothing any more when the file could not be looked at for so long, as on a disk of the network
_BELIEVED_S = 2.0
_FIRST_LOOK_S = 0.5
_CLOSE_S = 0.3
# of so many changes it is remembered when they were read; a frame is not that old
_REMEMBERED = 32
_LINE = re.compile(r"(number|lot)\s*:(.*)", re.IGNORECASE)


def part_in(data: bytes) -> Part | None:
    """The part that a file names, None for an empty one; raises ValueError that says what is wrong with it.

    Lines `number: …` and `lot: …`, each once, or a single line that is the number. Text in UTF-8.
    """
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is no text in UTF-8") from None
    if "\0" in text:
        raise ValueError("it is no text: it holds zero bytes")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    found = [_LINE.fullmatch(line) for line in lines]
    if len(lines) == 1 and found[0] is None:
        return Part.told(lines[0])
    values: dict[str, str] = {}
    for line, match in zip(lines, found, strict=True):
        if match is None:
            raise ValueError(f"`{line[:40]}` is neither `number: …` nor `lot: …`")
        key = match[1].lower()
        if key in values:
            raise ValueError(f"it has two lines `{key}: …`")
        values[key] = match[2]
    part = Part.told(values.get("number", ""), values.get("lot", ""))
    return part if part.words else None


class PartFile:
    """Looks at a file many times a second, in a thread of its own, until `close`.

    A file tells the part once two looks found it the same. From the first look that finds it changed, missing, half
    written, too large or no text, until then, frames have no part: none is better than an old one. What is wrong is
    logged. Raises nothing.
    """

    def __init__(self, path: Path, every_s: float = LOOK_EVERY_S) -> None:
        self._path, self._every_s = path, every_s
        # (from when on, part), replaced as a whole; the newest last
        self._told: tuple[tuple[int, Part | None], ...] = ()
        self._looked_ns = 0
        self._seen: Stamp = None
        self._is_read = False
        self._failures = 0
        self._stop, self._first_looks_over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._work, name="part file", daemon=True)
        self._thread.start()
        # so that the first frames have their part, too; a disk that hangs keeps no line waiting
        self._first_looks_over.wait(_FIRST_LOOK_S)

    def part_at(self, moment_ns: int) -> Part | None:
        """The part of a frame that was grabbed then (`time.perf_counter_ns`); never waits for the disk."""
        if time.perf_counter_ns() - self._looked_ns > _BELIEVED_S * 1e9:
            return None
        return next((part for since_ns, part in reversed(self._told) if since_ns <= moment_ns), None)

    def close(self) -> None:
        self._stop.set()
        self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        looks = 0
        while True:
            self._look()
            looks += 1
            if looks == 2:
                self._first_looks_over.set()
            if self._stop.wait(self._every_s):
                return

    def _look(self) -> None:
        before_ns = time.perf_counter_ns()
        seen = stamp(self._path)
        if seen != self._seen:
            self._seen, self._is_read = seen, False
            self._tell(None)
        elif seen is not None and not self._is_read:
            self._read()
        if self._looked_ns and before_ns - self._looked_ns > _BELIEVED_S * 1e9:
            log.warning("%s could not be looked at for %.0f s: frames had no part meanwhile", self._path,
                        (before_ns - self._looked_ns) / 1e9)  # fmt: skip
        self._looked_ns = time.perf_counter_ns()

    def _read(self) -> None:
        try:
            part = part_in(read_safe(self._path.parent, self._path.name, LARGEST_BYTES))
        except (OSError, ValueError) as error:
            # a disk that errs and a missing right may be mended without a change that the stamp shows
            self._is_read = isinstance(error, ValueError)
            self._failures += 1
            if worth_a_line(self._failures):
                why = getattr(error, "strerror", None) or error
                log.warning("%s tells no part (%d times): %s", self._path, self._failures, why)
            return
        # replaced while it was read: the next looks decide
        if stamp(self._path) == self._seen:
            self._is_read = True
            self._tell(part)

    def _tell(self, part: Part | None) -> None:
        self._told = (*self._told[1 - _REMEMBERED :], (time.perf_counter_ns(), part))


class IdentifiedFrames:
    """A supply whose frames say which part they show. part_at: the part at the moment of a grab, None: not known."""

    def __init__(self, frames: FrameSupply, part_at: Callable[[int], Part | None]) -> None:
        self.live = frames.live
        self._frames, self._part_at = frames, part_at

    @property
    def ended(self) -> bool:
        return self._frames.ended

    def take(self, timeout_s: float) -> Frame | None:
        """See FrameSupply."""
        frame = self._frames.take(timeout_s)
        return None if frame is None else self._identified(frame)

    def blank(self, fault: Fault) -> Frame:
        """A frame without a picture, of the part that is there now."""
        return self._identified(self._frames.blank(fault))

    def _identified(self, frame: Frame) -> Frame:
        part = self._part_at(frame.captured_ns)
        if frame.part is not None and frame.part.trigger is not None:
            # the camera's own trigger, which tells nothing of the part but its turn
            part = replace(part or Part(), trigger=frame.part.trigger)
        return replace(frame, part=part)
