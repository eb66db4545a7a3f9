"""Files and folders that the owner writes, the group reads, and nobody else sees, whatever the umask is."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

FILE_MODE = 0o640
FOLDER_MODE = 0o750


def make_folder(path: Path) -> None:
    """Create a folder and those above it that are missing; one that is there keeps its mode. Raises OSError."""
    missing = [folder for folder in (path, *path.parents) if not folder.exists()]
    for folder in reversed(missing):
        # another process may be as fast
        with suppress(FileExistsError):
            folder.mkdir(FOLDER_MODE)
            # mkdir takes the bits of the umask away
            folder.chmod(FOLDER_MODE)
    # a file in its place is refused as mkdir refuses it
    path.mkdir(exist_ok=True)


def make_file(path: Path) -> None:
    """Create an empty file unless there is one, and give it the mode where it is ours. Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CREAT, FILE_MODE))
    # of another owner: then its mode is that owner's
    with suppress(PermissionError):
        path.chmod(FILE_MODE)
