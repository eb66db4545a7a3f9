"""What the tables of records are made of; docs/fleet/records.md tells what each column means."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edge.records.schema import STAGE_COLUMNS, column

Kind = Literal["string", "int64", "int32", "float", "double", "bool", "utc"]


@dataclass(frozen=True)
class Column:
    """sql: of verdicts v and runs r; where it is empty, v has a column of this name. utc: ISO 8601 with an offset.

    redacted: records of older versions may hold passwords there, which are hidden today.
    """

    name: str
    kind: Kind
    sql: str = ""
    redacted: bool = False

    @property
    def select(self) -> str:
        return self.sql or f"v.{self.name}"


# the first run is never deleted, and another database in its place has another one
_STORE_KEY = "(SELECT key FROM runs ORDER BY id LIMIT 1)"

VERDICTS = (
    Column("store_key", "string", _STORE_KEY),
    Column("run_key", "string", "r.key"),
    Column("verdict_id", "int64", "v.id"),
    Column("run_id", "int64"),
    Column("frame_index", "int64"),
    Column("utc", "utc"),
    Column("decision", "string"),
    Column("reason", "string"),
    # of judged parts it only repeats the numbers, differently for each row
    Column("detail", "string", "CASE v.decision WHEN 'INVALID' THEN v.detail ELSE '' END", redacted=True),
    Column("score", "double"),
    Column("threshold", "double"),
    Column("review", "bool"),
    Column("sample_p", "double"),
    Column("part_number", "string"),
    Column("lot", "string"),
    Column("recipe", "string"),
    Column("source", "string", "r.source", redacted=True),
    # a run with recipes began with one bundle, and judged by others as well
    Column("bundle", "string", "CASE v.recipe WHEN '' THEN r.bundle_path ELSE '' END"),
    Column("bundle_sha256", "string"),
    Column("model_sha256", "string", f"v.{column('model_sha256')}"),
    Column("backend", "string", "r.backend"),
    Column("precision", "string", "r.precision"),
    Column("software", "string", "r.software"),
    *(Column(stage, "float") for stage in STAGE_COLUMNS),
    Column("regions", "int32", "json_array_length(v.regions)"),
    Column("parts", "int32", "json_array_length(v.parts)"),
    Column("picture", "string", "v.image"),
    Column("picture_state", "string", "v.image_state"),
    Column("picture_sha256", "string", "v.image_sha256"),
)

LABELS = (
    Column("label_id", "int64"),
    Column("store_key", "string"),
    Column("run_key", "string"),
    Column("verdict_id", "int64"),
    Column("utc", "utc"),
    Column("label", "string"),
    Column("asked", "bool"),
    Column("place", "double"),
    Column("picture", "string"),
)


def position(columns: Sequence[Column], name: str) -> int:
    """Where in a row the column stands."""
    return [each.name for each in columns].index(name)
