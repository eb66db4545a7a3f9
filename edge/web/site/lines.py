"""The lines of this box, as the settings name them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from edge.core.config import Settings


@dataclass(frozen=True)
class WebLine:
    """One line. run_directory: where it keeps its status; records: where its records lie; None: it keeps none.

    bundle: None for that of the newest run on record.
    """

    name: str
    run_directory: Path | None
    records: Path | None
    bundle: Path | None = None


def lines_of(settings: Settings) -> dict[str, WebLine]:
    """Those of web.lines, or else the one line that the settings are of."""
    listed = [
        WebLine(line.name, _path(line.run_directory), _path(line.records), _path(line.bundle))
        for line in settings.web.lines
    ]
    # a group's cameras may have others; which, its runs say
    bundle = None if settings.group.cameras else settings.inspection.bundle
    own = WebLine(
        settings.line.name, _path(settings.line.run_directory), _path(settings.record.directory), _path(bundle)
    )
    return {line.name: line for line in listed or [own]}


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
