"""One process at a time with a cursor: two would set it back for each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edge.core.errors import RecordError
from edge.core.files.file_lock import file_lock
from edge.core.files.private_files import make_folder
from edge.records.schema import explained


@contextmanager
def sole_reader(records: Path, lock: str, does: str) -> Iterator[None]:
    """Hold the lock of this name in the records. does: what it is for, for a person: "publishes".

    Raises RecordError at once when another process holds it.
    """

    def refuse() -> None:
        raise RecordError(f"another process {does} {records} already", fix="wait until it ends, or stop it first")

    with explained(records / lock):
        make_folder(records)
    with file_lock(records / lock, refuse):
        yield
