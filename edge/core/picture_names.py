"""The number of a verdict, and the names of its pictures, which begin with it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

from edge.core.datatypes import Decision, Part

OVERLAY_END = ".overlay.jpg"
# no other dot: what follows one ends the name, and tells a picture from its overlay
_IN_NAMES = r"(?:[\w-]|\.(?=\d))*"
_NAME = re.compile(
    r"(?P<run>\d{1,18})-(?P<frame>\d{6,18})-\d{6}[+-]\d{4}-(?:OK|NG|INVALID)(?:-\d+)?"
    rf"(?:~(?P<number>{_IN_NAMES})(?:~(?P<lot>{_IN_NAMES}))?)?\.",
    re.ASCII,
)
_NOT_IN_NAMES = re.compile(r"[^\w.-]|\.(?!\d)", re.ASCII)
_LONGEST_IN_NAMES = 32
# up to version 1 of the names: time in UTC, key of the run
_EARLIER_NAME = re.compile(r"\d{6}-(?P<run>[0-9a-f]{8})-(?P<frame>\d{9})-(?:OK|NG|INVALID)(?:-\d+)?\.")


@dataclass(frozen=True)
class PictureOwner:
    """Whose picture a file is, by its name; run: its id, of earlier names its key. number, lot: see `text_in_names`."""

    run: str
    frame_index: int
    by_key: bool
    number: str = ""
    lot: str = ""


def verdict_number(run_id: int, frame_index: int) -> str:
    """The one name of a verdict, in JSON, names of pictures, reports and `replay`: 12-004711, run and frame."""
    return f"{run_id}-{frame_index:06d}"


def text_in_names(text: str) -> str:
    """A part's number or lot as names of files have it: letters, digits, - _ and dots before digits, 32 at most."""
    return _NOT_IN_NAMES.sub("_", text[:_LONGEST_IN_NAMES])


def picture_place(
    utc: datetime, run_id: int, frame_index: int, decision: Decision, part: Part | None = None, again: int = 1
) -> tuple[str, str]:
    """(folder of the day, name without its end), both in local time. again: 2 for another picture of that frame.

    The number of the verdict comes first: the order of names is that of frames, also in the hour that comes twice. The
    part's number and lot follow last, where they are known: 12-004711-093000+0100-NG~part~lot.
    """
    local = utc.astimezone()
    name = f"{verdict_number(run_id, frame_index)}-{local:%H%M%S%z}-{decision}{f'-{again}' if again > 1 else ''}"
    if part is not None and (part.number or part.lot):
        name += f"~{text_in_names(part.number)}" + (f"~{text_in_names(part.lot)}" if part.lot else "")
    return f"{local:%Y-%m-%d}", name


def overlay_name(picture: str) -> str:
    """a.png → a.overlay.jpg, a.jpg → a.jpg.overlay.jpg: the name of an overlay contains that of its picture."""
    return picture.removesuffix(".png") + OVERLAY_END


def owner_of(name: str) -> PictureOwner | None:
    """Whose picture or overlay this is; None when the name was not given by a recorder."""
    found = _NAME.match(name)
    if found is not None:
        number, lot = found["number"] or "", found["lot"] or ""
        return PictureOwner(str(int(found["run"])), int(found["frame"]), False, number, lot)
    found = _EARLIER_NAME.match(name)
    return None if found is None else PictureOwner(found["run"], int(found["frame"]), True)
