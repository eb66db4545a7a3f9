"""Files that are there whole or not at all, also after a power cut."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

# also how a leftover of a cut-off write is recognised
PART_END = ".part"


def write_atomic(path: Path, data: bytes, mode: int | None = None, *, sync: bool = True, hidden: bool = False) -> None:
    """Temporary file, fsync, rename: the name never shows half a file. The name itself lasts after sync_directory.

    mode: of the file, whatever the umask is; None: as the umask has it. sync: False for what is out of date after a
    power cut anyway, and written too often for a disk to be waited for. hidden: the temporary file's name begins with a
    dot, where others read all files of a folder.
    Raises OSError; nothing is left behind then.
    """
    part = path.with_name(("." if hidden else "") + path.name + PART_END)
    try:
        with part.open("wb") as file:
            if mode is not None:
                part.chmod(mode)
            file.write(data)
            file.flush()
            if sync:
                os.fsync(file.fileno())
        part.replace(path)
    except OSError:
        # a file that cannot be removed is a leftover like after a power cut
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def sync_directory(directory: Path) -> None:
    """Make the names written so far last. Raises OSError."""
    # Windows cannot open a directory; its rename is journalled by the file system
    if os.name == "nt":
        return
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
