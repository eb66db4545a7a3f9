"""Do the tables of many boxes hold every recorded row once, whatever happens to the boxes? And what do they cost?

Many boxes in one process, each with a record store of its own. Exports are killed before random lines of our code;
clocks are set back, databases replaced, boxes put up again from a backup, and review.sqlite is lost. Then one large
store: time, bytes, and the time of each question of docs/fleet/records.md.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import tempfile
import time
from collections import Counter
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.program import SEED, Values, option, program
from benchmarks.studies.fleet.boxes import BEGIN, Box
from benchmarks.studies.fleet.kills import killed_before
from benchmarks.studies.fleet.questions import questions
from edge.core.progress import say
from edge.fleet.export.export import export_records
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore
from edge.review.database import REVIEW_NAME, ReviewDatabase
from edge.review.labelling import Reviewer, give_label
from edge.review.labels import Answer
from edge.review.sample import Scope, drawn_parts, queue

Row = tuple[str, str, str, int]
# lines of our code that an export executes, and some more: some kills come too late
_STEPS = 900
_KILL_SHARE, _ODD_SHARE = 0.5, 0.03
_LABELS = 300
# the last block of the page
_COPY = "fewer files"


class SimulatedBox:
    """A box, what happens to it, and every row that must be in the tables in the end."""

    def __init__(self, box: Box, rng: np.random.Generator, happened: Counter[str]) -> None:
        self._box, self._rng, self._happened = box, rng, happened
        self._clock = BEGIN + timedelta(minutes=float(rng.uniform(0, 1440)))
        self.rows: set[Row] = set()

    def round(self, rows: int) -> None:
        """Some parts, an export that may be killed, and sometimes something odd."""
        backup = self._backup() if self._sometimes("put back from a backup") else None
        if self._sometimes("clock set back"):
            self._clock -= timedelta(days=3)
        # at least one: a run without rows leaves no trace
        count = 1 + int(self._rng.poisson(rows))
        self._box.record(count, self._clock, timedelta(seconds=30), self._rng)
        self._clock += count * timedelta(seconds=30)
        self._note_rows()
        while self._rng.random() < _KILL_SHARE:
            if killed_before(int(self._rng.integers(_STEPS)), self.export):
                self._happened["killed"] += 1
            if self._sometimes("review.sqlite lost"):
                self._remove(REVIEW_NAME)
        # what was not exported before is lost with the database, and not by the export
        if backup is not None:
            self.export()
            shutil.rmtree(self._box.directory)
            backup.rename(self._box.directory)
        elif self._sometimes("database replaced"):
            self.export()
            self._remove(DATABASE_NAME)

    def finish(self) -> None:
        # a database that was just replaced has no rows yet
        if (self._box.directory / DATABASE_NAME).is_file():
            self.export()

    def export(self) -> None:
        export_records(self._box.settings, self._box.tables)

    def _sometimes(self, what: str) -> bool:
        happens = bool(self._rng.random() < _ODD_SHARE)
        self._happened[what] += happens
        return happens

    def _backup(self) -> Path | None:
        if not self._box.directory.is_dir():
            return None
        copy = self._box.directory.with_name(f"{self._box.directory.name}.backup")
        shutil.copytree(self._box.directory, copy)
        return copy

    def _remove(self, database: str) -> None:
        for end in ("", "-wal", "-shm"):
            with contextlib.suppress(FileNotFoundError):
                (self._box.directory / f"{database}{end}").unlink()

    def _note_rows(self) -> None:
        with RecordStore(self._box.directory) as store:
            key = store.runs()[0].key
            rows = store.query("SELECT r.key, v.id FROM verdicts v JOIN runs r ON r.id = v.run_id")
        self.rows |= {(self._box.line, key, run_key, verdict_id) for run_key, verdict_id in rows}


def simulate(folder: Path, boxes: int, rounds: int, rows: int, seed: int) -> dict[str, Any]:
    """What happened to boxes that record about so many rows a round, and what is in the tables."""
    happened: Counter[str] = Counter()
    made = [
        SimulatedBox(
            Box(f"site-{number % 20}", f"line-{number}", folder / "boxes" / f"{number}", folder / "tables"),
            np.random.default_rng((seed, number)), happened,
        )
        for number in range(boxes)
    ]  # fmt: skip
    for number in range(rounds):
        for box in made:
            box.round(rows)
        say(f"round {number + 1} of {rounds}: {dict(happened)}")
    for box in made:
        box.finish()
    wanted = set[Row]().union(*(box.rows for box in made))
    found = Counter(_table_rows(folder))
    return {
        "boxes": boxes, "rounds": rounds, "happened": dict(happened), "rows": len(wanted),
        "rows_lost": len(wanted - found.keys()), "rows_doubled": found.total() - len(found),
        "rows_unknown": len(found.keys() - wanted), **_size(folder / "tables", len(wanted)),
    }  # fmt: skip


def _table_rows(folder: Path) -> list[Row]:
    import duckdb

    files = folder / "tables" / "verdicts" / "*" / "*" / "*" / "*.parquet"
    query = "SELECT line, store_key, run_key, verdict_id FROM read_parquet(?, hive_types = {'line': VARCHAR})"
    rows: list[Row] = duckdb.execute(query, [str(files)]).fetchall()
    return rows


def _size(tables: Path, rows: int) -> dict[str, Any]:
    sizes = [path.stat().st_size for path in (tables / "verdicts").rglob("*.parquet")]
    return {"files": len(sizes), "bytes": sum(sizes), "bytes_per_row": round(sum(sizes) / rows, 1)}


def one_large_store(folder: Path, rows: int, seed: int) -> dict[str, Any]:
    """Time and bytes of one export of a store of ten parts a second, of which some were labelled."""
    box = Box("site-0", "large", folder / "large", folder / "tables")
    box.record(rows, BEGIN, timedelta(seconds=0.1), np.random.default_rng(seed))
    _label(box)
    begin, begin_cpu = time.perf_counter(), time.process_time()
    export_records(box.settings, box.tables)
    seconds, cpu_seconds = time.perf_counter() - begin, time.process_time() - begin_cpu
    begin = time.perf_counter()
    export_records(box.settings, box.tables)
    nothing = time.perf_counter() - begin
    return {
        "rows": rows, "labels": _LABELS, "export_s": round(seconds, 2),
        "export_processor_s": round(cpu_seconds, 2), "export_of_nothing_s": round(nothing, 3),
        "database_bytes": (box.directory / DATABASE_NAME).stat().st_size, **_size(box.tables, rows),
        "bytes_by_column": _bytes_by_column(box.tables, rows),
    }  # fmt: skip


def _label(box: Box) -> None:
    by = Reviewer("study", box.line)
    with RecordStore(box.directory) as store, ReviewDatabase(box.directory) as reviews:
        order = queue(drawn_parts(store, {}, Scope()))
        for number, each in zip(range(_LABELS), order, strict=False):
            verdict = store.verdict(each.key.verdict_id)
            answer = Answer.GOOD if number % 10 else Answer.DEFECT
            give_label(store, reviews, verdict, answer, by, verdict.utc, asked=True)


def _bytes_by_column(tables: Path, rows: int) -> dict[str, float]:
    """Compressed bytes a row, largest first."""
    import pyarrow.parquet as pq

    sizes: Counter[str] = Counter()
    for path in (tables / "verdicts").rglob("*.parquet"):
        found = pq.read_metadata(path)
        for group in range(found.num_row_groups):
            for index in range(found.num_columns):
                column = found.row_group(group).column(index)
                sizes[column.path_in_schema] += column.total_compressed_size
    return {name: round(size / rows, 2) for name, size in sizes.most_common()}


def hourly(folder: Path, rates: tuple[float, ...], hours: int, seed: int) -> list[dict[str, Any]]:
    """Bytes a row where each hour is a file of its own, by parts a second."""
    made = []
    for rate in rates:
        place = folder / f"hourly-{rate}"
        box = Box("site-0", "hourly", place / "records", place / "tables")
        rng = np.random.default_rng(seed)
        for hour in range(hours):
            box.record(round(3600 * rate), BEGIN + timedelta(hours=hour), timedelta(seconds=1 / rate), rng)
            export_records(box.settings, box.tables)
        made.append({"parts_a_second": rate, "hours": hours, **_size(box.tables, round(3600 * rate) * hours)})
    return made


def question_seconds(folder: Path) -> dict[str, dict[str, float]]:
    """How long each question of the page takes in this folder, on one core: of the tables, and of the copy."""
    import duckdb

    labels = (folder / "tables" / "labels").is_dir()
    asked = [question for question in questions() if labels or "label" not in question.sql]
    made: dict[str, dict[str, float]] = {"tables": {}, "copy": {}}
    with contextlib.ExitStack() as stack:
        # the page's paths begin where DuckDB was started
        stack.callback(os.chdir, Path.cwd())
        os.chdir(folder)
        connection = stack.enter_context(duckdb.connect(config={"threads": 1}))
        for question in asked:
            begin = time.perf_counter()
            connection.execute(question.sql).fetchall()
            if not question.is_view or question.name == _COPY:
                made["tables"][question.name] = round(time.perf_counter() - begin, 3)
        for question in asked:
            if not question.is_view:
                begin = time.perf_counter()
                connection.execute(question.sql).fetchall()
                made["copy"][question.name] = round(time.perf_counter() - begin, 3)
    return made


@program(
    option("--boxes", type=int, default=1000, help="0: without them"),
    option("--rounds", type=int, default=4),
    option("--rows-a-round", type=int, default=60),
    option("--large-rows", type=int, default=1_000_000, help="0: without that store"),
    SEED,
    failed=lambda values: (
        values["fleet"]["rows_lost"] + values["fleet"]["rows_doubled"] + values["fleet"]["rows_unknown"]
    ),
)
def main(options: argparse.Namespace) -> Values:
    # loaded once, and not in each process that is killed
    import pyarrow.parquet  # noqa: F401

    values: Values = {"seed": options.seed}
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        if options.boxes:
            begin = time.perf_counter()
            fleet = simulate(folder / "fleet", options.boxes, options.rounds, options.rows_a_round, options.seed)
            fleet["minutes"] = round((time.perf_counter() - begin) / 60, 1)
            fleet["question_s"] = question_seconds(folder / "fleet")
            fleet["copy_files"] = len(list((folder / "fleet" / "compact").rglob("*.parquet")))
            values["fleet"] = fleet
        if options.large_rows:
            large = one_large_store(folder / "large", options.large_rows, options.seed)
            large["question_s"] = question_seconds(folder / "large")
            values |= {"large_store": large, "hourly": hourly(folder, (0.1, 1.0, 10.0), 4, options.seed)}
    return values


if __name__ == "__main__":
    raise SystemExit(main())
