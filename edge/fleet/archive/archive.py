"""What a folder is as an archive, and its shards."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edge.core.errors import RecordError, UsageError
from edge.fleet.archive.names import file_name
from edge.fleet.archive.recorded import Shard
from edge.fleet.archive.records_folders import found_records, records_shards
from edge.records.schema import DATABASE_NAME

_ALIKE = "give a folder of records (with verdicts.sqlite), a folder of such folders, or Parquet of `records export`"


@dataclass(frozen=True)
class Archive:
    """shards: in the order in which they are judged. kind: in words, for a person. unusable: folders that are left out,
    with the reason."""

    root: Path
    kind: str
    shards: Sequence[Shard]
    unusable: Sequence[str] = ()


def open_archive(root: Path, pictures: Path | None, since: str | None = None, until: str | None = None) -> Archive:
    """The archive in a folder, or in one Parquet file; the same shards on every machine.

    pictures: of Parquet, the folder of the records that its pictures lie in. since, until: the first and the last day
    of the shards, in UTC. Raises UsageError, RecordError.
    """
    root = folder_of(root)
    if not root.exists():
        raise UsageError(f"{root}: no such archive", fix=_ALIKE)
    unusable: list[str] = []
    records = found_records(root, lambda error: unusable.append(f"{error.filename}: {error.strerror}"))
    tables = _found_tables(root)
    if records and tables:
        raise UsageError(
            f"{root} holds records ({records[0]}) and Parquet ({tables[0]}): the same verdicts may be in both",
            fix="give the folder of one of them",
        )
    if tables:
        from edge.fleet.archive.parquet_files import parquet_shards

        kind = f"{len(tables)} Parquet file{'s' * (len(tables) != 1)}"
        archive = Archive(root, kind, parquet_shards(root, tables, pictures), unusable)
    elif records:
        if pictures is not None:
            raise UsageError("--pictures is for archives of Parquet", fix="leave it out: records know their pictures")
        archive = _of_records(root, records, unusable)
    else:
        closed = f"; cannot be looked into: {unusable[0]}" if unusable else ""
        raise UsageError(f"{root}: neither records nor Parquet of records{closed}", fix=_ALIKE)
    chosen = [each for each in archive.shards if _within(each.day, since, until)]
    return Archive(root, archive.kind, chosen, archive.unusable)


def folder_of(archive: Path) -> Path:
    """The folder of an archive that is named by its database, which is what somebody sees in it."""
    return archive.parent if archive.name == DATABASE_NAME else archive


def _of_records(root: Path, folders: Sequence[Path], unusable: list[str]) -> Archive:
    """unusable: what is left out is added."""
    shards: list[Shard] = []
    for folder in folders:
        below = folder.relative_to(root).parts
        try:
            prefix = "".join(f"{file_name(part)}/" for part in below)
            shards += records_shards(folder, _title(root, below), prefix)
        except RecordError as error:
            if len(folders) == 1:
                raise
            # one line's broken disk is no reason to leave the others
            unusable.append(error.message)
    return Archive(root, f"records of {len(folders)} line{'s' * (len(folders) != 1)}", shards, unusable)


def _title(root: Path, below: Sequence[str]) -> str:
    """What a line is called that has no name of its own: where its records lie."""
    told = [part for part in below if part != "records"]
    return "/".join(told) or (root.resolve().parent.name if root.resolve().name == "records" else root.resolve().name)


def _found_tables(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    found = []
    for place, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [Path(place) / name for name in sorted(files) if name.endswith(".parquet")]
    return found


def _within(day: str, since: str | None, until: str | None) -> bool:
    return not day or ((since is None or day >= since) and (until is None or day <= until))
