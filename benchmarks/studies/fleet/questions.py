"""The questions that docs/fleet/records.md asks of the tables, as they stand in the page."""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchmarks.results_file import ROOT

_BLOCK = re.compile(r"^```sql\n-- (?P<name>[^\n]+)\n(?P<sql>.*?)^```", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Question:
    """name: the comment in its first line. is_view: it only makes what later ones ask."""

    name: str
    sql: str

    @property
    def is_view(self) -> bool:
        return "CREATE OR REPLACE VIEW" in self.sql


def questions() -> list[Question]:
    """In the order of the page, which is the one to ask them in."""
    page = (ROOT / "docs" / "fleet" / "records.md").read_text(encoding="utf-8")
    return [Question(found["name"], found["sql"]) for found in _BLOCK.finditer(page)]
