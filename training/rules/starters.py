"""The rule books that come with the program, by name; and how a name or a path becomes a file."""

from __future__ import annotations

from pathlib import Path

from edge.core.errors import UsageError
from edge.core.files.yaml_file import nearest

_LIBRARY = Path(__file__).with_name("library")


def starter_names() -> tuple[str, ...]:
    """The names that `rules show` and --rules know."""
    return tuple(sorted(path.stem for path in _LIBRARY.glob("*.yaml")))


def starter_path(name: str) -> Path:
    """The file of a starter; raises UsageError for a name that is none."""
    if name not in starter_names():
        raise UsageError(f"there are no rules named `{name}`", fix=nearest(name, starter_names()))
    return _LIBRARY / f"{name}.yaml"


def rules_path(file_or_name: str) -> Path:
    """A rules file of the user's, or the starter of that name where there is no such file; raises UsageError."""
    given = Path(file_or_name)
    if given.is_file():
        return given
    if given.suffix or len(given.parts) > 1:
        raise UsageError(f"{given}: no such file", fix=f"give a rules file, or one of: {', '.join(starter_names())}")
    return starter_path(file_or_name)
