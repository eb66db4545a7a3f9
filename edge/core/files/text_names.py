"""Names of files that are no text, as text that every database, JSON reader and model takes."""

from __future__ import annotations

import re
from pathlib import Path

_ESCAPED = re.compile(r"\\u(dc[89a-f][0-9a-f])")


def storable(text: str) -> str:
    """What was undecodable in a file's name, a lone surrogate in Python, as `\\udce4`; all else as it is."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def path_of_stored(text: str) -> Path:
    """The path that `storable` made this text of."""
    path = Path(text)
    return path if path.exists() else Path(_ESCAPED.sub(lambda found: chr(int(found[1], 16)), text))
