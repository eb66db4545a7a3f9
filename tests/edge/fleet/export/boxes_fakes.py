"""A box with a record store, and what its tables hold."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import contextmanager
from datetime import datetime, timedelta

import numpy as np

from benchmarks.studies.fleet.boxes import BEGIN, Box
from benchmarks.studies.fleet.kills import killed_before
from edge.fleet.export.export import Exported, export_records
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore


def recorded(box: Box, rows: int = 20, begin: datetime = BEGIN, every: float = 1.0) -> None:
    box.record(rows, begin, timedelta(seconds=every), np.random.default_rng(rows))


def exported(box: Box, **more) -> Exported:
    return export_records(box.settings, box.tables, **more)


def rows(box: Box, table: str = "verdicts") -> list[dict]:
    import pyarrow.parquet as pq

    return pq.read_table(box.tables / table).to_pylist()


def keys(box: Box) -> Counter:
    return Counter((row["store_key"], row["run_key"], row["verdict_id"]) for row in rows(box))


def recorded_keys(box: Box) -> set:
    with RecordStore(box.directory) as store:
        first = store.runs()[0].key
        found = store.query("SELECT r.key, v.id FROM verdicts v JOIN runs r ON r.id = v.run_id")
    return {(first, run_key, verdict_id) for run_key, verdict_id in found}


def holds_once(box: Box, wanted: set) -> bool:
    return keys(box) == Counter(wanted)


@contextmanager
def database(box: Box, name: str = DATABASE_NAME):
    connection = sqlite3.connect(box.directory / name)
    with connection:
        yield connection
    connection.close()


def remove(box: Box, name: str) -> None:
    for path in box.directory.glob(f"{name}*"):
        path.unlink()


def kill_with_one_of_two_files(box: Box, files: int = 1) -> None:
    """Kill exports until so many files are there, which is one less than there will be."""
    for step in range(150, 2000, 17):
        assert killed_before(step, lambda: exported(box))
        if len(list(box.tables.rglob("*.parquet"))) == files:
            return
    raise AssertionError("no kill came between the two files")
