"""Changes of the recipe as rows of the record store: writing their columns, reading them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge.core.local_time import local_text
from edge.records.store import RecordStore, utc_text


@dataclass(frozen=True)
class RecipeChange:
    """A request for another recipe, and what came of it.

    utc: when it was asked for. asked_by: plc, mqtt, pages or command. before: the recipe that judged then; after: the
    one that was asked for, as it was asked for where there is none of this name. changed: False: `before` went on.
    result: for a person. ms: from the request to the result.
    """

    utc: datetime
    asked_by: str
    before: str
    after: str
    changed: bool
    result: str
    ms: float

    def text(self) -> str:
        """One line, the time in the local zone."""
        how = "" if self.changed else "REFUSED, "
        return f"{local_text(self.utc)}  {self.before} -> {self.after}  {how}asked by {self.asked_by}: {self.result}"


_COLUMNS = tuple(RecipeChange.__dataclass_fields__)


def change_values(change: RecipeChange) -> dict[str, Any]:
    """The columns of a change's row, but for its id and run."""
    values = {name: getattr(change, name) for name in _COLUMNS}
    return {**values, "utc": utc_text(change.utc), "changed": int(change.changed)}


def recorded_changes(store: RecordStore, condition: str = "1", values: Sequence[Any] = ()) -> list[RecipeChange]:
    """Changes that an SQL condition on their columns holds for, oldest first."""
    rows = store.query(f"SELECT {', '.join(_COLUMNS)} FROM recipe_changes WHERE {condition} ORDER BY id", values)
    return [
        RecipeChange(datetime.fromisoformat(utc), asked_by, before, after, bool(changed), result, ms)
        for utc, asked_by, before, after, changed, result, ms in rows
    ]
