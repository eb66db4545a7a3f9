"""Room on the disk that is kept back, so that verdicts can still be recorded when somebody else has filled it."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from edge.core.files.private_files import make_file

NAME = "spare-room"
# about ten thousand verdicts
SIZE_BYTES = 8_000_000
# the share of a small disk, and how many times as much must be free before anything is kept back
_SHARE, _PLENTY = 16, 4


class SpareRoom:
    """A file of no use but its size, in the folder of the records. Best effort: a disk that has no room has none."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / NAME
        self._taken = False

    def keep(self) -> None:
        """Take the room, once, and again after it was given: where there is plenty."""
        if self._taken:
            return
        with suppress(OSError):
            usage = shutil.disk_usage(self._path.parent)
            size = min(SIZE_BYTES, usage.total // _SHARE)
            if not self._path.exists() and usage.free < _PLENTY * size:
                return
            make_file(self._path)
            try:
                self._fill(size)
                self._taken = True
            except OSError:
                self._path.unlink()

    def give(self) -> bool:
        """Free the room; False when there was none."""
        self._taken = False
        try:
            self._path.unlink()
        except OSError:
            return False
        return True

    def _fill(self, size: int) -> None:
        with self._path.open("r+b") as file:
            if hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, size)
            else:
                file.write(bytes(size))
