"""Why the disk or the database refuses, in plain words."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from edge.errors import EdgeInspectError

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM}


@dataclass(frozen=True)
class Trouble:
    """kind: changes when the cause does, so that each cause is logged once. text: for a person."""

    kind: str
    text: str


def trouble_of(error: Exception, directory: Path) -> Trouble:
    """Name the cause of an OSError, an sqlite3.Error or a RecordError met while writing below `directory`."""
    text = str(error)
    if isinstance(error, EdgeInspectError):
        return Trouble("refused", error.message)
    number = error.errno if isinstance(error, OSError) else None
    free_mb = _free_mb(directory)
    if number in _FULL or "disk is full" in text or ("disk I/O error" in text and free_mb == 0):
        return Trouble("disk full", f"disk full: {directory} has {free_mb} MB free")
    if number == errno.EROFS or "readonly database" in text:
        return Trouble("read-only", f"read-only: {directory} cannot be written")
    if number in _REFUSED:
        return Trouble("no permission", f"no permission to write {directory}")
    if "is locked" in text or "is busy" in text:
        return Trouble("locked", f"locked: another program holds the records in {directory}")
    if "malformed" in text or "not a database" in text:
        return Trouble(
            "damaged", f"damaged: the database in {directory} is not usable, move it away to start a new one"
        )
    if directory.exists() and not directory.is_dir():
        return Trouble("not a directory", f"not a directory: {directory} is a file")
    return Trouble("cannot write", f"cannot write {directory}: {text}")


def _free_mb(directory: Path) -> int:
    """Free space in whole MB; of the nearest parent while the directory does not exist."""
    for place in (directory, *directory.absolute().parents):
        try:
            return shutil.disk_usage(place).free // 1_000_000
        except OSError:
            continue
    return 0
