"""Folders of good parts: where they lie, and which of them a model has seen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from edge.capture.images.image_reader import PLAIN, ImageReader, required
from edge.capture.images.rejected_images import RejectedImages
from edge.core.config import AlignSettings
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.preprocessing.alignment import REFERENCE_PARTS, align_spec
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.regions import FieldOfView
from edge.preprocessing.upright_reference import NOT_UPRIGHT, Outlines, outlines_of, upright_spec

MINIMUM_HELD_OUT = 8
HELD_OUT_SHARE = 0.15


@dataclass(frozen=True)
class NormalSample:
    """A picture of a good part, uint8 (H, W, 3) BGR; sha256 is of its size and pixels."""

    path: Path
    picture: U8
    sha256: str


def normal_samples_folder(data: Path) -> Path:
    """`train/good` of an MVTec-style folder, or the folder itself when it holds pictures directly."""
    folder = data / "train" / "good"
    if folder.is_dir():
        return folder
    if data.is_dir():
        return data
    raise UsageError(f"{data}: no such folder", fix="give --data a folder with train/good/, or a folder of good parts")


def read_normal_samples(data: Path, reader: ImageReader = PLAIN) -> Iterator[NormalSample]:
    """Good parts in natural order, each different picture once.

    Those that the line would not judge are left out, and told by the reader. Raises UsageError for a folder without
    pictures, a picture that cannot be read, and at the end when the line would judge less than half of them.
    """
    seen = set()
    turned_away = RejectedImages(reader.freshness)
    folder = normal_samples_folder(data)
    if folder != data:
        reader.emit_loose(data)
    paths = reader.pictures_in(folder)
    for path in paths:
        looked = reader.look(path)
        picture = required(path, looked)
        if looked.fault is not None:
            turned_away.add(path.name, picture, looked.fault)
            continue
        sha256 = image_sha256(picture)
        # a copy under another name would sit on both sides of a split
        if sha256 not in seen:
            seen.add(sha256)
            yield NormalSample(path, picture, sha256)
    turned_away.refuse_most(len(paths), reader.fitting_sensor_bits())
    if len(turned_away):
        reader.emit(turned_away.summary(len(paths)))


def require_region(preprocess: Preprocess, path: Path, picture: U8) -> None:
    """Raises UsageError when the region of interest does not lie inside the picture."""
    height, width = picture.shape[:2]
    if preprocess.field_of_view(height, width) is None:
        raise UsageError(
            f"{path} is {width}x{height} px; the region {preprocess.rectangle} does not lie inside",
            fix="change roi.rectangle, or remove the picture",
        )


def aligned_to_parts(
    preprocess: Preprocess, data: Path, settings: AlignSettings, reader: ImageReader = PLAIN
) -> Preprocess:
    """With a reference of some of these good parts, as the settings ask; they must hold the region of interest.

    Raises UsageError when they do not, or do not match each other.
    """
    if settings.mode in (None, "none"):
        return preprocess
    pictures, views = parts_to_align(preprocess, data, reader)
    if settings.mode == "upright":
        outlines = required_outlines(preprocess, pictures, views)
        # a canvas has its parts' aspect already
        return replace(preprocess, align=upright_spec(outlines, preprocess.shape, settings), fit="stretch")
    return replace(preprocess, align=align_spec(pictures, views, settings))


def required_outlines(preprocess: Preprocess, pictures: Sequence[U8], views: Sequence[FieldOfView]) -> Outlines:
    """The outlines of good parts; raises UsageError with the reason where they cannot be stood upright."""
    found: Outlines | str = "are judged inside a polygon, which stays where it is in the frame"
    if preprocess.polygon is None:
        found = outlines_of(pictures, views)
    if isinstance(found, str):
        raise UsageError(
            f"{NOT_UPRIGHT}the parts {found}", fix="use another align mode, or none; see the page on alignment"
        )
    return found


def parts_to_align(
    preprocess: Preprocess, data: Path, reader: ImageReader = PLAIN
) -> tuple[list[U8], list[FieldOfView]]:
    """Some of the good parts, evenly from all, and the views that are inspected of them."""
    paths = reader.pictures_in(normal_samples_folder(data))
    chosen = np.unique(np.linspace(0, len(paths) - 1, min(REFERENCE_PARTS, len(paths))).round().astype(int))
    looks = [(paths[index], reader.look(paths[index])) for index in chosen]
    pictures = [required(path, looked) for path, looked in looks if looked.fault is None or looked.image is None]
    views = [preprocess.field_of_view(*picture.shape[:2]) for picture in pictures]
    held = [(picture, view) for picture, view in zip(pictures, views, strict=True) if view is not None]
    return [picture for picture, _ in held], [view for _, view in held]


def held_out_split(count: int, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Indexes (learned from, held out) of `count` good parts: a random 15 %, at least eight, is held out.

    Statistics, thresholds and every choice come from held-out parts alone.
    """
    held_out = max(MINIMUM_HELD_OUT, round(HELD_OUT_SHARE * count))
    order = np.random.default_rng(seed).permutation(count)
    return np.sort(order[held_out:]), np.sort(order[:held_out])


def part_hashes(sha256: str, count: int) -> list[str]:
    """What the parts of one picture are named by: the picture's hash for the first, hashes of it for the others."""
    return [sha256, *(hashlib.sha256(f"{sha256} {number}".encode()).hexdigest() for number in range(1, count))]


def image_sha256(picture: U8) -> str:
    """Hash of size and pixels: the same part under another file name or format is the same part."""
    digest = hashlib.sha256(f"{picture.shape}".encode())
    digest.update(np.ascontiguousarray(picture).tobytes())
    return digest.hexdigest()
