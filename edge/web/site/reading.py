"""The records of a line, opened for one request, without any lock that the line could wait for."""

from __future__ import annotations

from edge.core.errors import RecordError
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore
from edge.web.site.lines import WebLine


def records_of(line: WebLine) -> RecordStore:
    """Close it after use. Raises RecordError where there are none, or they are of another version."""
    if line.records is None:
        raise RecordError(
            f"line {line.name} keeps no records, or this page does not know where",
            fix="set record.directory of the line, or records of its entry in web.lines",
        )
    if not (line.records / DATABASE_NAME).exists():
        raise RecordError(
            f"line {line.name} has recorded nothing in {line.records} yet",
            fix="start the line; if it runs, name the folder that it records into, in web.lines",
        )
    return RecordStore(line.records, migrate_older=False)
