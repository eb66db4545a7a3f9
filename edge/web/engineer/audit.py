"""Who changed what, on these pages and by their commands."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.responses import Response

from edge.core.errors import RecordError
from edge.review.database import REVIEW_NAME, ReviewDatabase
from edge.web.page import chosen_line, show

if TYPE_CHECKING:
    from starlette.requests import Request

_MOST_LISTED = 200


def audit_page(request: Request) -> Response:
    """The newest changes of a line."""
    line = chosen_line(request)
    if line.records is None:
        raise RecordError(f"line {line.name} keeps no records", fix="set record.directory of the line")
    changes = []
    # looking must not make a database
    if (line.records / REVIEW_NAME).exists():
        with ReviewDatabase(line.records) as review:
            changes = review.changes(_MOST_LISTED)
    return show(request, "audit.html", line=line, changes=changes)
