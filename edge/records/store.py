"""The record store on disk: its layout, schema, migrations, and reading. The writing half is `writer/recorder.py`.

A store is a directory: `verdicts.sqlite`, and `images/<local day>/` with the pictures that its rows name.
"""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from edge.core.datatypes import STAGES, Decision, Reason, Region, StageTimes
from edge.core.errors import ForeignRecords, RecordError
from edge.core.files.private_files import make_file
from edge.core.files.storable import storable
from edge.core.picture_names import verdict_number
from edge.core.redact import redact

DATABASE_NAME = "verdicts.sqlite"
IMAGES_NAME = "images"

# none: nothing to keep; waiting: the row came first, the picture follows; skipped: no room or no time for it
ImageState = Literal["none", "waiting", "stored", "skipped", "expired"]

WHERE_NUMBERS_ARE = (
    "`edge-inspect report --ng` lists numbers and pictures; verdicts older than record.max_verdict_age_days are deleted"
)

_STAGE_COLUMNS = tuple(f"{stage}_ms" for stage in STAGES)

# position n holds the statements that lead from version n to n + 1; entries are never edited once released
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE runs (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            key TEXT NOT NULL UNIQUE,
            started_utc TEXT NOT NULL,
            ended_utc TEXT,
            interrupted INTEGER NOT NULL DEFAULT 0,
            source TEXT NOT NULL,
            bundle_path TEXT NOT NULL,
            bundle_sha256 TEXT NOT NULL,
            engine_sha256 TEXT NOT NULL,
            backend TEXT NOT NULL,
            precision TEXT NOT NULL,
            threshold REAL NOT NULL,
            pixel_threshold REAL NOT NULL,
            preprocess_sha256 TEXT NOT NULL,
            software TEXT NOT NULL,
            config TEXT NOT NULL,
            host TEXT NOT NULL
        )""",
        # AUTOINCREMENT: an id that was printed or written down never names another verdict, even after retention
        f"""CREATE TABLE verdicts (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id INTEGER NOT NULL REFERENCES runs(id),
            frame_index INTEGER NOT NULL,
            utc TEXT NOT NULL,
            captured_ns INTEGER NOT NULL,
            decision TEXT NOT NULL,
            reason TEXT NOT NULL,
            detail TEXT NOT NULL,
            score REAL,
            threshold REAL NOT NULL,
            {", ".join(f"{column} REAL NOT NULL" for column in _STAGE_COLUMNS)},
            regions TEXT NOT NULL,
            bundle_sha256 TEXT NOT NULL,
            engine_sha256 TEXT NOT NULL,
            image_state TEXT NOT NULL,
            image TEXT,
            image_sha256 TEXT,
            image_bytes INTEGER NOT NULL DEFAULT 0,
            overlay TEXT
        )""",
        # retention walks the pictures from the oldest, and the sum of their bytes comes from this index alone
        "CREATE INDEX verdicts_with_image ON verdicts(id, image_bytes) WHERE image IS NOT NULL",
        "CREATE INDEX verdicts_by_image ON verdicts(image) WHERE image IS NOT NULL",
        "CREATE INDEX verdicts_waiting ON verdicts(id) WHERE image_state = 'waiting'",
    ),
    (
        # reports ask for a time range, people for the last parts that were not OK: neither may read a year of rows
        "CREATE INDEX verdicts_by_utc ON verdicts(utc)",
        "CREATE INDEX verdicts_not_ok ON verdicts(id) WHERE decision <> 'OK'",
    ),
    (
        # OK parts in the unsure band, which somebody will want to list
        "ALTER TABLE verdicts ADD COLUMN review INTEGER NOT NULL DEFAULT 0",
        "CREATE INDEX verdicts_for_review ON verdicts(id) WHERE review",
        """CREATE TABLE challenges (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            utc TEXT NOT NULL,
            source TEXT NOT NULL,
            bundle_sha256 TEXT NOT NULL,
            engine_sha256 TEXT NOT NULL,
            threshold REAL NOT NULL,
            passed INTEGER NOT NULL,
            looks TEXT NOT NULL
        )""",
    ),
    (
        # an alarm marks the verdicts first_frame to last_frame of its run; last_frame is NULL while it lasts
        """CREATE TABLE alarms (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id INTEGER NOT NULL REFERENCES runs(id),
            number INTEGER NOT NULL,
            kind TEXT NOT NULL,
            what TEXT NOT NULL,
            advice TEXT NOT NULL,
            size REAL NOT NULL,
            unit TEXT NOT NULL,
            since TEXT NOT NULL,
            raised TEXT NOT NULL,
            first_frame INTEGER NOT NULL,
            ended TEXT,
            last_frame INTEGER,
            UNIQUE (run_id, number)
        )""",
    ),
    (
        # ages of verdicts up to last_verdict_id count from after_utc at the earliest, unless the clock was put right
        """CREATE TABLE clock_jumps (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id INTEGER NOT NULL REFERENCES runs(id),
            before_utc TEXT NOT NULL,
            after_utc TEXT NOT NULL,
            last_verdict_id INTEGER NOT NULL,
            put_right_utc TEXT
        )""",
    ),
)
SCHEMA_VERSION = len(MIGRATIONS)


@dataclass(frozen=True)
class RunInfo:
    """What a run is made of, as known when it starts; `config` is JSON text."""

    source: str
    bundle_path: str
    bundle_sha256: str
    engine_sha256: str
    backend: str
    precision: str
    threshold: float
    pixel_threshold: float
    preprocess_sha256: str
    config: str = "{}"


@dataclass(frozen=True)
class RunRecord:
    """One row of `runs`. ended_utc is None while it runs; interrupted: it ended without saying so (power, kill)."""

    id: int
    key: str
    started_utc: datetime
    ended_utc: datetime | None
    interrupted: bool
    info: RunInfo
    software: str
    host: str


@dataclass(frozen=True)
class VerdictRecord:
    """One row of `verdicts`; image and overlay are relative to the store's directory."""

    id: int
    run_id: int
    frame_index: int
    utc: datetime
    captured_ns: int
    decision: Decision
    reason: Reason
    detail: str
    score: float | None
    threshold: float
    review: bool
    times: StageTimes
    regions: tuple[Region, ...]
    bundle_sha256: str
    engine_sha256: str
    image_state: ImageState
    image: str | None
    image_sha256: str | None
    overlay: str | None

    @property
    def number(self) -> str:
        """Its one name; see `verdict_number`."""
        return verdict_number(self.run_id, self.frame_index)


