"""The work of `edge-inspect records export`: what was recorded since the last time, as tables for many boxes.

Each row is written once. Before a chunk is written, its end is noted in review.sqlite: whoever was stopped in the
middle writes the same files again, and leaves those that are there. After it the cursor moves.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from edge.core.config import Settings
from edge.core.errors import ConfigError, UsageError
from edge.fleet.export.parquet_files import Partitions
from edge.fleet.export.sources import Chunk, LabelRows, Source, VerdictRows
from edge.records.store import RecordStore
from edge.review.database import Cursor, ReviewDatabase
from edge.review.sole_reader import sole_reader

log = logging.getLogger("edge.fleet.export")

LOCK_NAME = "parquet.lock"


@dataclass(frozen=True)
class Exported:
    """Rows that were written. gone: verdicts that retention had deleted before."""

    partitions: Partitions
    verdicts: int
    labels: int
    gone: int


def export_records(
    settings: Settings,
    folder: Path,
    *,
    from_beginning: bool = False,
    utc_now: Callable[[], datetime] = lambda: datetime.now(timezone.utc),
) -> Exported:
    """Write what was not written yet. from_beginning: everything again, into a folder that has nothing of this line.

    Raises ConfigError, UsageError, RecordError.
    """
    if settings.record.directory is None:
        raise ConfigError(
            "record.directory is null: what is exported comes from the records", fix="give record.directory"
        )
    records = Path(settings.record.directory)
    partitions = Partitions(folder, settings.mqtt.site, settings.line.name)
    # no lock on the line's database, ever: an older one is refused
    with (
        RecordStore(records, migrate_older=False) as store,
        sole_reader(records, LOCK_NAME, "exports"),
        ReviewDatabase(records) as reviews,
    ):
        verdicts = Progress(VerdictRows(store, utc_now()), partitions, reviews)
        labels = Progress(LabelRows(reviews, store), partitions, reviews)
        if from_beginning:
            for each in (verdicts, labels):
                each.refuse_written()
            for each in (verdicts, labels):
                each.forget()
        # labels last: none is there before its verdict
        written, gone = verdicts.run()
        return Exported(partitions, written, labels.run()[0], gone)


class Progress:
    """How far the rows of one source are written, and the next ones."""

    def __init__(self, source: Source, partitions: Partitions, reviews: ReviewDatabase) -> None:
        self._source, self._partitions, self._reviews = source, partitions, reviews
        self._done_name = f"parquet-{source.name}"
        self._plan_name = f"{self._done_name}-plan"

    def run(self) -> tuple[int, int]:
        """(rows written, rows that were gone). Raises UsageError, RecordError."""
        rows = gone = 0
        while (chunk := self._next()) is not None:
            found = self._partitions.write(self._source, chunk)
            self._reviews.save_cursor(self._done_name, chunk.end, lasting=True)
            rows, gone = rows + found, gone + chunk.size - found
        return rows, gone

    def refuse_written(self) -> None:
        """Raises UsageError where the folder has files of this database: their rows would be there twice."""
        if self._partitions.chunks_beyond(self._source, 0):
            raise UsageError(
                f"{self._partitions.root} holds {self._source.name} of these records, which would be there twice",
                fix="give an empty folder, or leave --from-beginning out",
            )

    def forget(self) -> None:
        for name in (self._plan_name, self._done_name):
            self._reviews.save_cursor(name, Cursor(), lasting=True)

    def _next(self) -> Chunk | None:
        """The chunk that was begun and may lack files, else the next one; None where all is written."""
        done = self._reviews.cursor(self._done_name) or Cursor()
        plan = self._reviews.cursor(self._plan_name) or Cursor()
        start = self._source.settled(done)
        if start.verdict_id < done.verdict_id:
            log.warning("other %s stand in the records than before: those are written, too", self._source.name)
        pending = plan != done and plan.verdict_id > start.verdict_id and self._source.stands(plan)
        begun = Chunk(start.verdict_id + 1, plan) if pending else None
        # review.sqlite may be lost, or older than the files: a box that was put up again from a backup
        beyond = self._partitions.chunks_beyond(self._source, start.verdict_id)
        others = {path: chunk for path, chunk in beyond.items() if chunk != begun}
        if standing := [chunk for chunk in others.values() if self._source.stands(chunk.end)]:
            # it may lack files
            return max(standing, key=lambda chunk: chunk.end.verdict_id)
        written = map(self._source.settled, self._source.ends(others))
        start = max([start, *written], key=lambda cursor: cursor.verdict_id)
        if start != done:
            # from now on plans count from here
            self._reviews.save_cursor(self._done_name, start, lasting=True)
            return self._next()
        return begun or self._planned(start.verdict_id)

    def _planned(self, start: int) -> Chunk | None:
        """The next chunk, noted before anything of it is written; a power cut must not lose the note."""
        chunk = self._source.next_chunk(start)
        if chunk is not None:
            self._reviews.save_cursor(self._plan_name, chunk.end, lasting=True)
        return chunk
