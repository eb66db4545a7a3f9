"""Pictures that were labelled are kept in records/labelled/, where retention never looks."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from pathlib import Path

from edge.core.files.atomic_file import PART_END, sync_directory
from edge.core.files.private_files import FILE_MODE, make_folder
from edge.records.schema import explained
from edge.records.store import VerdictRecord

LABELLED_NAME = "labelled"


def keep_picture(directory: Path, verdict: VerdictRecord, run_key: str) -> str | None:
    """The picture and the overlay of a verdict once more, under names that last; relative to the records.

    A hard link, which takes no room; a copy where the file system has none. None where the picture is gone, or was
    never kept. Raises RecordError.
    """
    if verdict.image is None:
        return None
    # run numbers may begin anew in another database, keys never come twice
    folder = f"{LABELLED_NAME}/{run_key}"
    with explained(directory / folder):
        make_folder(directory / folder)
        kept = f"{folder}/{Path(verdict.image).name}"
        try:
            _link(directory / verdict.image, directory / kept)
        except FileNotFoundError:
            return None
        if verdict.overlay is not None:
            with suppress(FileNotFoundError):
                _link(directory / verdict.overlay, directory / folder / Path(verdict.overlay).name)
        sync_directory(directory / folder)
    return kept


def _link(source: Path, target: Path) -> None:
    if target.exists():
        return
    try:
        os.link(source, target)
    except FileNotFoundError:
        raise
    except FileExistsError:
        # somebody else has labelled it at this moment
        return
    except OSError:
        part = target.with_name(target.name + PART_END)
        shutil.copyfile(source, part)
        part.chmod(FILE_MODE)
        with part.open("rb") as file:
            os.fsync(file.fileno())
        part.replace(target)
