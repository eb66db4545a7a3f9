"""Which records are old enough, or too many, to go. A little at a time, so that new verdicts never wait for it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

from edge.core.config import RecordSettings
from edge.records.store import utc_text
from edge.records.writer.database import RecordDatabase
from edge.records.writer.pictures import RecordedPictures

_PICTURES_PER_STEP = 32
_VERDICTS_PER_STEP = 500


class Retention:
    """Keep pictures and verdicts within the limits of the settings; oldest first, by verdict id.

    By id and not by clock: a box without a battery starts in 1970 until the network tells it the time. Where the clock
    jumped, the age of what was recorded before counts from the jump on; the limit in MB does not ask for the time.
    on_removed: called with the pictures whose files are gone. image_bytes: present total; the record writer adds to it.
    """

    def __init__(
        self,
        settings: RecordSettings,
        database: RecordDatabase,
        files: RecordedPictures,
        utc_now: Callable[[], datetime],
        on_removed: Callable[[set[str]], None],
    ) -> None:
        self._settings = settings
        self._database = database
        self._files = files
        self._utc_now = utc_now
        self._on_removed = on_removed
        self.image_bytes = database.image_bytes()

    def step(self) -> bool:
        """Take one slice of work; True when there may be more. Raises sqlite3.Error."""
        return self._expire_pictures() or self._delete_verdicts()

    def _expire_pictures(self) -> bool:
        # a verdict leaves with its picture at the latest
        cutoff = max(self._cutoff(self._settings.max_image_age_days), self._cutoff(self._settings.max_verdict_age_days))
        limit_mb = self._settings.max_image_mb
        surplus = self.image_bytes - limit_mb * 1_000_000 if limit_mb is not None else 0.0
        gone: dict[str, int] = {}
        counted_from = self._database.counted_from()
        for row_id, image, size, utc in self._database.oldest_images(_PICTURES_PER_STEP):
            if surplus <= 0 and max(utc, counted_from(row_id)) >= cutoff:
                break
            gone[image] = gone.get(image, 0) + size
            surplus -= size
        if not gone:
            return False
        # rows first: a crash in between leaves a file without a row, which is swept, never a row without its file
        self._database.expire_images(list(gone))
        for image in gone:
            self._files.remove(image)
        self._on_removed(set(gone))
        self.image_bytes -= sum(gone.values())
        return True

    def _delete_verdicts(self) -> bool:
        cutoff = self._cutoff(self._settings.max_verdict_age_days)
        return bool(cutoff) and self._database.delete_verdicts(cutoff, _VERDICTS_PER_STEP) > 0

    def _cutoff(self, days: float | None) -> str:
        """The oldest time kept, as text; empty, which sorts before all times, without a limit."""
        return utc_text(self._utc_now() - timedelta(days=days)) if days is not None else ""
