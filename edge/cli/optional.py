"""Packages beside `edge` that need more than the runtime does."""

from __future__ import annotations

import importlib
from typing import Any

from edge.errors import MissingDependency


def needs(module: str, extra: str) -> Any:
    """Import a module of the packages beside `edge`, naming the extra that brings what it lacks."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"this command needs {error.name}, which is not installed", fix=f"pip install 'edge-inspect[{extra}]'"
        ) from error
