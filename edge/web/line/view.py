"""What an operator sees of a line now, from its status file; nothing of a status that is too old to be true."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

from edge.core.datatypes import Decision
from edge.plant.status_file import STATUS_NAME, is_live, read_status
from edge.web.site.lines import WebLine
from edge.web.site.words import MEANING, age_text, reason_words

NO_DATA = "NO DATA"
WAITING = "WAITING"


@dataclass(frozen=True)
class SeenVerdict:
    """One verdict. number: in the records, None without them; part: its number, empty where nobody told it."""

    decision: Decision
    review: bool
    what: str
    advice: str
    number: str | None
    part: str
    at: datetime

    @property
    def kind(self) -> str:
        """Of its colour and shape: ok, review, ng or invalid."""
        return "review" if self.review else str(self.decision).lower()

    @property
    def meaning(self) -> str:
        """good part, bad part, not judged; a part for review is one that a person should look at."""
        return "look at this part" if self.review else MEANING[self.decision]


@dataclass(frozen=True)
class SeenAlarm:
    """One alarm that stands."""

    what: str
    advice: str
    since: datetime


@dataclass(frozen=True)
class LineView:
    """word: what is written large: a decision, WAITING or NO DATA. kind: of its colour and shape.

    what, advice: why, in words. live: the line runs, and gives verdicts. newest: last 20, newest first; empty unless
    live. counts: good, bad and not judged since the line started; None where they are not known. notes: what stands
    in the way of trust, such as a challenge that is due. product, recipe: empty where not known.
    """

    name: str
    word: str
    kind: str
    what: str
    advice: str
    live: bool
    newest: tuple[SeenVerdict, ...] = ()
    alarms: tuple[SeenAlarm, ...] = ()
    notes: tuple[str, ...] = ()
    counts: tuple[int, int, int] | None = None
    product: str = ""
    recipe: str = ""
    age: str = ""

    @property
    def last(self) -> SeenVerdict | None:
        return self.newest[0] if self.newest else None


def view_of(line: WebLine) -> LineView:
    """What the line says of itself now. Raises nothing: a file that says nonsense is NO DATA, too."""
    if line.run_directory is None:
        what = "This page does not know where the line keeps its status"
        return _no_data(line, what, "Tell an engineer: line.run_directory is not set")
    status = read_status(line.run_directory)
    if status is None:
        if (line.run_directory / STATUS_NAME).exists():
            return _no_data(line, "What the line says cannot be read", "Tell an engineer")
        return _no_data(line, "The line was not started", "Start the line")
    try:
        if is_live(status):
            return _live(line, status)
        return _no_data(line, *_why_not(status))
    except (KeyError, TypeError, ValueError, AttributeError, IndexError):
        return _no_data(line, "What the line says cannot be read", "Tell an engineer")


def _no_data(line: WebLine, what: str, advice: str) -> LineView:
    return LineView(line.name, NO_DATA, "nodata", what, advice, live=False)


def _why_not(status: Mapping[str, Any]) -> tuple[str, str]:
    """Why a status says nothing about now, and what to do."""
    age_s = time.monotonic() - float(status["monotonic_s"])
    written = datetime.fromisoformat(status["utc"])
    if not status["running"]:
        return f"The line was stopped {age_text(_since(written))}", "Start the line"
    if status["beat_age_s"] is None and 0 <= age_s < 2:
        return "The line is starting", "Wait a moment"
    if 0 <= age_s < 2:
        return "The inspection hangs", "It is started again by itself; tell an engineer if it is not"
    return f"The line has said nothing since {written.astimezone():%d %B, %H:%M:%S}", "Check whether it runs"


def _since(moment: datetime) -> float:
    return max(0.0, (datetime.now(timezone.utc) - moment).total_seconds())


def _live(line: WebLine, status: Mapping[str, Any]) -> LineView:
    newest = tuple(_verdict(values) for values in reversed(status["newest"]))
    counts, last = status["counts"], newest[0] if newest else None
    return LineView(
        line.name,
        WAITING if last is None else str(last.decision),
        "nodata" if last is None else last.kind,
        "No part was seen yet" if last is None else last.what,
        "" if last is None else last.advice,
        live=True,
        newest=newest,
        alarms=tuple(
            SeenAlarm(str(alarm["what"]), str(alarm["advice"]), datetime.fromisoformat(alarm["since"]))
            for alarm in status["alarms"]
        ),
        notes=tuple(_notes(status)),
        counts=(int(counts["ok"]), int(counts["ng"]), int(counts["invalid"])),
        product=str(status["info"]["product"]),
        recipe=str(status["recipe"]["name"] or ""),
        age="" if last is None else age_text(_since(last.at)),
    )


def _verdict(values: Mapping[str, Any]) -> SeenVerdict:
    decision, review = Decision(values["decision"]), bool(values["review"])
    words = reason_words(str(values["reason"]))
    number = values["number"]
    return SeenVerdict(
        decision,
        review,
        "Good, but close to the limit" if review else words.what,
        "Look at the part" if review else words.advice,
        None if number is None else str(number),
        str(values["part_number"]),
        datetime.fromisoformat(values["utc"]),
    )


def _notes(status: Mapping[str, Any]) -> list[str]:
    notes = []
    if str(status["ready_state"]) not in ("", "ready"):
        notes.append("The line is not released for this shift: challenge it")
    if str(status["record_state"]) not in ("recording", "opening", "off", "closed"):
        notes.append("Verdicts are not being recorded: tell an engineer")
    return notes
