"""Changes that a page makes: by a command of its own with fixed words, and always in the audit."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from edge.core.redact import redact
from edge.review.database import Change, ReviewDatabase
from edge.web.page import Refusal, visitor_of
from edge.web.security.visitors import Visitor
from edge.web.site.lines import WebLine

if TYPE_CHECKING:
    from starlette.requests import Request

_PATIENCE_S = 120
_MOST_SAID = 2000


def note_change(request: Request, line: WebLine, action: str, before: str, after: str) -> None:
    """Put a change into the audit beside the records of the line. Raises RecordError; without records it is Refusal."""
    if line.records is None:
        raise Refusal(409, "Nothing was changed", f"Line {line.name} keeps no records, so there is no audit.")
    address = request.client.host if request.client is not None else "?"
    change_of(visitor_of(request), address, line.records, action, before, after)


def change_of(visitor: Visitor, address: str, records: Path, action: str, before: str, after: str) -> None:
    """The same where no request is at hand. Raises RecordError."""
    change = Change(datetime.now(timezone.utc), f"{visitor.name} at {address}", visitor.name, action, before, after)
    with ReviewDatabase(records) as review:
        review.add_change(change)


def run_command(words: Sequence[str]) -> None:
    """Run `edge-inspect` with these words, none of which anybody typed. Raises Refusal with what it said."""
    with tempfile.TemporaryDirectory() as place:
        try:
            # from a folder without settings; in a process of its own, as it may need packages that these pages do not
            done = subprocess.run(
                [sys.executable, "-m", "edge", *words], cwd=place, stdin=subprocess.DEVNULL, capture_output=True,
                text=True, errors="replace", timeout=_PATIENCE_S, check=False,
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            text = f"`edge-inspect {words[0]}` was ended after {_PATIENCE_S} s."
            raise Refusal(504, "It took too long", text, "Look at the log.") from None
    if done.returncode != 0:
        said = redact(done.stderr.strip().removeprefix("edge-inspect: "))[-_MOST_SAID:]
        what, _, fix = said.partition("\n  fix: ")
        raise Refusal(409, "Nothing was changed", what, fix)
