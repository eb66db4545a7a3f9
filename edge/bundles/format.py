"""manifest.json: bytes → Manifest, strictly, with older formats brought up to this one."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from edge.core.errors import BundleError
from edge.core.manifest import FORMAT_VERSION, Manifest

# a million good parts, each named by its hash
MAXIMUM_MANIFEST_BYTES = 80_000_000
_RETRAIN = "copy the bundle again from where it was made, or make it anew with `edge-inspect train`"

Values = dict[str, Any]


def _from_1(values: Values) -> Values:
    """Format 1 said `rung` of a precision that was tried, and called the hash of its model that of an engine."""
    # a manifest that is not built as it should be is left to the types, which refuse it
    with suppress(AttributeError, KeyError, TypeError):
        for deployment in values["deployments"].values():
            for tried in deployment["tried"]:
                tried["precision"], tried["model_sha256"] = tried.pop("rung"), tried.pop("engine_sha256")
    return values


def _from_2(values: Values) -> Values:
    """Format 2 knew square fields only, by their side."""
    with suppress(AttributeError, KeyError, TypeError):
        side = values["input"].pop("size")
        values["input"]["height"] = values["input"]["width"] = side
    return values


# format version → what turns its manifest into that of the next; format 1 is the first
MIGRATIONS: Mapping[int, Callable[[Values], Values]] = {1: _from_1, 2: _from_2}


def manifest_from_bytes(file: Path, data: bytes) -> Manifest:
    """Check and type a manifest; `file` is for the message. Raises BundleError."""
    try:
        values = json.loads(data, object_pairs_hook=_without_repetition, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise BundleError(f"{file}: not valid JSON ({error})", fix=_RETRAIN) from error
    if not isinstance(values, dict):
        raise BundleError(f"{file}: not a JSON object", fix=_RETRAIN)
    try:
        return Manifest.model_validate(migrated(file, values))
    except ValidationError as error:
        problem = error.errors()[0]
        where = ".".join(str(part) for part in problem["loc"]) or "manifest"
        raise BundleError(f"{file}: {where}: {problem['msg']}", fix=_RETRAIN) from error


def migrated(
    file: Path,
    values: Values,
    current: int = FORMAT_VERSION,
    migrations: Mapping[int, Callable[[Values], Values]] = MIGRATIONS,
) -> Values:
    """The values in the current format, step by step from the one they are in; the file itself stays as it is."""
    version: Any = values.get("format_version")
    known = isinstance(version, int) and not isinstance(version, bool)
    while known and version in migrations and version != current:
        values = migrations[version]({**values})
        version = version + 1
        values["format_version"] = version
    if not known or version != current:
        raise BundleError(
            f"{file}: bundle format {version!r}, this edge-inspect reads format {current}",
            fix="update edge-inspect on this machine" if known and version > current else _RETRAIN,
        )
    return values


def _without_repetition(pairs: list[tuple[str, Any]]) -> Values:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a key is given twice")
    return values


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number")
