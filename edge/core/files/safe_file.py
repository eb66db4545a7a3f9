"""Files of a folder that came from elsewhere: never outside it, never a device or a pipe, never above a size."""

from __future__ import annotations

import os
import stat
from pathlib import Path

# a link that appears after the check, or a pipe that nobody writes to, must not lead away or hang
_OPEN = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)


# inode, size and time of change; None while there is no file
Stamp = tuple[int, int, int] | None


def stamp(file: Path) -> Stamp:
    """Differs when a file was replaced or changed; costs one `stat`."""
    try:
        state = file.stat()
    except OSError:
        return None
    return state.st_ino, state.st_size, state.st_mtime_ns


class Unconfined(OSError):
    """A file that is not a plain one inside its folder, or too large."""


def read_safe(folder: Path, name: str, limit_bytes: int) -> bytes:
    """The content of a plain file of the folder; links may lead to another file inside it.

    Raises OSError, of which Unconfined is one; its strerror says what is wrong. The size is checked before it is read.
    """
    inside = folder.resolve()
    try:
        file = (inside / name).resolve()
    except RuntimeError as error:
        # before Python 3.13; later ones leave it to `open`
        raise Unconfined(0, "is a link that leads to itself") from error
    if not file.is_relative_to(inside):
        raise Unconfined(0, f"leads to {file}, outside the folder")
    descriptor = os.open(file, _OPEN)
    with os.fdopen(descriptor, "rb") as opened:
        state = os.fstat(descriptor)
        if not stat.S_ISREG(state.st_mode):
            raise Unconfined(0, "is not a plain file")
        if state.st_size > limit_bytes:
            raise Unconfined(0, f"is {state.st_size} bytes large, more than the {limit_bytes} allowed")
        # a file that grows while it is read does not grow in memory
        return opened.read(limit_bytes)
