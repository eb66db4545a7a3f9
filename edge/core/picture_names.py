"""The number of a verdict, and the names of its pictures, which begin with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from edge.core.datatypes import Decision

_NAME = re.compile(r"(?P<run>\d{1,18})-(?P<frame>\d{6,18})-\d{6}[+-]\d{4}-(?:OK|NG|INVALID)(?:-\d+)?\.")
# up to version 1 of the names: time in UTC, key of the run
_EARLIER_NAME = re.compile(r"\d{6}-(?P<run>[0-9a-f]{8})-(?P<frame>\d{9})-(?:OK|NG|INVALID)(?:-\d+)?\.")


@dataclass(frozen=True)
class PictureOwner:
    """Whose picture a file is, by its name; run: its id, of earlier names its key."""

    run: str
    frame_index: int
    by_key: bool


def verdict_number(run_id: int, frame_index: int) -> str:
    """The one name of a verdict, in JSON, names of pictures, reports and `replay`: 12-004711, run and frame."""
    return f"{run_id}-{frame_index:06d}"


def picture_place(utc: datetime, run_id: int, frame_index: int, decision: Decision) -> tuple[str, str]:
    """(folder of the day, name without its end), both in local time.

    The number comes first: the order of names is that of frames, also in the hour that comes twice.
    """
    local = utc.astimezone()
    return f"{local:%Y-%m-%d}", f"{verdict_number(run_id, frame_index)}-{local:%H%M%S%z}-{decision}"


def owner_of(name: str) -> PictureOwner | None:
    """Whose picture or overlay this is; None when the name was not given by a recorder."""
    for pattern, by_key in ((_NAME, False), (_EARLIER_NAME, True)):
        found = pattern.match(name)
        if found is not None:
            run = found["run"] if by_key else str(int(found["run"]))
            return PictureOwner(run, int(found["frame"]), by_key)
    return None