def utc_text(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds: one width, so that text order is time order."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database to the current version, one transaction per step.

    connection: in autocommit (isolation_level=None). Raises RecordError when the file is newer than this software.
    """
    version = _version(connection)
    while version < SCHEMA_VERSION:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # another process may have taken the step while this one waited for the lock
            version = _version(connection)
            if version < SCHEMA_VERSION:
                for statement in MIGRATIONS[version]:
                    connection.execute(statement)
                version += 1
                connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    _refuse_newer(version)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _refuse_newer(version: int) -> None:
    if version > SCHEMA_VERSION:
        raise RecordError(
            f"the records have schema version {version}, this software knows versions up to {SCHEMA_VERSION}",
            fix="use the software that wrote them, or a newer one; or give another record.directory",
        )


class RecordStore:
    """Read a store while, or after, a recorder writes it. Raises RecordError when there is none to be read."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        path = directory / DATABASE_NAME
        if not path.is_file():
            raise RecordError(f"no records at {path}", fix="check record.directory and --config, or record a run first")
        with explained(path):
            self.connection = _opened_for_reading(path)

    def __enter__(self) -> RecordStore:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.connection.close()

    def verdict(self, verdict_id: int) -> VerdictRecord:
        """The verdict with this row id; raises RecordError naming the ids that exist."""
        rows = self.verdicts("WHERE id = ?", (verdict_id,))
        if rows:
            return rows[0]
        first, last = self.query("SELECT min(id), max(id) FROM verdicts")[0]
        held = "the store is empty" if first is None else f"the store holds ids {first} to {last}"
        raise RecordError(f"no verdict {verdict_id} in {self.directory}: {held}", fix=WHERE_NUMBERS_ARE)

    def latest(self, limit: int, decision: Decision | None = None, before_id: int | None = None) -> list[VerdictRecord]:
        """The newest verdicts first, at most `limit`; before_id continues a listing."""
        conditions, values = ["1"], []
        if decision is not None:
            # naming the index's own condition lets SQLite use it
            conditions.append("decision = ?" if decision is Decision.OK else "decision <> 'OK' AND decision = ?")
            values.append(str(decision))
        if before_id is not None:
            conditions.append("id < ?")
            values.append(str(before_id))
        return self.verdicts(f"WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?", (*values, limit))

    def accepted_pictures(
        self, bundle: Path, since: datetime | None = None, until: datetime | None = None
    ) -> list[Path]:
        """Stored pictures of parts that any version of this bundle found OK, since <= utc < until, oldest first."""
        conditions, values = (
            ["v.decision = 'OK'", "v.image IS NOT NULL", "r.bundle_path = ?"],
            [storable(str(bundle.resolve()))],
        )
        for moment, condition in ((since, "v.utc >= ?"), (until, "v.utc < ?")):
            if moment is not None:
                conditions.append(condition)
                values.append(utc_text(moment))
        rows = self.query(
            f"SELECT v.image FROM verdicts v JOIN runs r ON r.id = v.run_id WHERE {' AND '.join(conditions)} "
            "GROUP BY v.image ORDER BY min(v.id)",
            values,
        )
        return [self.directory / image for (image,) in rows]

    def run(self, run_id: int) -> RunRecord:
        """The run with this id; raises RecordError."""
        for run in self.runs():
            if run.id == run_id:
                return run
        raise RecordError(f"no run {run_id} in {self.directory}", fix="take a run number from `edge-inspect report`")

    def runs(self) -> list[RunRecord]:
        """All runs, oldest first."""
        columns = "id, key, started_utc, ended_utc, interrupted, software, host"
        info_columns = tuple(RunInfo.__dataclass_fields__)
        rows = self.query(f"SELECT {columns}, {', '.join(info_columns)} FROM runs ORDER BY id")
        return [
            RunRecord(
                id=row[0],
                key=row[1],
                started_utc=datetime.fromisoformat(row[2]),
                ended_utc=datetime.fromisoformat(row[3]) if row[3] else None,
                interrupted=bool(row[4]),
                software=row[5],
                host=row[6],
                info=_run_info(row[7:]),
            )
            for row in rows
        ]

    def newest_utc(self) -> datetime | None:
        """The latest time of a verdict; None when there are none."""
        ((utc,),) = self.query("SELECT max(utc) FROM verdicts")
        return None if utc is None else datetime.fromisoformat(utc)

    def query(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Rows of a SELECT; raises RecordError when the database cannot answer."""
        with explained(self.directory / DATABASE_NAME):
            return self.connection.execute(sql, values).fetchall()

    def query_blocks(self, sql: str, values: Sequence[Any] = (), size: int = 65536) -> Iterator[list[tuple[Any, ...]]]:
        """The same in blocks of `size` rows, for what would not fit into memory."""
        with explained(self.directory / DATABASE_NAME):
            cursor = self.connection.execute(sql, values)
            while rows := cursor.fetchmany(size):
                yield rows

    def verdicts(self, tail: str, values: Sequence[Any]) -> list[VerdictRecord]:
        """Those that the tail of an SQL statement chooses: WHERE, ORDER BY, LIMIT."""
        rows = self.query(
            f"SELECT {', '.join(_VERDICT_COLUMNS)}, {', '.join(_STAGE_COLUMNS)} FROM verdicts {tail}", values
        )
        return [_verdict_record(row) for row in rows]


_VERDICT_COLUMNS = tuple(name for name in VerdictRecord.__dataclass_fields__ if name != "times")
_READ_AS: dict[str, Callable[[Any], Any]] = {
    "utc": datetime.fromisoformat,
    "detail": redact,
    "decision": Decision,
    "reason": Reason,
    "review": bool,
    "regions": lambda text: tuple(Region(*values) for values in json.loads(text)),
}


def _run_info(values: Sequence[Any]) -> RunInfo:
    info = RunInfo(*values)
    # records of older versions may hold what is hidden today
    return replace(info, source=redact(info.source))


def _verdict_record(row: tuple[Any, ...]) -> VerdictRecord:
    fields = dict(zip(_VERDICT_COLUMNS, row, strict=False))
    for name, read in _READ_AS.items():
        fields[name] = read(fields[name])
    return VerdictRecord(**fields, times=StageTimes(*row[len(_VERDICT_COLUMNS) :]))


def regions_text(regions: tuple[Region, ...]) -> str:
    """Regions as JSON: a list of [x, y, width, height, area_px, peak]."""
    return json.dumps([[r.x, r.y, r.width, r.height, r.area_px, r.peak] for r in regions]) if regions else "[]"


def _opened_for_reading(path: Path) -> sqlite3.Connection:
    connection = _read_only(path)
    version = _version(connection)
    _refuse_newer(version)
    if version < SCHEMA_VERSION:
        connection.close()
        writing = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        try:
            migrate(writing)
        finally:
            writing.close()
        connection = _read_only(path)
    return connection


def opened_for_writing(path: Path, busy_s: float) -> sqlite3.Connection:
    """A connection that commits durably, on a database of the current schema; waits so long for another's commit.

    Raises OSError, sqlite3.Error, or ForeignRecords for a file that is another program's.
    """
    if os.path.lexists(path) and not path.is_file():
        raise _foreign(path, "it is no file")
    make_file(path)
    connection = sqlite3.connect(path, isolation_level=None, timeout=busy_s)
    try:
        _refuse_foreign(connection, path)
        connection.execute("PRAGMA journal_mode = WAL")
        # FULL: in WAL mode NORMAL does not sync at a commit, and a power cut loses all since the last checkpoint
        connection.execute("PRAGMA synchronous = FULL")
        migrate(connection)
    except BaseException:
        connection.close()
        raise
    return connection


def _refuse_foreign(connection: sqlite3.Connection, path: Path) -> None:
    """Before anything is written: a database of another program must stay as it is."""
    names = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    version = _version(connection)
    if version == 0 and names:
        raise _foreign(path, f"it is a database with other tables ({', '.join(sorted(names)[:3])})")
    if 0 < version <= SCHEMA_VERSION and not {"runs", "verdicts"} <= names:
        raise _foreign(path, "it is a database without verdicts")


def _foreign(path: Path, why: str) -> ForeignRecords:
    return ForeignRecords(
        f"{path} is not a database of verdicts: {why}", fix="give another record.directory, or move it away"
    )


def _read_only(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None, timeout=5.0)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn an sqlite3.Error or OSError inside the block into a RecordError that names the file."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise RecordError(
            f"{path} cannot be used: {error}",
            fix="if it says locked, close the program that holds it; else copy the directory to a writable disk, "
            "or restore it from a backup",
        ) from error
