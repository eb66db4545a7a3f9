"""Pictures of groups of cameras: the file itself says whose picture stands where, wherever it is copied to.

The note is a text chunk of the PNG, before its pixels; each camera's picture can be cut out exactly.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.capture.images.image_io import UndecodableImage, decode_picture
from edge.core.datatypes import U8, Decision
from edge.core.errors import RecordError
from edge.core.files.atomic_file import write_atomic
from edge.core.files.private_files import FILE_MODE, make_folder
from edge.core.files.text_names import storable
from edge.core.picture_names import owner_of
from edge.records.cameras import CameraRecord, cameras_of_text
from edge.records.schema import explained
from edge.records.store import CAMERA_BUNDLES, RecordStore
from edge.records.writer.png import KEYWORD, png_bytes

_SIGNATURE_BYTES, _MOST_HEADER_BYTES = 8, 1 << 16


def cameras_in(encoded: bytes) -> tuple[CameraRecord, ...]:
    """What a picture file says of a group's cameras; empty for a picture of one camera, and for any other file."""
    if not encoded.startswith(b"\x89PNG"):
        return ()
    at = _SIGNATURE_BYTES
    while at + 8 <= len(encoded):
        length, kind = struct.unpack_from(">I4s", encoded, at)
        data = encoded[at + 8 : at + 8 + length]
        if kind == b"IDAT":
            return ()
        if kind == b"tEXt" and data.startswith(KEYWORD + b"\0"):
            try:
                return cameras_of_text(data[len(KEYWORD) + 1 :].decode("ascii"))
            # of a damaged file, or of another program that took the word
            except (ValueError, KeyError, TypeError):
                return ()
        at += 12 + length
    return ()


def is_of_group(path: Path) -> bool:
    """Whether the file is a picture of a group; False where it cannot be read."""
    try:
        with path.open("rb") as file:
            return bool(cameras_in(file.read(_MOST_HEADER_BYTES)))
    except OSError:
        return False


def cut_outs(
    store: RecordStore, path: Path, bundle: Path, decisions: Sequence[Decision] = tuple(Decision)
) -> Iterator[tuple[str, U8]]:
    """Of a group's picture those of the cameras that had this bundle, and were judged so: (camera, picture).

    path: named as the store names its pictures. Raises RecordError for one that cannot be read.
    """
    with explained(path):
        encoded = path.read_bytes()
    names = _cameras_with(store, path, bundle)
    own = [
        camera
        for camera in cameras_in(encoded)
        if camera.width and camera.camera in names and camera.decision in decisions
    ]
    try:
        picture = decode_picture(encoded, max_megapixels=float("inf")) if own else None
    except UndecodableImage as error:
        raise RecordError(f"{path} cannot be read: {error}", fix="restore it from a backup, or delete it") from error
    for camera in own:
        assert picture is not None, "decoded where a camera's picture is wanted"
        cut = camera.cut_out(picture)
        assert cut is not None, "it has a width"
        yield camera.camera, cut


def own_pictures(store: RecordStore, paths: Sequence[Path], bundle: Path, folder: Path) -> list[Path]:
    """The same pictures; in place of a group's, those of its cameras that had this bundle, cut out into `folder`.

    One that is damaged stays itself: who reads it says so. Raises RecordError where nothing can be written.
    """
    found = []
    for path in paths:
        if not is_of_group(path):
            found.append(path)
            continue
        try:
            own = list(cut_outs(store, path, bundle))
        except RecordError as error:
            # whole, it would be taken for one camera's
            if not isinstance(error.__cause__, UndecodableImage):
                raise
            found.append(path)
            continue
        for camera, picture in own:
            cut = folder / f"{path.stem}.{camera}.png"
            with explained(folder):
                make_folder(folder)
                write_atomic(cut, png_bytes(picture), FILE_MODE, sync=False)
            found.append(cut)
    return found


def _cameras_with(store: RecordStore, path: Path, bundle: Path) -> set[str]:
    """The cameras of the picture's run that were judged by this bundle."""
    owner = owner_of(path.name)
    # a picture that is kept for its label lies in the folder of its run's key, which never comes twice
    runs = store.query("SELECT id FROM runs WHERE key = ?", (path.parent.name,))
    if not runs and owner is not None:
        runs = store.query("SELECT id FROM runs WHERE id = ?", (owner.run,))
    rows = store.query(
        f"SELECT place.key FROM runs run, json_each(run.config, '$.{CAMERA_BUNDLES}') place "
        "WHERE run.id = ? AND place.value = ?",
        (runs[0][0] if runs else None, storable(str(bundle.resolve()))),
    )
    return {name for (name,) in rows}
