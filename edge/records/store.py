"""Reading the record store: runs, verdicts, and whatever a query asks. `schema.py` has the tables, `writer/` writes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from edge.bundles.versions import kept_versions
from edge.core.datatypes import Decision, Part, PartScore, Reason, Region, StageTimes, Verdict
from edge.core.errors import RecordError
from edge.core.files.text_names import storable
from edge.core.picture_names import verdict_number
from edge.core.redact import redact
from edge.records.cameras import CameraRecord, cameras_of_text
from edge.records.schema import DATABASE_NAME, STAGE_COLUMNS, column, explained, opened_for_reading

# key of a run's recorded settings: the bundle of each camera of a group
CAMERA_BUNDLES = "camera_bundles"
# none: nothing to keep; waiting: the row came first, the picture follows; skipped: no room or no time for it
ImageState = Literal["none", "waiting", "stored", "skipped", "expired"]

WHERE_NUMBERS_ARE = (
    "`edge-inspect report --ng` lists numbers and pictures; verdicts older than record.max_verdict_age_days are deleted"
)


@dataclass(frozen=True)
class RunInfo:
    """What a run is made of, as known when it starts; `config` is JSON text."""

    source: str
    bundle_path: str
    bundle_sha256: str
    model_sha256: str
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
    """One row of `verdicts`; image and overlay are relative to the store's directory. part_number, lot: see `Part`.

    sample_p: the probability with which its picture was to be kept, 0..1; None where nothing was drawn (INVALID, and
    records of earlier versions).
    """

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
    parts: tuple[PartScore, ...]
    bundle_sha256: str
    model_sha256: str
    image_state: ImageState
    image: str | None
    image_sha256: str | None
    overlay: str | None
    part_number: str
    lot: str
    recipe: str
    sample_p: float | None
    cameras: tuple[CameraRecord, ...]

    @property
    def part(self) -> Part:
        return Part(self.part_number, self.lot)

    @property
    def number(self) -> str:
        """Its one name; see `verdict_number`."""
        return verdict_number(self.run_id, self.frame_index)

    def verdict(self) -> Verdict:
        """As it was given, but for the map."""
        return Verdict(
            self.frame_index, self.decision, self.reason, self.detail, self.score, self.threshold, self.regions,
            self.times, self.bundle_sha256, self.model_sha256, review=self.review, parts=self.parts, recipe=self.recipe,
            cameras=tuple(camera.verdict(self.frame_index) for camera in self.cameras),
        )  # fmt: skip


def utc_text(moment: datetime) -> str:
    """ISO 8601 in UTC with microseconds: one width, so that text order is time order."""
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


class RecordStore:
    """Read a store while, or after, a recorder writes it. Raises RecordError when there is none to be read.

    migrate_older: see `opened_for_reading`.
    """

    def __init__(self, directory: Path, *, migrate_older: bool = True) -> None:
        self.directory = directory
        path = directory / DATABASE_NAME
        with explained(path):
            if not path.is_file():
                raise RecordError(
                    f"no records at {path}", fix="check record.directory and --config, or record a run first"
                )
            self.connection = opened_for_reading(path, migrate_older=migrate_older)

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

    def accepted_pictures(
        self, bundle: Path, since: datetime | None = None, until: datetime | None = None
    ) -> list[Path]:
        """Stored pictures of parts that any version of this bundle found OK, since <= utc < until, oldest first.

        Of parts that were judged by a recipe: any version that is kept.
        """
        judged, values = judged_by(bundle)
        conditions = ["v.decision = 'OK'", "v.image IS NOT NULL", judged]
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
        info_columns = ", ".join(map(column, RunInfo.__dataclass_fields__))
        rows = self.query(f"SELECT {columns}, {info_columns} FROM runs ORDER BY id")
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
            f"SELECT {', '.join(map(column, _VERDICT_FIELDS))}, {', '.join(STAGE_COLUMNS)} FROM verdicts {tail}", values
        )
        return [_verdict_record(row) for row in rows]


def judged_by(bundle: Path) -> tuple[str, list[Any]]:
    """A condition with its values, for verdicts v of runs r that any version of this bundle gave.

    Of parts that were judged by a recipe: any version that is kept. Of a group's: where one of its cameras has it.
    """
    # a run with recipes began with one bundle, and judged by others as well
    versions = [version.bundle.sha256 for version in kept_versions(bundle)]
    by_recipe = f"v.bundle_sha256 IN ({', '.join('?' * len(versions))})"
    # a group's cameras are told by where their bundles lie: copies of one bundle have versions in common
    of_a_camera = (
        f"r.id IN (SELECT run.id FROM runs run, json_each(run.config, '$.{CAMERA_BUNDLES}') place "
        "WHERE place.value = ?)"
    )
    one = f"CASE v.recipe WHEN '' THEN r.bundle_path = ? ELSE {by_recipe} END"
    condition = f"CASE WHEN v.cameras IS NULL THEN {one} ELSE {of_a_camera} END"
    path = storable(str(bundle.resolve()))
    return condition, [path, *versions, path]


_VERDICT_FIELDS = tuple(name for name in VerdictRecord.__dataclass_fields__ if name != "times")
_READ_AS: dict[str, Callable[[Any], Any]] = {
    "utc": datetime.fromisoformat,
    "detail": redact,
    "decision": Decision,
    "reason": Reason,
    "review": bool,
    "regions": lambda text: tuple(Region(*values) for values in json.loads(text)),
    "parts": lambda text: tuple(PartScore(*values) for values in json.loads(text)),
    "cameras": cameras_of_text,
}


def _run_info(values: Sequence[Any]) -> RunInfo:
    info = RunInfo(*values)
    # records of older versions may hold what is hidden today
    return replace(info, source=redact(info.source))


def _verdict_record(row: tuple[Any, ...]) -> VerdictRecord:
    fields = dict(zip(_VERDICT_FIELDS, row, strict=False))
    for name, read in _READ_AS.items():
        fields[name] = read(fields[name])
    return VerdictRecord(**fields, times=StageTimes(*row[len(_VERDICT_FIELDS) :]))


def regions_text(regions: tuple[Region, ...]) -> str:
    """Regions as JSON: a list of [x, y, width, height, area_px, peak]."""
    return json.dumps([[r.x, r.y, r.width, r.height, r.area_px, r.peak] for r in regions]) if regions else "[]"


def parts_text(parts: tuple[PartScore, ...]) -> str:
    """Parts of a frame as JSON: a list of [score, x, y, width, height]."""
    return json.dumps([[p.score, p.x, p.y, p.width, p.height] for p in parts]) if parts else "[]"
