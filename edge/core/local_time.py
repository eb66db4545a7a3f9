"""Times as people on the line read them: local, with the offset, so that the hour that comes twice is not ambiguous."""

from __future__ import annotations

from datetime import datetime


def local_text(moment: datetime) -> str:
    """2026-10-25 02:30:00+02:00; moment: with a time zone."""
    return moment.astimezone().isoformat(sep=" ", timespec="seconds")


def local_iso(moment: datetime) -> str:
    """The same for programs, with milliseconds: 2026-10-25T02:30:00.125+02:00."""
    return moment.astimezone().isoformat(timespec="milliseconds")


def local_from_text(written: str) -> str:
    """Of a time in ISO 8601 that a file holds; what is none, as somebody else may have written it, as it is."""
    try:
        return local_text(datetime.fromisoformat(written))
    except ValueError:
        return written
