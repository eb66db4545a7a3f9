"""Parquet files in folders of site, line and UTC day; each is there whole or not at all. Needs pyarrow."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import Any

from edge.core.errors import UsageError
from edge.core.files.atomic_file import sync_directory, write_atomic
from edge.core.files.private_files import FILE_MODE, make_folder
from edge.core.redact import redact
from edge.fleet.export.columns import Column, position
from edge.fleet.export.sources import Chunk, Rows, Source
from edge.review.database import Cursor

_NAME = re.compile(r"(?P<first>\d+)-(?P<last>\d+)-(?P<key>\w+)\.parquet")
_ENCODINGS = {
    "int64": "DELTA_BINARY_PACKED", "int32": "DELTA_BINARY_PACKED", "utc": "DELTA_BINARY_PACKED",
    "float": "BYTE_STREAM_SPLIT", "double": "BYTE_STREAM_SPLIT",
}  # fmt: skip


@dataclass(frozen=True)
class Partitions:
    """The folders of one line's rows. site, line: names as settings have them, which are names of folders, too."""

    root: Path
    site: str
    line: str

    def write(self, source: Source, chunk: Chunk) -> int:
        """One file for each day with rows of the chunk; how many rows these are. A file that is there stays.

        The name says which rows a file holds: those of the chunk and the day. Raises UsageError where a file cannot
        be written, and RecordError.
        """
        rows = 0
        for day, batches in _by_day(source.columns, source.blocks(chunk)).items():
            rows += sum(batch.num_rows for batch in batches)
            path = self._folder(source) / f"day={day}" / f"{source.prefix}{_stem(chunk)}.parquet"
            try:
                if not path.exists():
                    make_folder(path.parent)
                    write_atomic(path, _parquet(source.columns, batches), FILE_MODE, hidden=True)
                    self._sync(path.parent)
            except OSError as error:
                raise UsageError(
                    f"{path} cannot be written: {error.strerror or error}",
                    fix="make room, or give another folder; nothing is lost, the next export writes what is missing",
                ) from error
        return rows

    def chunks_beyond(self, source: Source, row_id: int) -> dict[Path, Chunk]:
        """Files that can hold rows after this id, of any history of this database, and the chunks that they are of."""
        made = {}
        for path in self._folder(source).glob(f"day=*/{source.prefix}*.parquet"):
            found = _NAME.fullmatch(path.name.removeprefix(source.prefix))
            if found is not None and int(found["last"]) > row_id:
                made[path] = Chunk(int(found["first"]), Cursor(int(found["last"]), found["key"]))
        return made

    def _folder(self, source: Source) -> Path:
        return self.root / source.name / f"site={self.site}" / f"line={self.line}"

    def _sync(self, folder: Path) -> None:
        """The names of new folders, too, must outlast a power cut: the cursor does."""
        for each in (folder, *folder.parents):
            sync_directory(each)
            if each == self.root:
                break


def _stem(chunk: Chunk) -> str:
    return f"{chunk.first:09d}-{chunk.end.verdict_id:09d}-{chunk.end.run_key}"


def _by_day(columns: Sequence[Column], blocks: Iterable[Rows]) -> dict[str, list[Any]]:
    """Record batches by UTC day. A clock that was set makes days stand in any order."""
    at = position(columns, "utc")

    def day(row: tuple[Any, ...]) -> str:
        # ISO 8601 in UTC, as utc_text writes it
        return str(row[at])[:10]

    made: dict[str, list[Any]] = {}
    for rows in blocks:
        for of_day, group in groupby(rows, day):
            made.setdefault(of_day, []).append(_batch(columns, list(group)))
    return made


def _batch(columns: Sequence[Column], rows: Rows) -> Any:
    import pyarrow as pa

    arrays = [_array(column, values) for column, values in zip(columns, zip(*rows, strict=True), strict=True)]
    return pa.record_batch(arrays, names=[column.name for column in columns])


# most rows say the same
_redacted = lru_cache(4096)(redact)


def _array(column: Column, values: tuple[Any, ...]) -> Any:
    import pyarrow as pa

    if column.redacted:
        values = tuple(map(_redacted, values))
    if column.kind == "utc":
        return pa.array(values, pa.string()).cast(pa.timestamp("us", "UTC"))
    if column.kind == "bool":
        return pa.array(map(bool, values), pa.bool_())
    kinds = {"string": pa.string, "int64": pa.int64, "int32": pa.int32, "float": pa.float32, "double": pa.float64}
    return pa.array(values, kinds[column.kind]())


def _parquet(columns: Sequence[Column], batches: list[Any]) -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = pa.BufferOutputStream()
    pq.write_table(
        pa.Table.from_batches(batches),
        made,
        compression="zstd",
        use_dictionary=[column.name for column in columns if column.kind == "string"],
        column_encoding={column.name: _ENCODINGS[column.kind] for column in columns if column.kind in _ENCODINGS},
    )
    return memoryview(made.getvalue()).tobytes()
