"""Defects drawn on good parts, and known defective parts, scored as the line would."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from calibration.findings.findings import DrawnDefect, KnownDefect
from edge.backends.base import Backend
from edge.capture.images.image_io import class_folders
from edge.capture.images.image_reader import ImageReader, required
from edge.core.datatypes import U8
from edge.core.errors import PartNotFound
from edge.core.latency import StageClock
from edge.inspection.synthetic_defects import KINDS, synthetic_defects
from edge.preprocessing.normal_samples import image_sha256, require_region
from edge.preprocessing.preprocess import Preprocess
from edge.preprocessing.regions import HIGHEST_SCORE
from edge.preprocessing.tile_choice import SMALLEST_DEFECT_PX

# drawn on each part, in percent of the inspected area: each size is twice as long as the one before
SIZES_PERCENT = (0.03, 0.125, 0.5, 2.0, 8.0)


def sizes_in_tiles(preprocess: Preprocess) -> tuple[float, ...]:
    """The same of a large field: from the smallest defect on that its scale was chosen for."""
    smallest = 100 * SMALLEST_DEFECT_PX**2 / (preprocess.height * preprocess.width)
    return tuple(smallest * 4**step for step in range(len(SIZES_PERCENT)))


def line_score(backend: Backend, picture: U8) -> float:
    """The score of a picture; a part that is not found is INVALID on the line, and never passes."""
    try:
        return float(backend.score(picture, StageClock(0)).score)
    except PartNotFound:
        return HIGHEST_SCORE


def score_drawn(backend: Backend, preprocess: Preprocess, pictures: Iterable[U8]) -> tuple[DrawnDefect, ...]:
    """A defect of each kind and size on each picture, uint8 (H, W, 3) BGR, of a good part."""
    sizes = SIZES_PERCENT if preprocess.tile is None else sizes_in_tiles(preprocess)
    return tuple(
        DrawnDefect(
            kind=defect.kind, length_px=defect.length_px, percent=percent, score=line_score(backend, defect.picture)
        )
        for picture in pictures
        for percent in sizes
        for defect in synthetic_defects(picture, preprocess, len(KINDS), percent / 100)
    )


def score_known(
    backend: Backend, preprocess: Preprocess, paths: Sequence[Path], reader: ImageReader, trained_on: Collection[str]
) -> tuple[KnownDefect, ...]:
    """Pictures of defective parts, each of the kind that its folder names; those INVALID on the line are left out.

    trained_on: hashes of the pictures that training has seen.
    """
    found = []
    for path in paths:
        looked = reader.look(path)
        frame = required(path, looked)
        if looked.fault is None:
            require_region(preprocess, path, frame)
            score, seen = line_score(backend, frame), image_sha256(frame) in trained_on
            found.append(KnownDefect(kind=path.parent.name, score=score, in_training=seen))
    return tuple(found)


def defective_pictures(folder: Path | None, reader: ImageReader) -> list[Path]:
    """Pictures of a folder, or of the folders in it, which are kinds of defects; none where there is no folder."""
    if folder is None or not folder.is_dir():
        return []
    kinds = class_folders(folder)
    if not kinds:
        return reader.pictures_in(folder)
    reader.emit_loose(folder)
    return [path for kind in kinds for path in reader.pictures_in(kind)]
