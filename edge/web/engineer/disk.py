"""How full the disk of the records is, and how long it lasts."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from starlette.responses import Response

from edge.core.config import RecordSettings
from edge.core.errors import RecordError
from edge.records.disk_outlook import DiskOutlook, disk_outlook
from edge.web.page import show, site_of
from edge.web.site.lines import WebLine
from edge.web.site.reading import records_of

if TYPE_CHECKING:
    from starlette.requests import Request


@dataclass(frozen=True)
class DiskUse:
    """Of one line's records. why: they cannot be read, in words; the rest is then not known."""

    line: WebLine
    why: str = ""
    share: float = 0.0
    free_gb: float = 0.0
    pictures_gb: float = 0.0
    verdicts: int = 0
    oldest: datetime | None = None
    outlook: DiskOutlook | None = None


def disk_page(request: Request) -> Response:
    """A row for each line."""
    return show(request, "disk.html", uses=[_use(line) for line in site_of(request).lines.values()])


def _use(line: WebLine) -> DiskUse:
    try:
        with records_of(line) as store:
            # without the limits of the line's settings, which are its own
            outlook = disk_outlook(store, RecordSettings(max_image_mb=None), datetime.now(timezone.utc))
            low, high, oldest = store.query("SELECT min(id), max(id), min(utc) FROM verdicts")[0]
            ((pictures,),) = store.query("SELECT total(image_bytes) FROM verdicts WHERE image IS NOT NULL")
            disk = shutil.disk_usage(store.directory)
    except (RecordError, OSError) as error:
        return DiskUse(line, getattr(error, "message", str(error)))
    return DiskUse(
        line,
        share=disk.used / disk.total,
        free_gb=disk.free / 1e9,
        pictures_gb=pictures / 1e9,
        verdicts=0 if low is None else high - low + 1,
        oldest=None if oldest is None else datetime.fromisoformat(oldest).astimezone(),
        outlook=outlook,
    )
