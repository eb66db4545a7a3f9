"""What is published, as JSON in UTF-8; names of topics."""

from __future__ import annotations

import json
from typing import Any

from edge.core.files.text_names import storable
from edge.core.local_time import local_iso
from edge.plant.recipe_request import RecipeAnswer
from edge.records.alarms import AlarmRecord
from edge.records.store import VerdictRecord

ONLINE, OFFLINE = b"online", b"offline"
# of a status, what stays as it is for some time
_INFO = ("software", "info", "started", "bundle_sha256", "model_sha256", "bundle_state", "recipe")


def topic_of(site: str, line: str, kind: str) -> str:
    return f"edge-inspect/{site}/{line}/{kind}"


def verdict_message(record: VerdictRecord, source: str) -> bytes:
    """The object of `--json`, with the row id, by which a reader can order and sift; where a picture lies is local."""
    return _json(
        {
            "id": record.number,
            "row": record.id,
            "time": local_iso(record.utc),
            **record.verdict().as_json(storable(source), record.part),
            "detail": storable(record.detail),
        }
    )


def alarm_message(record: AlarmRecord, run_ended: bool) -> bytes:
    """An alarm as it is now; `number` is the same in all of its states. ended: null while it stands."""
    alarm = record.alarm
    return _json(
        {
            "number": f"{record.run_id}-{alarm.number}",
            "kind": alarm.kind,
            "what": storable(alarm.what),
            "advice": storable(alarm.advice),
            "since": local_iso(alarm.since),
            "ended": None if alarm.ended is None else local_iso(alarm.ended),
            "stands": alarm.ended is None and not run_ended,
        }
    )


def info_message(status: dict[str, Any]) -> bytes:
    """Program, product, camera and versions."""
    return _json({key: status[key] for key in _INFO})


def recipe_message(answer: RecipeAnswer) -> bytes:
    """What a line answered to `cmd/recipe`."""
    return _json(
        {"recipe": storable(answer.recipe), "changed": answer.changed, "text": storable(answer.text), "ms": answer.ms}
    )


def counts_message(status: dict[str, Any]) -> bytes:
    """Counts since the start of the run."""
    return _json({"time": status["utc"], "started": status["started"], **status["counts"]})


def _json(values: dict[str, Any]) -> bytes:
    return json.dumps(values, separators=(",", ":")).encode()
