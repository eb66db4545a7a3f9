"""The tables of the record store, and how a database is opened: brought to the current schema, or refused.

A store is a directory: `verdicts.sqlite`, and `images/<local day>/` with the pictures that its rows name.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from edge.core.datatypes import STAGES
from edge.core.errors import ForeignRecords, RecordError
from edge.core.files.private_files import make_file

DATABASE_NAME = "verdicts.sqlite"
IMAGES_NAME = "images"

STAGE_COLUMNS = tuple(f"{stage}_ms" for stage in STAGES)

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
            {", ".join(f"{column} REAL NOT NULL" for column in STAGE_COLUMNS)},
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
    (
        # of frames that show several parts: the score and the place of each
        "ALTER TABLE verdicts ADD COLUMN parts TEXT NOT NULL DEFAULT '[]'",
    ),
    (
        # what the plant calls the part, and what it was judged by; empty where nobody told it
        "ALTER TABLE verdicts ADD COLUMN part_number TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE verdicts ADD COLUMN lot TEXT NOT NULL DEFAULT ''",
        "ALTER TABLE verdicts ADD COLUMN recipe TEXT NOT NULL DEFAULT ''",
        # a part, or the parts of a lot, are looked for among a year of rows; a recipe has too large a share of them
        "CREATE INDEX verdicts_by_part ON verdicts(part_number) WHERE part_number <> ''",
        "CREATE INDEX verdicts_by_lot ON verdicts(lot) WHERE lot <> ''",
    ),
    (
        # who asked for another recipe, and what came of it; ms: from the request to the result
        """CREATE TABLE recipe_changes (
            id INTEGER PRIMARY KEY AUTOINCREMENT,
            run_id INTEGER NOT NULL REFERENCES runs(id),
            utc TEXT NOT NULL,
            asked_by TEXT NOT NULL,
            before TEXT NOT NULL,
            after TEXT NOT NULL,
            changed INTEGER NOT NULL,
            result TEXT NOT NULL,
            ms REAL NOT NULL
        )""",
    ),
    (
        # the probability with which a judged part's picture was to be kept; NULL: nothing of the kind was drawn
        "ALTER TABLE verdicts ADD COLUMN sample_p REAL",
    ),
    (
        # of a group of cameras: what was said of each camera's picture, and where it stands in that of the row; NULL
        # for one camera, which costs next to nothing in each of a year's rows
        "ALTER TABLE verdicts ADD COLUMN cameras TEXT",
    ),
)
SCHEMA_VERSION = len(MIGRATIONS)

# columns that keep a name of old: a line of the version before, which still records when another command of this
# version migrates its database, would take a renamed column for damage
_STORED_AS = {"model_sha256": "engine_sha256"}


def column(field: str) -> str:
    """The column that keeps a field of RunInfo or VerdictRecord."""
    return _STORED_AS.get(field, field)


def migrate(connection: sqlite3.Connection, migrations: Sequence[Sequence[str]] = MIGRATIONS) -> None:
    """Bring a database to the current version, one transaction per step.

    connection: in autocommit (isolation_level=None). migrations: of another database than that of verdicts. Raises
    RecordError when the file is newer than this software.
    """
    version, newest = _version(connection), len(migrations)
    while version < newest:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # another process may have taken the step while this one waited for the lock
            version = _version(connection)
            if version < newest:
                for statement in migrations[version]:
                    connection.execute(statement)
                version += 1
                connection.execute(f"PRAGMA user_version = {version}")
            connection.execute("COMMIT")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
    _refuse_newer(version, newest)


def _version(connection: sqlite3.Connection) -> int:
    return int(connection.execute("PRAGMA user_version").fetchone()[0])


def _refuse_newer(version: int, newest: int = SCHEMA_VERSION) -> None:
    if version > newest:
        raise RecordError(
            f"the records have schema version {version}, this software knows versions up to {newest}",
            fix="use the software that wrote them, or a newer one; or give another record.directory",
        )


def opened_for_reading(path: Path, *, migrate_older: bool = True) -> sqlite3.Connection:
    """A connection that only reads, on a database of the current schema; an older one is migrated first.

    migrate_older: False for who must never write, nor hold a lock. Raises RecordError for a database of a newer
    version, and for an older one that must not be migrated; sqlite3.Error.
    """
    connection = _read_only(path)
    version = _version(connection)
    _refuse_newer(version)
    if version < SCHEMA_VERSION:
        connection.close()
        if not migrate_older:
            raise RecordError(
                f"the records in {path.parent} are of an older version of this software (schema {version}, "
                f"now {SCHEMA_VERSION})",
                fix="start the line with this version, or call `edge-inspect report` once: both bring them up to date",
            )
        writing = sqlite3.connect(path, isolation_level=None, timeout=5.0)
        try:
            migrate(writing)
        finally:
            writing.close()
        connection = _read_only(path)
    return connection


def opened_as_it_is(path: Path, newest: int = SCHEMA_VERSION) -> sqlite3.Connection:
    """A connection that only reads, on a database of this version or an older one; it stays as it is.

    Whoever reads asks for columns that are there (`column_names`). It may lie on a disk that nothing can be written
    to. newest: the version up to which it is known. Raises RecordError for a database of a newer one; sqlite3.Error.
    """
    connection = _read_only(path, on_dead_disk=not os.access(path.parent, os.W_OK))
    try:
        _refuse_newer(_version(connection), newest)
    except BaseException:
        connection.close()
        raise
    return connection


def column_names(connection: sqlite3.Connection, table: str) -> set[str]:
    """The columns that a table has in this database."""
    return {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


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


def _read_only(path: Path, *, on_dead_disk: bool = False) -> sqlite3.Connection:
    # a reader writes too, the index of the log beside the database; where nothing can be written, nothing changes
    log = path.with_name(path.name + "-wal")
    immutable = "&immutable=1" if on_dead_disk and not (log.exists() and log.stat().st_size) else ""
    return sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro{immutable}", uri=True, isolation_level=None, timeout=5.0
    )


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
