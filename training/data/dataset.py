"""An MVTec-style folder → network fields: good parts split into trained-on and held out, weak anomalies, textures."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np

from edge.capture.images.image_io import class_folders
from edge.capture.images.image_reader import PLAIN, ImageReader
from edge.core.datatypes import F32, U8
from edge.core.errors import PartNotFound, UsageError
from edge.preprocessing.normal_samples import (
    held_out_split,
    image_sha256,
    normal_samples_folder,
    part_hashes,
    read_normal_samples,
    require_region,
)
from edge.preprocessing.part_names import part_names
from edge.preprocessing.preprocess import Preprocess

Layout = Literal["aligned", "free"]

MINIMUM_NORMAL_SAMPLES = 16
# mean correlation of good parts with the mean of the others from which on they count as lying the same way
_ALIGNED_CORRELATION = 0.75
# side at which alignment is judged: what matters is where things are, not their texture
_ALIGNMENT_SIDE = 32
# of the variance of a picture's levels: what two tones explain of circuits is 0.99, of other parts 0.9 at most
_TWO_TONES, _LOOKED_AT = 0.97, 16
# share of such pictures from which on parts are taken for circuits
MOST_TWO_TONES = 0.9


@dataclass(frozen=True)
class NormalSamples:
    """Fields uint8 (n, h, w, 3) BGR of good parts; hashes name each picture by its pixels, in the same order.

    weight: (h, w), 1 inside the region's polygon as it lies in the first picture, 0 outside; None without a polygon.
    """

    fields: U8
    hashes: tuple[str, ...]
    weight: F32 | None = None

    @property
    def sha256(self) -> str:
        return hashlib.sha256("".join(sorted(self.hashes)).encode()).hexdigest()

    def take(self, indexes: np.ndarray) -> NormalSamples:
        return NormalSamples(self.fields[indexes], tuple(self.hashes[index] for index in indexes), self.weight)


@dataclass(frozen=True)
class WeakAnomalies:
    """Fields uint8 (n, h, w, 3) BGR of parts known to be defective, without masks.

    kinds: each picture's folder. parts: the part that it shows (edge/preprocessing/part_names.py).
    """

    fields: U8
    kinds: tuple[str, ...]
    hashes: tuple[str, ...]
    parts: tuple[str, ...]


def load_normal_samples(
    data: Path, preprocess: Preprocess, notice: Callable[[str], None] = lambda text: None, reader: ImageReader = PLAIN
) -> NormalSamples:
    """Read every good part.

    Raises UsageError for an unreadable picture, too few, a region that does not fit, or a test picture among them.
    """
    fields: list[U8] = []
    hashes: list[str] = []
    sizes: set[tuple[int, int]] = set()
    weight = None
    leaks = _test_hashes(data, reader)
    for part in read_normal_samples(data, reader):
        if part.sha256 in leaks:
            raise UsageError(
                f"{part.path} is the same picture as {leaks[part.sha256]}: a test picture among the good parts",
                fix="remove one of the two; figures measured on pictures that were trained on mean nothing",
            )
        if not fields:
            weight = preprocess.weight(*part.picture.shape[:2])
        shown = sample_fields(part.path, part.picture, preprocess)
        fields += shown
        hashes += part_hashes(part.sha256, len(shown))
        sizes.add((part.picture.shape[1], part.picture.shape[0]))
    if len(fields) < MINIMUM_NORMAL_SAMPLES:
        raise UsageError(
            f"{normal_samples_folder(data)}: {len(fields)} different good parts, "
            f"at least {MINIMUM_NORMAL_SAMPLES} are needed",
            fix="take more pictures of good parts; 40 or more are better",
        )
    if len(sizes) > 1 and not preprocess.places:
        small, large = min(sizes), max(sizes)
        notice(
            f"the good parts have {len(sizes)} sizes, from {small[0]}x{small[1]} to {large[0]}x{large[1]} px: "
            "each is stretched to the network's field"
        )
    return NormalSamples(np.stack(fields), tuple(hashes), weight)


def load_weak(data: Path, preprocess: Preprocess, normals: NormalSamples, reader: ImageReader = PLAIN) -> WeakAnomalies:
    """Every picture of train/weak/<kind>/; none when there is no such folder.

    Raises UsageError when the folder is there but empty, or a picture is among the good parts too.
    """
    root = data / "train" / "weak"
    fields, kinds, hashes, paths = [], [], [], []
    good = set(normals.hashes)
    reader.emit_loose(root)
    for folder in class_folders(root):
        for path in reader.pictures_in(folder):
            picture = reader.read(path)
            sha256 = image_sha256(picture)
            if sha256 in good:
                raise UsageError(
                    f"{path} is also among the good parts",
                    fix="decide which it is, and remove it from the other folder",
                )
            if sha256 not in hashes:
                shown = sample_fields(path, picture, preprocess)
                if len(shown) > 1:
                    raise UsageError(
                        f"{path} shows {len(shown)} parts, and which of them is defective is not known",
                        fix="crop the picture to the defective part",
                    )
                fields += shown
                kinds.append(folder.name)
                hashes.append(sha256)
                paths.append(path)
    if root.is_dir() and not fields:
        raise UsageError(
            f"{root} holds no pictures in folders of their own",
            fix="put pictures of defective parts into train/weak/<kind of defect>/, or remove the folder",
        )
    stacked = np.stack(fields) if fields else np.zeros((0, *preprocess.shape, 3), np.uint8)
    return WeakAnomalies(stacked, tuple(kinds), tuple(hashes), tuple(part_names(root, paths)))


def load_textures(data: Path, shape: tuple[int, int], reader: ImageReader = PLAIN) -> U8 | None:
    """Fields uint8 (n, *shape, 3) BGR of textures/: the middle of each, of that aspect; None without that folder."""
    root = data / "textures"
    if not root.is_dir():
        return None
    fields = []
    for path in reader.pictures_in(root):
        picture = reader.read(path)
        scale = min(picture.shape[0] / shape[0], picture.shape[1] / shape[1])
        height, width = (max(1, int(side * scale)) for side in shape)
        top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
        middle = picture[top : top + height, left : left + width]
        fields.append(cv2.resize(middle, shape[::-1], interpolation=cv2.INTER_AREA))
    return np.stack(fields).astype(np.uint8)


def split_held_out(normals: NormalSamples, seed: int) -> tuple[NormalSamples, NormalSamples]:
    """(trained on, held out), as edge/preprocessing/normal_samples.py splits them."""
    trained, held_out = held_out_split(len(normals.hashes), seed)
    return normals.take(trained), normals.take(held_out)


def layout_of(normals: NormalSamples) -> tuple[Layout, float]:
    """Whether good parts always lie the same way, and their mean correlation with the mean of the others, coarsely."""
    side = (_ALIGNMENT_SIDE, _ALIGNMENT_SIDE)
    grey = [cv2.cvtColor(cv2.resize(f, side, interpolation=cv2.INTER_AREA), cv2.COLOR_BGR2GRAY) for f in normals.fields]
    parts = np.stack(grey).reshape(len(grey), -1).astype(np.float64)
    others = (parts.sum(0) - parts) / (len(parts) - 1)
    parts -= parts.mean(1, keepdims=True)
    others -= others.mean(1, keepdims=True)
    scale = np.sqrt((parts**2).sum(1) * (others**2).sum(1))
    correlation = float(np.mean((parts * others).sum(1) / np.maximum(scale, 1e-9)))
    return ("aligned" if correlation >= _ALIGNED_CORRELATION else "free"), correlation


def two_tone_share(data: Path, reader: ImageReader = PLAIN) -> float:
    """The share of good parts whose pictures have two tones and nothing between: circuits, prints, masks.

    A threshold (Otsu, 1979) then explains _TWO_TONES of the variance of the levels. Looks at a few pictures, unscaled.
    """
    paths = reader.pictures_in(normal_samples_folder(data))
    some = paths[:: max(1, len(paths) // _LOOKED_AT)]
    return float(np.mean([_explained_by_two(reader.read(path)) >= _TWO_TONES for path in some]))


def _explained_by_two(picture: U8) -> float:
    grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
    level, _ = cv2.threshold(grey, 0, 255, cv2.THRESH_OTSU)
    bright = grey > level
    variance, share = float(grey.var()), float(bright.mean())
    if not 0 < share < 1 or variance == 0:
        return 0.0
    apart = float(grey[bright].mean()) - float(grey[~bright].mean())
    return share * (1 - share) * apart**2 / variance


def sample_field(path: Path, picture: U8, preprocess: Preprocess) -> U8:
    """The first of a picture file's `sample_fields`, for a picture of one part."""
    return sample_fields(path, picture, preprocess)[0]


def sample_fields(path: Path, picture: U8, preprocess: Preprocess) -> list[U8]:
    """The network fields of a picture file, uint8 (h, w, 3) BGR, one a part; raises UsageError where there is none."""
    require_region(preprocess, path, picture)
    try:
        return preprocess.fields(picture)
    except PartNotFound as error:
        raise UsageError(f"{path}: {error.message}", fix="remove the picture, or use align mode none") from error


def _test_hashes(data: Path, reader: ImageReader) -> dict[str, Path]:
    """Pixel hash → path of every picture below test/."""
    paths = (path for folder in class_folders(data / "test") for path in reader.pictures_in(folder))
    return {image_sha256(reader.read(path)): path for path in paths}
