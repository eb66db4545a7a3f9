"""Alarms as rows of the record store: writing their columns, reading them back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from edge.core.alarms import Alarm
from edge.records.store import RecordStore, utc_text


@dataclass(frozen=True)
class AlarmRecord:
    """One row of `alarms`."""

    id: int
    run_id: int
    alarm: Alarm


_ALARM_COLUMNS = tuple(Alarm.__dataclass_fields__)
_ALARM_TIMES = ("since", "raised", "ended")


def _alarm_record(row: tuple[Any, ...]) -> AlarmRecord:
    fields = dict(zip(_ALARM_COLUMNS, row[2:], strict=True))
    for name in _ALARM_TIMES:
        fields[name] = None if fields[name] is None else datetime.fromisoformat(fields[name])
    return AlarmRecord(row[0], row[1], Alarm(**fields))


def alarm_values(alarm: Alarm) -> dict[str, Any]:
    """The columns of an alarm's row, but for its id and run."""
    values = {name: getattr(alarm, name) for name in _ALARM_COLUMNS}
    return {name: utc_text(value) if isinstance(value, datetime) else value for name, value in values.items()}


def recorded_alarms(store: RecordStore, condition: str = "1", values: Sequence[Any] = ()) -> list[AlarmRecord]:
    """Alarms that an SQL condition on their columns holds for, oldest first."""
    sql = f"SELECT id, run_id, {', '.join(_ALARM_COLUMNS)} FROM alarms WHERE {condition} ORDER BY since, id"
    return [_alarm_record(row) for row in store.query(sql, values)]


def alarms_between(
    store: RecordStore, since: datetime | None, until: datetime | None, runs: tuple[int, ...] | None = None
) -> tuple[AlarmRecord, ...]:
    """Those that stood in the range, since <= time < until, of these runs; None: of all."""
    parts, values = ["1"], []
    if runs is not None:
        parts.append(f"run_id IN ({', '.join('?' * len(runs))})")
        values += list(map(str, runs))
    if since is not None:
        parts.append("(ended IS NULL OR ended >= ?)")
        values.append(utc_text(since))
    if until is not None:
        parts.append("since < ?")
        values.append(utc_text(until))
    return tuple(recorded_alarms(store, " AND ".join(parts), values))
