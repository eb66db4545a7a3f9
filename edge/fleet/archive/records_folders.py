"""Archives that are folders of records: the database of a line, and the pictures that it names.

A line may record into them meanwhile: they are opened to be read only, and no read transaction lasts.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Any

from edge.core.config import Settings
from edge.core.errors import RecordError
from edge.core.picture_names import verdict_number
from edge.core.redact import redact
from edge.fleet.archive.names import file_name, picture_places
from edge.fleet.archive.recorded import Recorded
from edge.records.schema import DATABASE_NAME, IMAGES_NAME, column_names, explained, opened_as_it_is
from edge.review.database import Review, VerdictKey, labels_as_they_are
from edge.review.labelled_pictures import LABELLED_NAME
from edge.review.labels import Label

# row ids n * 1000 to n * 1000 + 999 are a shard: verdicts that come, or go, change no other one
IDS_PER_SHARD = 1000
_DEFAULT_LINE = Settings().line.name

# column → what stands for it in databases of earlier versions, and of versions that never had it
_COLUMNS = {
    "id": "0", "frame_index": "0", "utc": "''", "decision": "''", "reason": "''", "score": "NULL", "threshold": "0",
    "bundle_sha256": "''", "image_state": "'none'", "image": "NULL", "image_sha256": "NULL", "regions": "'[]'",
    "part_number": "''", "lot": "''", "recipe": "''",
    "sample_p": "NULL", "cameras": "NULL", "run_id": "0",
}  # fmt: skip


@dataclass(frozen=True)
class RecordsShard:
    """Verdicts of one day and one block of row ids. title: of the line, where it has no name of its own."""

    folder: Path
    title: str
    prefix: str
    day: str
    block: int
    verdicts: int = field(compare=False)

    @property
    def name(self) -> str:
        return f"{self.prefix}{file_name(self.day)}/{self.block:07d}"

    def recorded(self) -> list[Recorded]:
        path = self.folder / DATABASE_NAME
        with explained(path), closing(opened_as_it_is(path)) as connection:
            there = column_names(connection, "verdicts")
            columns = ", ".join(f"v.{name}" if name in there else absent for name, absent in _COLUMNS.items())
            first = self.block * IDS_PER_SHARD
            rows = connection.execute(
                f"SELECT {columns} FROM verdicts v "
                "WHERE v.id BETWEEN ? AND ? AND substr(v.utc, 1, 10) = ? ORDER BY v.id",
                (first, first + IDS_PER_SHARD - 1, self.day),
            ).fetchall()
            runs = {run_id: _run(connection, run_id, self.title) for run_id in sorted({row[-1] for row in rows})}
        return [_recorded(dict(zip(_COLUMNS, row, strict=True)), runs[row[-1]]) for row in rows]

    def pictures(self, recorded: Recorded) -> Iterator[Path]:
        kept = _reviews(self.folder).get(VerdictKey(*recorded.key))
        return picture_places(self.folder, recorded, None if kept is None else kept.picture)

    def labels(self) -> dict[tuple[str, int], Label]:
        return _labels(self.folder)


def records_shards(folder: Path, title: str, prefix: str = "") -> list[RecordsShard]:
    """The shards of one folder of records, the oldest rows first, since their pictures are the next to go.

    title: what the line is called where its settings do not say. prefix: of their names. Raises RecordError.
    """
    path = folder / DATABASE_NAME
    with explained(path), closing(opened_as_it_is(path)) as connection:
        if not column_names(connection, "verdicts"):
            raise RecordError(
                f"{path} holds no verdicts: it is another program's, or empty", fix="give another archive"
            )
        rows = connection.execute(
            f"SELECT substr(utc, 1, 10), id / {IDS_PER_SHARD}, count(*) FROM verdicts GROUP BY 1, 2 ORDER BY 2, 1"
        ).fetchall()
    # now, while this folder can be left out: in the middle they would end the run for all lines
    _reviews(folder)
    return [RecordsShard(folder, title, prefix, day, block, count) for day, block, count in rows]


def found_records(root: Path, closed: Callable[[OSError], object] = lambda error: None) -> list[Path]:
    """The folders of records in a folder, itself included, by name. Pictures are not looked through; nor are links, nor
    hidden folders, in which disks keep snapshots of all others.

    closed: called for each folder that cannot be looked into.
    """
    found = []
    for place, folders, files in os.walk(root, onerror=closed):
        if DATABASE_NAME in files:
            found.append(Path(place))
            folders[:] = [name for name in folders if name not in (IMAGES_NAME, LABELLED_NAME)]
        folders[:] = sorted(name for name in folders if not name.startswith("."))
    return found


@dataclass(frozen=True)
class _Run:
    key: str
    source: str
    line: str
    bundle: str


def _run(connection: sqlite3.Connection, run_id: int, title: str) -> _Run:
    row = connection.execute("SELECT key, source, bundle_path, config FROM runs WHERE id = ?", (run_id,)).fetchone()
    # a database that somebody repaired by hand
    key, source, bundle_path, config = row or (f"run {run_id}", "", "", "")
    try:
        name = str(json.loads(config)["line"]["name"])
    # records of versions in which lines had no names
    except (ValueError, KeyError, TypeError):
        name = _DEFAULT_LINE
    return _Run(key, redact(source), title if name == _DEFAULT_LINE else name, PurePosixPath(bundle_path).name)


def _recorded(row: dict[str, Any], run: _Run) -> Recorded:
    return Recorded(
        line=run.line, product=row["recipe"] or run.bundle, recipe=row["recipe"], part_number=row["part_number"],
        lot=row["lot"], run_key=run.key, verdict_id=row["id"], number=verdict_number(row["run_id"], row["frame_index"]),
        utc=row["utc"], source=run.source, decision=row["decision"], reason=row["reason"], score=row["score"],
        threshold=row["threshold"], bundle_sha256=row["bundle_sha256"], picture_state=row["image_state"],
        picture=row["image"], picture_sha256=row["image_sha256"], regions=row["regions"], sample_p=row["sample_p"],
        of_several=row["cameras"] is not None,
    )  # fmt: skip


@lru_cache(64)
def _reviews(folder: Path) -> dict[VerdictKey, Review]:
    return labels_as_they_are(folder)


@lru_cache(64)
def _labels(folder: Path) -> dict[tuple[str, int], Label]:
    return {(key.run_key, key.verdict_id): review.label for key, review in _reviews(folder).items()}
