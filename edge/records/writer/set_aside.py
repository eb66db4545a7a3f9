"""A database that is damaged, or no record store at all: kept under another name, so that recording goes on."""

from __future__ import annotations

import os
import sqlite3
from datetime import datetime
from pathlib import Path

from edge.core.errors import ForeignRecords

# of SQLite, for a file that is no database, a page that is torn, and tables that are not ours
_DAMAGED = ("malformed", "not a database", "no such table", "no such column", "has no column")


def is_damaged(error: Exception) -> bool:
    """Whether a database that answers like this will never take another verdict."""
    text = str(error)
    return isinstance(error, ForeignRecords) or (
        isinstance(error, sqlite3.DatabaseError) and any(words in text for words in _DAMAGED)
    )


def set_aside(database: Path, now: datetime) -> Path:
    """Rename a database with its log and index, none of it changed; where it is now. Raises OSError."""
    kept = database.with_name(f"{database.name}.damaged-{now:%Y%m%dT%H%M%SZ}")
    again = 1
    while os.path.lexists(kept):
        again += 1
        kept = database.with_name(f"{database.name}.damaged-{now:%Y%m%dT%H%M%SZ}-{again}")
    # the database last: until it is gone, whoever is cut off here finds it damaged, and does this again
    for end in ("-wal", "-shm", ""):
        part = database.with_name(database.name + end)
        if os.path.lexists(part):
            part.rename(kept.with_name(kept.name + end))
    return kept
