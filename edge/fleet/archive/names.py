"""Names that come from an archive: as names of files, and as places inside its folder only."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path, PurePosixPath
from urllib.parse import quote

from edge.fleet.archive.recorded import Recorded
from edge.review.labelled_pictures import LABELLED_NAME

_LONGEST = 120


def file_name(text: str) -> str:
    """A name of anything, as the name of one file or folder: percent-encoded, and never the same for two names."""
    data = text.encode("utf-8", "surrogateescape")
    name = quote(data, safe=" =@+,~()")
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{sha256(data).hexdigest()[:16]}"
    # a name of dots leads elsewhere, a hidden one is overlooked
    return f"%2E{name[1:]}" if name.startswith(".") else name or "%00"


def picture_places(folder: Path, recorded: Recorded, kept: str | None) -> Iterator[Path]:
    """Where a picture may lie in a folder of records: in images/, then the copy in labelled/, which outlives it.

    kept: where a label says that the copy is.
    """
    places = [kept]
    if recorded.picture is not None:
        places = [recorded.picture, f"{LABELLED_NAME}/{recorded.run_key}/{PurePosixPath(recorded.picture).name}", kept]
    for place in places:
        if place and _inside(place):
            yield folder / place


def _inside(relative: str) -> bool:
    """Whether a path that an archive names stays inside its folder."""
    path = PurePosixPath(relative)
    return not path.is_absolute() and ".." not in path.parts
