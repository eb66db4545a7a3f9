"""Which part a picture shows, by a list or by the picture's name: several pictures of one part are no several parts."""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from pathlib import Path

from edge.core.errors import UsageError

# beside pictures, columns `file` (from that folder) and `group`
GROUPS = "groups.csv"
_LAST_NUMBER = re.compile(r"\d+(?!.*\d)")


def part_names(root: Path, pictures: Sequence[Path]) -> list[str]:
    """The name of the part that each picture below `root` shows; pictures of one name show one part.

    By root/groups.csv where it lists the picture. Else by the picture's own name: what stands before its last number,
    where that names another number (`part17_2.png` is of `part17_`); else each picture is a part of its own. Raises
    UsageError for a list that cannot be read.
    """
    listed = read_groups(root / GROUPS, "group") if (root / GROUPS).is_file() else {}
    return [listed.get(picture, named_part(root, picture)) for picture in pictures]


def read_groups(path: Path, column: str = "group") -> dict[Path, str]:
    """Picture → group, from a CSV file with columns `file`, from the file's folder, and `column`, where it is given.

    Raises UsageError.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = csv.DictReader(file)
            if missing := {"file", column} - set(rows.fieldnames or ()):
                raise ValueError(f"no column {', '.join(sorted(missing))}")
            return {path.parent / row["file"]: row[column] for row in rows if row["file"] and row[column]}
    except (OSError, ValueError, csv.Error) as error:
        raise UsageError(
            f"{path}: no groups to read ({error})", fix=f"write columns `file` and `{column}`, or remove the list"
        ) from error


def named_part(root: Path, picture: Path) -> str:
    """The part that a picture below `root` shows, by its name alone; its folder belongs to the name."""
    name = (picture.relative_to(root).parent / picture.stem).as_posix()
    before = _LAST_NUMBER.split(picture.stem)[0]
    return f"{picture.relative_to(root).parent.as_posix()}/{before}" if re.search(r"\d", before) else name
