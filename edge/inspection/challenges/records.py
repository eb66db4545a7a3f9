"""Challenges on record: saved beside the verdicts, their trend, and whether the newest one lets a line start."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from edge.core.datatypes import Decision
from edge.core.files.private_files import make_folder
from edge.core.files.text_names import storable
from edge.core.local_time import local_text
from edge.core.redact import redact
from edge.inspection.challenges.challenge import Challenge, JudgedPart
from edge.records.schema import DATABASE_NAME, explained, opened_for_writing
from edge.records.store import RecordStore, utc_text

# another process may be recording: its commits take milliseconds
_BUSY_S = 5.0
# golden scores say something of a trend from here on
_FEWEST_FOR_TREND = 4


def save_challenge(directory: Path, challenge: Challenge) -> None:
    """Add a challenge to the record store, also while an inspection records into it; raises RecordError."""
    path = directory / DATABASE_NAME
    parts = json.dumps([{**asdict(part), "decision": str(part.decision)} for part in challenge.parts])
    with explained(path):
        make_folder(directory)
        connection = opened_for_writing(path, _BUSY_S)
        try:
            connection.execute(
                "INSERT INTO challenges (utc, source, bundle_sha256, engine_sha256, threshold, passed, looks) "
                "VALUES (?, ?, ?, ?, ?, ?, ?)",
                (
                    utc_text(challenge.utc), storable(challenge.source), challenge.bundle_sha256,
                    challenge.model_sha256, challenge.threshold, int(challenge.passed), parts,
                ),
            )  # fmt: skip
        finally:
            connection.close()


def latest_challenges(directory: Path, limit: int, bundle_sha256: str | None = None) -> list[Challenge]:
    """The newest challenges, the oldest of them first; none where nothing is recorded yet. Raises RecordError.

    bundle_sha256: only those of this version; None: of all.
    """
    if not (directory / DATABASE_NAME).is_file():
        return []
    with RecordStore(directory) as store:
        rows = store.query(
            "SELECT utc, source, bundle_sha256, engine_sha256, threshold, looks FROM challenges "
            "WHERE bundle_sha256 = ifnull(?, bundle_sha256) ORDER BY id DESC LIMIT ?",
            (bundle_sha256, limit),
        )
    return [
        Challenge(
            utc=datetime.fromisoformat(utc),
            source=redact(source),
            bundle_sha256=bundle,
            model_sha256=model,
            threshold=threshold,
            parts=tuple(_judged_part(values) for values in json.loads(parts)),
        )
        for utc, source, bundle, model, threshold, parts in reversed(rows)
    ]


def _judged_part(values: dict[str, Any]) -> JudgedPart:
    # what was called seeded up to version 0.1
    kind = values["kind"].replace("seeded", "synthetic")
    return JudgedPart(**{**values, "kind": kind, "decision": Decision(values["decision"])})


def not_ready(
    challenges: Sequence[Challenge], bundle_sha256: str, model_sha256: str, max_age_hours: float, now: datetime
) -> str | None:
    """Why a line with this bundle and model is not ready, or None: the newest challenge decides.

    challenges: oldest first. The words stay the same while nothing but the time changes.
    """
    if not challenges:
        return "no challenge is on record"
    newest = challenges[-1]
    age = now - newest.utc
    when = f"the last challenge, of {local_text(newest.utc)},"
    if (newest.bundle_sha256, newest.model_sha256) != (bundle_sha256, model_sha256):
        return (
            f"{when} was of bundle version {newest.bundle_sha256[:16]}, model {newest.model_sha256[:12]}; "
            f"this is {bundle_sha256[:16]}, {model_sha256[:12]}"
        )
    if not newest.passed:
        return f"{when} was {newest.summary()}"
    if age > timedelta(hours=max_age_hours):
        return f"{when} is out of date: {max_age_hours:g} hours are allowed"
    if age < -timedelta(minutes=5):
        return f"{when} is in the future: the clock was set back"
    return None


def trend_lines(challenges: Sequence[Challenge]) -> list[str]:
    """Challenges as a table, oldest first, and where the golden score stands among those of its version and source."""
    if not challenges:
        return ["no challenge is on record"]
    lines = ["time                       state      golden score  of threshold  golden OK  defects  version   source"]
    for each in challenges:
        golden, defects = each.of("golden"), each.of("synthetic", "defective")
        score = each.golden_score
        level = f"{score:<13.4f} {score / each.threshold:<13.0%}" if score is not None else f"{'-':<13} {'-':<13}"
        lines.append(
            f"{local_text(each.utc)}  {'ready' if each.passed else 'NOT READY':<10} {level} "
            f"{_ratio(golden):<10} {_ratio(defects):<8} {each.bundle_sha256[:8]}  {each.source}"
        )
    return [*lines, *_standing(challenges)]


def _standing(challenges: Sequence[Challenge]) -> list[str]:
    """Golden scores of one version and source are exchangeable while nothing changes: so an extreme has its chance."""
    newest = challenges[-1]
    alike = [each for each in challenges[:-1] if _judged_alike(each, newest)]
    before = [each.golden_score for each in alike if each.golden_score is not None]
    score = newest.golden_score
    if score is None or len(before) < _FEWEST_FOR_TREND:
        return []
    span = f"the {len(before)} before it with this version and source: {min(before):.4f} to {max(before):.4f}"
    if min(before) <= score <= max(before):
        return [f"golden score {score:.4f} is among {span}"]
    where = "above" if score > max(before) else "below"
    return [
        f"golden score {score:.4f} is {where} all of {span}; by chance so in 1 of {len(before) + 1} challenges: "
        "look at light, lens, focus and position"
    ]


def _judged_alike(one: Challenge, other: Challenge) -> bool:
    return (one.bundle_sha256, one.source) == (other.bundle_sha256, other.source)


def _ratio(parts: Sequence[JudgedPart]) -> str:
    return f"{sum(part.right for part in parts)}/{len(parts)}"
