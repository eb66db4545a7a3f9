"""Pictures from disk: as they are, or shown at a camera's pace."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

from edge.capture.images.image_io import original_suffix
from edge.capture.images.image_reader import ImageReader
from edge.core.datatypes import Frame


class Pace:
    """Moments `1/fps` apart; a late caller is let through at once and the rhythm starts again from there."""

    def __init__(self, fps: float | None, now_ns: Callable[[], int] = time.perf_counter_ns) -> None:
        self._period_ns = round(1e9 / fps) if fps else 0
        self._now_ns = now_ns
        self._next_ns = 0
        self._ended = threading.Event()

    def wait(self) -> None:
        """Sleep until the next moment, or until `end`."""
        if self._period_ns == 0:
            return
        remaining_ns = self._next_ns - self._now_ns()
        if remaining_ns > 0:
            self._ended.wait(remaining_ns / 1e9)
        now_ns = self._now_ns()
        late = now_ns - self._next_ns > self._period_ns
        self._next_ns = (now_ns if late else self._next_ns) + self._period_ns

    def end(self) -> None:
        self._ended.set()


class PictureFiles:
    """Picture files in the order given, each once. Nothing is skipped: a bad file is a Frame with a fault."""

    live = False
    dropped = 0
    recorded_fps = None

    def __init__(self, paths: Sequence[Path], fps: float | None, reader: ImageReader, name: str) -> None:
        self.name = name
        self._paths = tuple(paths)
        self._reader = reader
        self._pace = Pace(fps)
        self._reads = 0

    def read(self) -> Frame | None:
        """The next file, None after the last; `Frame.source` is the file's path."""
        if self._reads == len(self._paths):
            return None
        self._pace.wait()
        index, self._reads = self._reads, self._reads + 1
        path = self._paths[index]
        looked = self._reader.look(path)
        original = looked.encoded if looked.image is not None and original_suffix(looked.encoded) else None
        now_ns, utc = time.perf_counter_ns(), datetime.now(timezone.utc)
        return Frame(index, now_ns, utc, str(path), looked.image, looked.fault, original)

    def interrupt(self) -> None:
        """Let a read that waits for its pace end at once; from another thread."""
        self._pace.end()

    def close(self) -> None:
        self._pace.end()


class PacedPictures:
    """Picture files shown in their order, for ever, as a live camera would: at a rate, whether or not anyone looks.

    A path may be listed many times; two equal neighbours are shown once, since a camera never sees the same picture
    twice. Every file is decoded when the source is made, so that showing one costs a copy; in memory each takes
    height x width x 3 bytes.
    """

    live = True
    dropped = 0
    recorded_fps = None

    def __init__(self, paths: Sequence[Path], fps: float, reader: ImageReader, name: str) -> None:
        self.name = name
        self._order = [path for before, path in zip([paths[-1], *paths], paths, strict=False) if path != before]
        # nothing is left of one path, or of one path repeated
        self._order = self._order or [paths[0]]
        looks = {path: reader.look(path) for path in self._order}
        self._decoded = {path: (look.image, look.fault) for path, look in looks.items()}
        self._pace = Pace(fps)
        self._reads = 0

    def read(self) -> Frame | None:
        """The next picture, never None; the array is the receiver's own. `Frame.source` is name/file."""
        self._pace.wait()
        index, self._reads = self._reads, self._reads + 1
        path = self._order[index % len(self._order)]
        image, fault = self._decoded[path]
        own = None if image is None else image.copy()
        shown = f"{self.name}/{path.parent.name}/{path.name}"
        return Frame(index, time.perf_counter_ns(), datetime.now(timezone.utc), shown, own, fault)

    def interrupt(self) -> None:
        """Let a read that waits for its pace end at once; from another thread."""
        self._pace.end()

    def close(self) -> None:
        self._pace.end()
