"""The files of a published bundle, fetched into a folder beside those of the live one: whole and verified, or not.

A file that came in part is kept under its hash, and gone on with; a file that is here already is not fetched.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from edge.core.errors import ChannelWaits
from edge.core.manifest import FileEntry
from edge.fleet.channel.channel_file import FILES, ChannelFile
from edge.fleet.channel.transport import DiskError, Place

# beside what is fetched: records, reports and history need room too
SPARE_BYTES = 32_000_000
_BLOCK = 1 << 20


def small_file(place: Place, file: ChannelFile) -> bytes:
    """A file that channel.json names. Raises ChannelWaits."""
    data = place.read(f"{FILES}/{file.sha256}", file.bytes)
    if len(data) != file.bytes or hashlib.sha256(data).hexdigest() != file.sha256:
        raise _damaged(f"{place.where}/{FILES}/{file.sha256}", len(data), file.bytes)
    return data


def fetch_files(
    place: Place, entries: list[FileEntry], bundle: Path, folder: Path, present: Mapping[str, Path]
) -> dict[str, Path]:
    """By name, those of the manifest's files that the bundle lacks, each whole in `folder`, which is made.

    present: files that the bundle has under other names, by their hash; they are copied. What else lies in the folder
    is deleted. Raises ChannelWaits.
    """
    missing = {entry.name: entry for entry in entries if not _is_whole(bundle / entry.name, entry)}
    try:
        folder.mkdir(parents=True, exist_ok=True)
        wanted = {entry.sha256 for entry in missing.values()}
        for file in folder.iterdir():
            if file.name not in wanted:
                file.unlink()
        _refuse_too_large(folder, list(missing.values()))
        for entry in missing.values():
            if (same := present.get(entry.sha256)) is not None and _is_whole(same, entry):
                _copy(same, folder / entry.sha256)
            else:
                _fetch(place, entry, folder / entry.sha256)
    except OSError as error:
        raise _disk_refuses(folder, error.errno, error.strerror) from error
    except DiskError as error:
        raise _disk_refuses(folder, error.number, str(error)) from error
    return {name: folder / entry.sha256 for name, entry in missing.items()}


def _copy(file: Path, target: Path) -> None:
    shutil.copyfile(file, target)
    with target.open("rb+") as copied:
        os.fsync(copied.fileno())


def _fetch(place: Place, entry: FileEntry, file: Path) -> None:
    begun = file.exists() and file.stat().st_size > 0
    if not _is_whole(file, entry):
        if begun and file.stat().st_size >= entry.bytes:
            # whole, and another content: nothing to go on with
            file.unlink()
        with file.open("ab") as target:
            place.copy(f"{FILES}/{entry.sha256}", target, entry.bytes)
            # what a manifest names must outlast a power cut
            os.fsync(target.fileno())
    if _is_whole(file, entry):
        return
    size = file.stat().st_size
    file.unlink()
    if begun:
        raise ChannelWaits(
            f"{file}: what was kept of an earlier download does not fit the rest",
            fix="nothing to do: it was deleted, and the file is fetched anew at the next look",
        )
    raise _damaged(f"{place.where}/{FILES}/{entry.sha256}", size, entry.bytes)


def _is_whole(file: Path, entry: FileEntry) -> bool:
    try:
        if file.stat().st_size != entry.bytes:
            return False
        digest = hashlib.sha256()
        with file.open("rb") as opened:
            while block := opened.read(_BLOCK):
                digest.update(block)
    except FileNotFoundError:
        return False
    return digest.hexdigest() == entry.sha256


def _refuse_too_large(folder: Path, entries: list[FileEntry]) -> None:
    here = sum(file.stat().st_size for file in folder.iterdir())
    needed = sum(entry.bytes for entry in entries) - here
    free = shutil.disk_usage(folder).free
    if needed > 0 and needed + SPARE_BYTES > free:
        raise ChannelWaits(
            f"{folder}: the bundle needs {_mb(needed)} more, with {_mb(SPARE_BYTES)} left over; {_mb(free)} are free",
            fix="make room; it is tried again at the next look",
        )


def _disk_refuses(folder: Path, number: int | None, words: str | None) -> ChannelWaits:
    full = number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
    return ChannelWaits(
        f"{folder}: {words}",
        fix="make room; what came is kept, and the rest fetched at the next look"
        if full
        else "let this user write the bundle's directory",
    )


def _damaged(where: str, found: int, size: int) -> ChannelWaits:
    state = f"{found} of {size} bytes" if found != size else "same size, other content"
    return ChannelWaits(
        f"{where} is damaged ({state}): it does not have the hash that was signed",
        fix="copy the folder of the channel to the server again",
    )


def _mb(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
