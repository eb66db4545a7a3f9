"""Good parts on disk → network fields, split into trained-on and held out."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.datatypes import U8
from edge.errors import UsageError
from edge.normals import held_out_split, normals_folder, read_normals
from edge.preprocess import Preprocess

MINIMUM_NORMALS = 16


@dataclass(frozen=True)
class Normals:
    """Fields uint8 (n, s, s, 3) BGR of good parts; hashes name each picture by its pixels, in the same order."""

    fields: U8
    hashes: tuple[str, ...]

    @property
    def sha256(self) -> str:
        return hashlib.sha256("".join(sorted(self.hashes)).encode()).hexdigest()

    def take(self, indexes: np.ndarray) -> Normals:
        return Normals(self.fields[indexes], tuple(self.hashes[index] for index in indexes))


def load_normals(data: Path, preprocess: Preprocess) -> Normals:
    """Read every good part; raises UsageError for an unreadable picture, too few, or a region that does not fit."""
    fields, hashes = [], []
    for part in read_normals(data):
        if preprocess.field_of_view(*part.picture.shape[:2]) is None:
            height, width = part.picture.shape[:2]
            raise UsageError(
                f"{part.path} is {width}x{height} px; the region {preprocess.rectangle} does not lie inside",
                fix="change roi.rectangle, or remove the picture",
            )
        fields.append(preprocess.field(part.picture))
        hashes.append(part.sha256)
    if len(fields) < MINIMUM_NORMALS:
        raise UsageError(
            f"{normals_folder(data)}: {len(fields)} different good parts, at least {MINIMUM_NORMALS} are needed",
            fix="take more pictures of good parts; 40 or more are better",
        )
    return Normals(np.stack(fields), tuple(hashes))


def split_held_out(normals: Normals, seed: int) -> tuple[Normals, Normals]:
    """(trained on, held out), as edge/normals.py splits them."""
    trained, held_out = held_out_split(len(normals.hashes), seed)
    return normals.take(trained), normals.take(held_out)
