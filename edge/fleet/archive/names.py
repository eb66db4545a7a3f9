"""Names that come from an archive, as names of files that lead nowhere else."""

from __future__ import annotations

from hashlib import sha256
from pathlib import PurePosixPath
from urllib.parse import quote

_LONGEST = 120


def file_name(text: str) -> str:
    """A name of anything, as the name of one file or folder: percent-encoded, and never the same for two names."""
    data = text.encode("utf-8", "surrogateescape")
    name = quote(data, safe=" =@+,~()")
    if len(name) > _LONGEST:
        name = f"{name[:_LONGEST]}-{sha256(data).hexdigest()[:16]}"
    # a name of dots leads elsewhere, a hidden one is overlooked
    return f"%2E{name[1:]}" if name.startswith(".") else name or "%00"


def inside(relative: str) -> bool:
    """Whether a path that an archive names stays inside its folder."""
    path = PurePosixPath(relative)
    return not path.is_absolute() and ".." not in path.parts
