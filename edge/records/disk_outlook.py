"""How long the disk of the records lasts at the present rate."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from edge.core.config import RecordSettings
from edge.core.errors import RecordError
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore, utc_text

_WINDOW = timedelta(days=1)
# a rate from less is a guess
_SHORTEST = timedelta(minutes=10)
_DAY_S = 86400.0
_LONG_DAYS = 3650.0


@dataclass(frozen=True)
class DiskOutlook:
    """Sizes in bytes. span: the time behind the rate, a day at most. days_to_full: None when nothing is written.

    days_to_limit: until the oldest pictures go because of record.max_image_mb; None without that limit.
    """

    free: int
    a_day: float
    span: timedelta
    days_to_full: float | None
    days_to_limit: float | None

    def as_json(self) -> dict[str, Any]:
        """For `report --json`, in MB."""
        return {
            "free_mb": round(self.free / 1e6),
            "mb_a_day": round(self.a_day / 1e6, 1),
            "rate_over_hours": round(self.span.total_seconds() / 3600, 2),
            "days_to_full": _rounded(self.days_to_full),
            "days_to_limit": _rounded(self.days_to_limit),
        }

    def text(self) -> str:
        """One sentence for a person."""
        free = f"{_size(self.free)} free"
        if self.days_to_full is None:
            return f"{free}; nothing was written in the last {_hours(self.span)}"
        rate = f"{_size(self.a_day)} a day, the rate of the last {_hours(self.span)}"
        if self.days_to_limit is not None and self.days_to_limit < self.days_to_full:
            when = "now" if self.days_to_limit <= 0 else f"in {_days(self.days_to_limit)}"
            return f"{free}; at {rate}, the oldest pictures are deleted from {when} on (record.max_image_mb)"
        return f"{free}; at {rate}, the disk is full in {_days(self.days_to_full)}"


def disk_outlook(
    store: RecordStore,
    settings: RecordSettings,
    now: datetime,
    free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
) -> DiskOutlook | None:
    """From what was written in the last day; None when the records are too young. Raises RecordError, OSError."""
    since = now - _WINDOW
    (oldest,) = store.query("SELECT min(utc) FROM verdicts")[0]
    if oldest is None:
        return None
    span = min(_WINDOW, now - datetime.fromisoformat(oldest))
    if span < _SHORTEST:
        return None
    first = store.query("SELECT id FROM verdicts WHERE utc >= ? ORDER BY utc LIMIT 1", (utc_text(since),))
    written = _written(store, first[0][0]) if first else 0.0
    a_day = written * _DAY_S / span.total_seconds()
    free = free_bytes(store.directory)
    limit = settings.max_image_mb
    to_limit = None
    if limit is not None and a_day:
        (kept,) = store.query("SELECT total(image_bytes) FROM verdicts WHERE image IS NOT NULL")[0]
        to_limit = max(0.0, (limit * 1e6 - kept) / a_day)
    return DiskOutlook(free, a_day, span, free / a_day if a_day else None, to_limit)


def _written(store: RecordStore, first_id: int) -> float:
    """Bytes of pictures and rows from this verdict on; by ids, so that no row need be read."""
    (pictures,) = store.query(
        "SELECT total(image_bytes) FROM verdicts WHERE image IS NOT NULL AND id >= ?", (first_id,)
    )[0]
    low, high = store.query("SELECT min(id), max(id) FROM verdicts")[0]
    row_bytes: float = (store.directory / DATABASE_NAME).stat().st_size / (high - low + 1)
    return float(pictures + row_bytes * (high - first_id + 1))


def outlook_line(settings: RecordSettings, now: datetime) -> str | None:
    """The sentence for the end of a run; None where the outlook is not known, or cannot be read."""
    if settings.directory is None:
        return None
    try:
        with RecordStore(Path(settings.directory)) as store:
            outlook = disk_outlook(store, settings, now)
    except (RecordError, OSError):
        return None
    return None if outlook is None else f"disk        {outlook.text()}"


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def _hours(span: timedelta) -> str:
    hours = span.total_seconds() / 3600
    return f"{hours:.0f} h" if hours >= 1 else f"{hours * 60:.0f} min"


def _days(days: float) -> str:
    if days > _LONG_DAYS:
        return "more than ten years"
    return f"{days:.0f} days" if days >= 3 else f"{days * 24:.0f} hours"


def _rounded(days: float | None) -> float | None:
    return None if days is None else round(days, 1)
