"""Pictures of groups of cameras: the file itself says whose picture stands where, wherever it is copied to.

The note is a text chunk of the PNG, before its pixels; each camera's picture can be cut out exactly.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

from edge.bundles.versions import kept_versions
from edge.capture.images.image_io import decode_picture
from edge.core.datatypes import U8, Decision
from edge.core.files.atomic_file import write_atomic
from edge.core.files.private_files import FILE_MODE, make_folder
from edge.records.cameras import CameraRecord, cameras_of_text
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


def cut_outs(path: Path, bundle: Path, decisions: Sequence[Decision] = tuple(Decision)) -> Iterator[tuple[str, U8]]:
    """The pictures that any kept version of this bundle judged so, of a group's: (name of the camera, picture).

    Raises OSError and UndecodableImage.
    """
    encoded = path.read_bytes()
    versions = {version.bundle.sha256 for version in kept_versions(bundle)}
    own = [
        camera
        for camera in cameras_in(encoded)
        if camera.width and camera.bundle_sha256 in versions and camera.decision in decisions
    ]
    picture = decode_picture(encoded, max_megapixels=float("inf")) if own else None
    for camera in own:
        assert picture is not None, "decoded where a camera's picture is wanted"
        cut = camera.cut_out(picture)
        assert cut is not None, "it has a width"
        yield camera.camera, cut


def own_pictures(paths: Sequence[Path], bundle: Path, folder: Path) -> list[Path]:
    """The same pictures; in place of a group's, those that this bundle judged, cut out into `folder`.

    Raises OSError and UndecodableImage.
    """
    found = []
    for path in paths:
        if not is_of_group(path):
            found.append(path)
            continue
        make_folder(folder)
        for camera, picture in cut_outs(path, bundle):
            cut = folder / f"{path.stem}.{camera}.png"
            write_atomic(cut, png_bytes(picture), FILE_MODE, sync=False)
            found.append(cut)
    return found
