"""Verdicts found again: by number or picture, and those that were NG."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.core.datatypes import Part
from edge.core.errors import RecordError
from edge.core.files.text_names import storable
from edge.core.local_time import local_iso, local_text
from edge.core.picture_names import owner_of
from edge.records.report import Report, condition, of_part
from edge.records.store import WHERE_NUMBERS_ARE, RecordStore, VerdictRecord

_BLOCK = 1000


def find_verdict(store: RecordStore, name: str) -> VerdictRecord:
    """The verdict with this number (12-004711), picture, overlay or row id; raises RecordError."""
    number = re.fullmatch(r"(\d+)-(\d+)", name)
    try:
        if name.isdecimal():
            return store.verdict(int(name))
        rows = _of_picture(store, name) if number is None else _of_frame(store, int(number[1]), int(number[2]))
    # more digits than a row can have, or than Python reads
    except (OverflowError, ValueError):
        rows = []
    if rows:
        return rows[0]
    raise RecordError(f"no verdict {name} in {store.directory}", fix=WHERE_NUMBERS_ARE)


def _of_frame(store: RecordStore, run_id: int, frame_index: int) -> list[VerdictRecord]:
    return store.verdicts("WHERE run_id = ? AND frame_index = ? ORDER BY id LIMIT 1", (run_id, frame_index))


def _of_picture(store: RecordStore, name: str) -> list[VerdictRecord]:
    """By what the name says, so that a copy will do; else by the rows that name it."""
    file = storable(Path(name).name)
    owner = owner_of(file)
    if owner is not None:
        runs = store.query(f"SELECT id FROM runs WHERE {'key' if owner.by_key else 'id'} = ?", (owner.run,))
        return _of_frame(store, runs[0][0], owner.frame_index) if runs else []
    named = " OR ".join(f"substr({column}, -length(?1)) = ?1" for column in ("image", "overlay"))
    return store.verdicts(f"WHERE image IS NOT NULL AND ({named}) ORDER BY id LIMIT 1", (f"/{file}",))


def rejected_verdicts(store: RecordStore, report: Report) -> Iterator[VerdictRecord]:
    """The NG verdicts that a report counts, oldest first."""
    where, values = condition(report.since, report.until, report.chosen_runs, report.part)
    yield from _in_blocks(store, f"{where} AND decision <> 'OK' AND decision = 'NG'", values)


def verdicts_of_part(store: RecordStore, part: Part) -> Iterator[VerdictRecord]:
    """Those of this number and lot, where not empty, oldest first."""
    parts, values = of_part(part)
    yield from _in_blocks(store, f"WHERE {' AND '.join(parts)}", values)


def _in_blocks(store: RecordStore, where: str, values: list[Any]) -> Iterator[VerdictRecord]:
    last = 0
    while rows := store.verdicts(f"{where} AND id > ? ORDER BY id LIMIT ?", (*values, last, _BLOCK)):
        yield from rows
        last = rows[-1].id


def verdict_line(store: RecordStore, verdict: VerdictRecord) -> str:
    """One line for a person: number, local time, score, threshold, places, part and picture."""
    places = f"{len(verdict.regions)} place{'' if len(verdict.regions) == 1 else 's'}"
    picture = store.directory / verdict.image if verdict.image is not None else f"picture {verdict.image_state}"
    named = "".join(f", {words}" for words in verdict.part.words)
    return (
        f"{verdict.number}  {local_text(verdict.utc)}  score {verdict.score:.4f}, threshold {verdict.threshold:.4f}, "
        f"{places}{named}  {picture}"
    )


def verdict_json(store: RecordStore, verdict: VerdictRecord) -> dict[str, Any]:
    """The same for programs."""
    return {
        "id": verdict.number,
        "time": local_iso(verdict.utc),
        "part_number": verdict.part_number,
        "lot": verdict.lot,
        "recipe": verdict.recipe,
        "score": verdict.score,
        "threshold": verdict.threshold,
        "regions": [vars(region).copy() for region in verdict.regions],
        "parts": [vars(part).copy() for part in verdict.parts],
        "picture": None if verdict.image is None else storable(str(store.directory / verdict.image)),
    }
