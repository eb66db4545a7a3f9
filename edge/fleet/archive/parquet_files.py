"""Archives that are Parquet files of `records export`, with the pictures in the folders of records that they came from.

Columns and folders are those of docs/fleet/records.md.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from edge.core.errors import RecordError, UsageError
from edge.core.picture_names import verdict_number
from edge.core.redact import redact
from edge.fleet.archive.names import file_name, picture_places
from edge.fleet.archive.recorded import Recorded
from edge.records.store import utc_text
from edge.review.labels import Label

if TYPE_CHECKING:
    import pyarrow

# a file is cut into shards of so many rows, in the order that they stand in it
ROWS_PER_SHARD = 1000
VERDICTS_NAME, LABELS_NAME = "verdicts", "labels"
_NEEDED = (
    "run_key", "verdict_id", "run_id", "frame_index", "utc", "decision", "reason", "score", "threshold",
    "bundle_sha256", "picture_state", "picture", "picture_sha256",
)  # fmt: skip
_WHERE_THERE = ("part_number", "lot", "recipe", "source", "bundle", "sample_p", "cameras")
_LABEL_COLUMNS = ("run_key", "verdict_id", "utc", "label_id", "label", "picture")
_EXPORT = "write it with `edge-inspect records export --parquet`, or copy it again"


@dataclass(frozen=True)
class ParquetShard:
    """Rows of one file. folder: of the records that its pictures lie in. tables: where its labels are looked for."""

    file: Path
    tables: Path
    folder: Path
    name: str
    line: str
    day: str
    first: int
    verdicts: int = field(compare=False)

    def recorded(self) -> list[Recorded]:
        rows = _rows(self.file).slice(self.first, ROWS_PER_SHARD).to_pylist()
        return [_recorded(row, self.line) for row in rows]

    def pictures(self, recorded: Recorded) -> Iterator[Path]:
        return picture_places(self.folder, recorded, _labels_of(self.tables).pictures.get(recorded.key))

    def labels(self) -> dict[tuple[str, int], Label]:
        return _labels_of(self.tables).labels


def parquet_shards(root: Path, files: Sequence[Path], pictures: Path | None) -> list[ParquetShard]:
    """The shards of these files, by path. pictures: the folder of records; {site} and {line} stand for those of a file.

    Raises UsageError without it, RecordError for a file that is no table of verdicts.
    """
    if pictures is None:
        raise UsageError(
            f"{root} is Parquet, which does not hold the pictures",
            fix="give --pictures with the records folder of the line; with {site} and {line} in it for several, such "
            "as --pictures '/srv/plant/{site}/{line}/records'",
        )
    shards = []
    for file in files:
        parts, inside = _partitions(file), file.relative_to(root).parts[:-1]
        if LABELS_NAME in inside and VERDICTS_NAME not in inside[inside.index(LABELS_NAME) :]:
            continue
        site, line = parts.get("site", ""), parts.get("line", "")
        folder = Path(str(pictures).replace("{site}", site).replace("{line}", line))
        below = file.relative_to(root).with_suffix("").parts if file != root else (file.stem,)
        name = "/".join(file_name(part) for part in below)
        title = "/".join(part for part in (site, line) if part) or file.parent.name
        for first in range(0, _row_count(file), ROWS_PER_SHARD):
            count = min(ROWS_PER_SHARD, _row_count(file) - first)
            number = f"{name}/{first // ROWS_PER_SHARD:05d}"
            shards.append(
                ParquetShard(file, _tables_of(root), folder, number, title, parts.get("day", ""), first, count)
            )
    return shards


def _tables_of(root: Path) -> Path:
    """The folder with verdicts/ and labels/, whichever of them was named."""
    return next((each.parent for each in (root, *root.parents) if each.name == VERDICTS_NAME), root)


def _partitions(file: Path) -> dict[str, str]:
    """Site, line and day from the folders' names, as hive has them."""
    pairs = (part.partition("=") for part in file.parts[:-1])
    return {name: value for name, sign, value in pairs if sign}


@lru_cache(4096)
def _row_count(file: Path) -> int:
    import pyarrow.parquet

    with _Explained(file):
        return int(pyarrow.parquet.read_metadata(file).num_rows)


@lru_cache(1)
def _rows(file: Path) -> pyarrow.Table:
    """The columns that are needed. Raises RecordError."""
    import pyarrow.parquet

    with _Explained(file):
        there = pyarrow.parquet.read_schema(file).names
        lacking = [name for name in _NEEDED if name not in there]
        if lacking:
            raise RecordError(f"{file} is no table of verdicts: it lacks {', '.join(lacking)}", fix=_EXPORT)
        columns = [*_NEEDED, *(name for name in _WHERE_THERE if name in there)]
        return pyarrow.parquet.read_table(file, columns=columns, partitioning=None)


class _Explained:
    """Turns what pyarrow says of a file into a RecordError."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def __enter__(self) -> None: ...

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: object) -> None:
        import pyarrow as pa

        if isinstance(error, pa.ArrowException | OSError):
            raise RecordError(f"{self._file} cannot be read: {error}", fix=_EXPORT) from error


def _recorded(row: dict[str, Any], line: str) -> Recorded:
    recipe, bundle = row.get("recipe") or "", row.get("bundle") or ""
    utc: datetime = row["utc"]
    return Recorded(
        line=line, product=recipe or PurePosixPath(bundle).name, recipe=recipe,
        part_number=row.get("part_number") or "", lot=row.get("lot") or "",
        run_key=row["run_key"], verdict_id=row["verdict_id"],
        number=verdict_number(row["run_id"], row["frame_index"]), utc=utc_text(utc),
        source=redact(row.get("source") or ""), decision=row["decision"], reason=row["reason"], score=row["score"],
        threshold=row["threshold"], bundle_sha256=row["bundle_sha256"], picture_state=row["picture_state"],
        picture=row["picture"], picture_sha256=row["picture_sha256"], sample_p=row.get("sample_p"),
        of_several=bool(row.get("cameras")),
    )  # fmt: skip


@dataclass(frozen=True)
class _Labels:
    """By run key and row id. pictures: the copies that are kept."""

    labels: dict[tuple[str, int], Label]
    pictures: dict[tuple[str, int], str]


@lru_cache(4)
def _labels_of(tables: Path) -> _Labels:
    """The newest of each verdict; none where nobody has labelled. Raises RecordError."""
    import pyarrow.parquet

    rows: list[dict[str, Any]] = []
    for file in sorted((tables / LABELS_NAME).rglob("*.parquet")):
        with _Explained(file):
            rows += pyarrow.parquet.read_table(file, columns=list(_LABEL_COLUMNS), partitioning=None).to_pylist()
    made = _Labels({}, {})
    for row in sorted(rows, key=lambda row: (row["utc"], row["label_id"])):
        key = row["run_key"], row["verdict_id"]
        made.labels[key] = Label(row["label"])
        if row["picture"]:
            made.pictures[key] = row["picture"]
    withdrawn = [key for key, label in made.labels.items() if label is Label.WITHDRAWN]
    for key in withdrawn:
        del made.labels[key]
    return made
