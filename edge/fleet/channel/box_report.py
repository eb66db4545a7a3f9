"""What a box tells of itself: which version is live, how its trial went, what the line makes of it."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.core.files.safe_file import read_safe
from edge.fleet.channel.channel_file import RINGS
from edge.fleet.channel.figures import Figures

log = logging.getLogger("edge.fleet.channel")

MAXIMUM_BYTES = 16384

# live: this version of the channel is, or was and somebody went on from it. waiting: it may come. trial: it is tried
# beside the live one. refused: it does not come to this box. halted: it comes to no box
State = Literal["live", "waiting", "trial", "refused", "halted"]


class TrialCounts(BaseModel):
    """Frames that both versions judged; new_rejects: rejected by the new one alone, fewer_rejects: by the old one."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    compared: int
    new_rejects: int
    fewer_rejects: int

    @property
    def disagreed(self) -> int:
        return self.new_rejects + self.fewer_rejects


class BoxReport(BaseModel):
    """One file per box. utc: by the box's clock, which nothing goes by. version, revision: of the channel as the box
    saw it now, with a signature that fits; None: it did not. bundle: hash of the live version; empty: there is none.
    why: in words, what the state does not say. ring: as configured. before, after: of the version that was live
    before, and of the channel's.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    report: Literal[1] = 1
    box: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
    software: str
    utc: str
    version: int | None
    revision: int | None
    state: State
    why: str = ""
    bundle: str = ""
    ring: Annotated[int, Field(ge=1, le=len(RINGS))] | None = None
    trial: TrialCounts | None = None
    before: Figures | None = None
    after: Figures | None = None


def read_reports(folder: Path) -> Iterator[BoxReport]:
    """The reports of all boxes; what is no report, or not of the box that its name says, is left out and logged."""
    for file in sorted(folder.glob("*.json")) if folder.is_dir() else ():
        try:
            report = BoxReport.model_validate_json(read_safe(folder, file.name, MAXIMUM_BYTES))
        except (OSError, ValidationError) as error:
            log.warning("%s is no report: %s", file, str(error).splitlines()[0])
            continue
        if file.name == f"{report.box}.json":
            yield report
        else:
            log.warning("%s is the report of another box: %s", file, report.box)
