"""What the pages read, and who may read it."""

from __future__ import annotations

from dataclasses import dataclass

from edge.web.security.visitors import Visitors
from edge.web.site.lines import WebLine
from edge.web.site.shifts import Shifts
from edge.web.site.tally import Tally


@dataclass(frozen=True)
class Site:
    """Everything that the pages read. lines, tallies: by name, in the order of the settings."""

    lines: dict[str, WebLine]
    tallies: dict[str, Tally]
    shifts: Shifts
    visitors: Visitors
