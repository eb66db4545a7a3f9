"""What a check found, and how findings are shown."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.table import Table


class State(str, Enum):
    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `fix` says what to do, and is empty exactly when the state is ok."""

    name: str
    state: State
    value: str
    fix: str = ""

    def __post_init__(self) -> None:
        if (self.state is State.OK) != (self.fix == ""):
            raise ValueError(f"finding {self.name}: {self.state.value} with the fix {self.fix!r}")


def worst(findings: Sequence[Finding]) -> State:
    """fail if anything fails, else warn if anything warns, else ok."""
    states = {finding.state for finding in findings}
    return next((state for state in (State.FAIL, State.WARN) if state in states), State.OK)


def findings_json(findings: Sequence[Finding]) -> str:
    """{"state": the worst, "findings": [{"name", "state", "value", "fix"}, ...]}"""
    return json.dumps({"state": worst(findings), "findings": [asdict(finding) for finding in findings]}, indent=2)


def findings_table(findings: Sequence[Finding]) -> Table:
    """A table for the terminal; under each finding that is not ok stands its fix."""
    from rich.table import Table
    from rich.text import Text

    colours = {State.OK: "green", State.WARN: "yellow", State.FAIL: "bold red"}
    table = Table(box=None, padding=(0, 2, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        # Text, because a path may contain what rich would take for markup
        value = Text(finding.value)
        if finding.fix:
            value.append(f"\nfix: {finding.fix}", style="italic")
        table.add_row(Text(finding.state.value, style=colours[finding.state]), Text(finding.name), value)
    return table
