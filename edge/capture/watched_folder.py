"""A folder into which pictures arrive: each is judged once it is whole, in the order of arrival, without an end."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edge.capture.file_sources import Pace
from edge.capture.images.image_io import natural_key, not_a_picture, original_suffix
from edge.capture.images.image_reader import ImageFinding, ImageReader
from edge.core.datatypes import Frame

log = logging.getLogger(__name__)

POLL_S = 0.1
# a file that does not decode is waited for so long after its last change, and then it is what it is
PATIENCE_S = 3.0
# without a change of the folder's own time stamp it is looked at only so often: some file systems keep that time coarse
_ANYWAY_S = 2.0
# looking at a large folder takes at most this share of the time
_LOOKING_SHARE = 0.2
# so many files in the folder are no longer cheap to look through
_MANY = 100_000

# what makes a file another one: its inode, size and time of change; a file that is renamed stays the same
_Identity = tuple[int | str, int, int]


@dataclass(frozen=True)
class _Found:
    """A file as it was seen. since_s: when it was first seen with this size and time."""

    path: Path
    identity: _Identity
    arrived_ns: int
    since_s: float


class WatchedFolder:
    """Pictures that are in a folder, then those that arrive, each once. Nothing is skipped: a bad file has a fault.

    A file counts as whole when its size and time stay the same from one look to the next and it decodes; one that does
    not decode PATIENCE_S after its last change is handed over as undecodable. Judged files may stay; of each a few
    dozen bytes are kept until it is gone. A folder that is removed is waited for. Links out of it are not followed.
    """

    live = False
    dropped = 0
    recorded_fps = None

    def __init__(
        self,
        folder: Path,
        reader: ImageReader,
        fps: float | None = None,
        *,
        poll_s: float = POLL_S,
        patience_s: float = PATIENCE_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = str(folder)
        self._folder = folder
        self._reader = reader
        self._pace = Pace(fps)
        self._poll_s, self._patience_s, self._clock = poll_s, patience_s, clock
        self._stopped = threading.Event()
        self._reads = 0
        self._ready: deque[_Found] = deque()
        self._pending: dict[_Identity, _Found] = {}
        self._done: set[_Identity] = set()
        self._folder_time_ns: int | None = None
        self._looked_s = -1e9
        self._left_out: Counter[str] = Counter()
        self._gone = False
        self._warned_many = False

    def read(self) -> Frame | None:
        """The next picture, waiting for one; None only after `interrupt`. `Frame.source` is the file's path."""
        while not self._stopped.is_set():
            while self._ready:
                found = self._ready.popleft()
                looked = self._whole(found)
                if looked is not None:
                    return self._frame(found.path, looked)
            started = self._clock()
            self._look()
            took_s = self._clock() - started
            if not self._ready:
                self._stopped.wait(max(self._poll_s, took_s / _LOOKING_SHARE))
        return None

    def interrupt(self) -> None:
        """From any thread: `read` returns soon."""
        self._stopped.set()
        self._pace.end()

    def close(self) -> None:
        self.interrupt()

    def _frame(self, path: Path, looked: ImageFinding) -> Frame:
        self._pace.wait()
        index, self._reads = self._reads, self._reads + 1
        original = looked.encoded if looked.image is not None and original_suffix(looked.encoded) else None
        now_ns, utc = time.perf_counter_ns(), datetime.now(timezone.utc)
        return Frame(index, now_ns, utc, str(path), looked.image, looked.fault, original)

    def _whole(self, found: _Found) -> ImageFinding | None:
        """What came of the file, or None when it is not whole yet, or is another one by now."""
        looked = self._reader.look(found.path)
        if looked.image is None:
            changed = self._now(found.path)
            if changed is None and self._renamed(found):
                return None
            if changed is not None and changed != found.identity:
                return None
            if changed is not None and self._clock() - found.since_s < self._patience_s:
                self._pending[found.identity] = found
                return None
        self._done.add(found.identity)
        return looked

    def _now(self, path: Path) -> _Identity | None:
        try:
            return _identity(path.name, path.stat())
        except OSError:
            return None

    def _renamed(self, found: _Found) -> bool:
        """Whether a file that is gone is in the folder under another name."""
        try:
            return any(_identity(entry.name, entry.stat()) == found.identity for entry in self._folder.iterdir())
        except OSError:
            return False

    def _look(self) -> None:
        """See what is in the folder, and which of it has not changed since the last look."""
        try:
            folder_time_ns = self._folder.stat().st_mtime_ns
            now_s = self._clock()
            quiet = folder_time_ns == self._folder_time_ns and now_s - self._looked_s < _ANYWAY_S
            if quiet and not self._pending:
                return
            found = self._files(now_s)
        except OSError as error:
            if not self._gone:
                log.warning("%s: the folder cannot be read (%s); waiting for it", self.name, error.strerror or error)
            self._gone = True
            return
        if self._gone:
            log.warning("%s: the folder is there again", self.name)
        self._gone, self._folder_time_ns, self._looked_s = False, folder_time_ns, now_s
        # what is gone is forgotten
        self._done.intersection_update(found)
        new = {identity: each for identity, each in found.items() if identity not in self._done}
        settled = [self._pending[identity] for identity in new if identity in self._pending]
        renamed = {identity: new[identity].path for identity in new}
        self._pending = {identity: each for identity, each in new.items() if identity not in self._pending}
        ready = [_Found(renamed[each.identity], each.identity, each.arrived_ns, each.since_s) for each in settled]
        self._ready.extend(sorted(ready, key=lambda each: (each.arrived_ns, natural_key(each.path))))

    def _files(self, now_s: float) -> dict[_Identity, _Found]:
        found: dict[_Identity, _Found] = {}
        left_out: Counter[str] = Counter()
        with os.scandir(self._folder) as entries:
            for entry in entries:
                path = self._folder / entry.name
                try:
                    reason = not_a_picture(path, links_out=False)
                    status = entry.stat() if reason is None else None
                # gone between two looks
                except FileNotFoundError:
                    continue
                if status is None:
                    left_out[str(reason)] += 1
                    continue
                identity = _identity(entry.name, status)
                found[identity] = _Found(path, identity, status.st_ctime_ns, now_s)
        self._warn(left_out, len(found))
        return found

    def _warn(self, left_out: Counter[str], files: int) -> None:
        """What is left out, when there is ten times as much of it; and when the folder grows beyond bounds."""
        for reason, count in left_out.items():
            if count >= max(1, 10 * self._left_out[reason]):
                self._left_out[reason] = count
                log.warning("%s: left out: %d %s", self.name, count, reason)
        if files > _MANY and not self._warned_many:
            self._warned_many = True
            log.warning("%s: %d pictures: remove or move those that were judged, looking through them takes time",
                        self.name, files)  # fmt: skip


def _identity(name: str, status: os.stat_result) -> _Identity:
    # where a file system has no inodes, the name must do
    return (status.st_ino or name, status.st_size, status.st_mtime_ns)
