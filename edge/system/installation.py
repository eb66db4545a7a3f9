"""The start-up check that the folders installed under their own names are this program's, not somebody else's."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

from edge.core.errors import MissingDependency

SIBLINGS = ("training", "export", "calibration", "benchmarks")


def check_siblings(
    root: Path = Path(__file__).parents[2], find_spec: Callable[[str], ModuleSpec | None] = importlib.util.find_spec
) -> None:
    """Raise MissingDependency unless every sibling package would be imported from beside `edge`.

    Names as plain as `export` can be taken by another package, or by a folder where the program is started. Nothing is
    imported here. root: the folder that holds `edge`.
    """
    for name in SIBLINGS:
        spec = find_spec(name)
        found = None if spec is None else _folder(spec)
        if found is None:
            raise MissingDependency(
                f"the package `{name}` is not installed beside `edge` in {root}",
                fix="install edge-inspect again, into a virtual environment of its own",
            )
        if found != (root / name).resolve():
            raise MissingDependency(
                f"the package `{name}` would be imported from {found}, not from {root / name}",
                fix="install edge-inspect into a virtual environment of its own, and start it from another folder",
            )


def _folder(spec: ModuleSpec) -> Path | None:
    """Where a package lives; a plain module `export.py` is its own path, a bare folder counts as nothing."""
    if spec.origin is None:
        return None
    origin = Path(spec.origin).resolve()
    return origin.parent if spec.submodule_search_locations else origin
