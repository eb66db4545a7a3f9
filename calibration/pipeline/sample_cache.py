"""Pictures of good parts as one bundle sees them: each is decoded once, and its network field kept in a file."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from calibration.samples.tiles import Fields, cut_tiles
from edge.bundles.bundle import ModelBundle
from edge.capture.images.image_reader import PLAIN, ImageReader
from edge.core.datatypes import F32, U8
from edge.core.errors import PartNotFound, UsageError
from edge.core.progress import working
from edge.monitoring.drift.measures import PictureMeasures, measure
from edge.monitoring.drift.reference import DRAWN_ON, reference_from_measures
from edge.preprocessing.normal_samples import part_hashes, read_normal_samples, require_region
from edge.preprocessing.tiling import Tile, Tiling, tiling_of

# fields up to this total stay in memory, more go to the temporary directory
_IN_MEMORY_BYTES = 32_000_000
# multiples of it, modulo 1, lie evenly however many are taken
_GOLDEN = 0.6180339887498949


class FieldFile:
    """Network fields, uint8 (height, width, 3) BGR, in a temporary file that ends with this object."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self._shape = (*shape, 3)
        self._bytes = shape[0] * shape[1] * 3
        self._count = 0
        # kept open as long as the object lives, and gone with the process however it ends
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES)  # noqa: SIM115

    def __len__(self) -> int:
        return self._count

    def append(self, field: U8) -> int:
        """Keep a field; its number."""
        self._file.seek(self._count * self._bytes)
        self._file.write(np.ascontiguousarray(field).tobytes())
        self._count += 1
        return self._count - 1

    def __getitem__(self, number: int) -> U8:
        self._file.seek(number * self._bytes)
        return np.frombuffer(self._file.read(self._bytes), np.uint8).reshape(self._shape)


@dataclass(frozen=True)
class Part:
    """A part in a picture; field: its number in the file of fields. sha256: normal_samples.part_hashes."""

    path: Path
    sha256: str
    field: int


@dataclass(frozen=True, eq=False)
class Shown:
    """Network inputs uint8 (n, h, w, 3) BGR; part_of: (n,), which of some parts each shows; tiles: where in its field.

    tiles: None where they are whole fields.
    """

    fields: U8
    part_of: NDArray[np.int64]
    tiles: tuple[Tile, ...] | None = None


class _LookedUp:
    """Fields of parts, one at a time."""

    def __init__(self, samples: NormalSamples, parts: Sequence[Part]) -> None:
        self._samples, self._parts = samples, parts

    @property
    def shape(self) -> tuple[int, ...]:
        return len(self._parts), *self._samples.bundle.preprocess.shape, 3

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, number: int) -> U8:
        return next(self._samples.fields([self._parts[number]]))

    def __iter__(self) -> Iterator[U8]:
        return self._samples.fields(self._parts)


class NormalSamples:
    """Parts to quantise, calibrate and compare with; held_out ones are those that the network was not trained on.

    weight: 1 where the map is scored, of the field's shape; None: everywhere. reader: what they were read with. check:
    called for every picture, to end the work when it has become useless.
    """

    def __init__(
        self, bundle: ModelBundle, reader: ImageReader = PLAIN, check: Callable[[], None] = lambda: None
    ) -> None:
        self.bundle = bundle
        self.reader = reader
        self._check = check
        self.held_out: list[Part] = []
        self.trained: list[Part] = []
        self.weight: F32 | None = None
        self._trained_on = set(bundle.manifest.trained_on)
        self._measures: dict[Path, PictureMeasures] = {}
        self._fields = FieldFile(bundle.preprocess.shape)

    def add(self, path: Path, picture: U8, sha256: str, fields: Sequence[U8] | None = None) -> None:
        """fields: the picture's network fields, where they have been made already.

        Raises UsageError when the region of interest does not lie inside the picture, or the part is not found in it.
        """
        self._check()
        preprocess = self.bundle.preprocess
        require_region(preprocess, path, picture)
        try:
            fields = preprocess.fields(picture) if fields is None else fields
        except PartNotFound as error:
            fix = "remove the picture, or calibrate with `align` again"
            raise UsageError(f"{path}: {error.message}", fix=fix) from error
        if not len(self._fields):
            self.weight = preprocess.weight(*picture.shape[:2])
        view = preprocess.field_of_view(*picture.shape[:2])
        assert view is not None, "required above"
        self._measures[path] = measure(picture, view)
        for field, name in zip(fields, part_hashes(sha256, len(fields)), strict=True):
            part = Part(path, name, self._fields.append(field))
            (self.trained if name in self._trained_on else self.held_out).append(part)

    @property
    def all(self) -> list[Part]:
        """In the order in which they were read, whatever training saw of them."""
        return sorted((*self.held_out, *self.trained), key=lambda part: part.field)

    def keep(self, paths: Iterable[Path]) -> None:
        """Forget all other parts."""
        wanted = set(paths)
        self.held_out = [part for part in self.held_out if part.path in wanted]
        self.trained = [part for part in self.trained if part.path in wanted]

    def leave_out(self, hashes: Iterable[str]) -> None:
        """Forget these parts, by their pixel hashes."""
        unwanted = set(hashes)
        self.held_out = [part for part in self.held_out if part.sha256 not in unwanted]
        self.trained = [part for part in self.trained if part.sha256 not in unwanted]

    def drift_file(self) -> dict[str, tuple[str, bytes]]:
        """What runs are compared with, as a bundle's file; nothing when the parts are too few.

        Pictures measure the same whether the network was trained on them or not, so that all parts count.
        """
        paths = [part.path for part in (*self.held_out, *self.trained)]
        pictures = [self.reader.read(path) for path in paths[:DRAWN_ON]]
        measures = [self._measures[path] for path in paths]
        reference = reference_from_measures(measures, pictures, self.bundle.preprocess)
        return {} if reference is None else {"drift": ("drift.npz", reference.to_bytes())}

    def fields(self, parts: Iterable[Part]) -> Iterator[U8]:
        """Their network fields, one at a time; not to be changed."""
        for part in parts:
            self._check()
            yield self._fields[part.field]

    def looked_up(self, parts: Sequence[Part]) -> Fields:
        """The same, each when it is asked for: large fields are not kept in memory."""
        return _LookedUp(self, parts)

    def shown(self, parts: Sequence[Part], most: int) -> Shown:
        """What the network sees of them: their fields, or about `most` tiles in all, as many of each."""
        tiling = self.tiling
        if tiling is None:
            return Shown(self.stacked(parts), np.arange(len(parts)))
        cut = cut_tiles(self.looked_up(parts), tiling, most)
        return Shown(cut.fields, cut.part_of, cut.tiles)

    @property
    def tiling(self) -> Tiling | None:
        return tiling_of(self.bundle.manifest)

    def stacked(self, parts: Sequence[Part]) -> U8:
        """The same as one array (n, h, w, 3)."""
        shape = self.bundle.preprocess.shape
        return np.stack(list(self.fields(parts))) if parts else np.zeros((0, *shape, 3), np.uint8)


def normal_samples(
    bundle: ModelBundle,
    data: Path,
    most_held_out: int | None = None,
    reader: ImageReader = PLAIN,
    check: Callable[[], None] = lambda: None,
) -> NormalSamples:
    """The pictures of a folder, in natural order; reading ends when most_held_out have been found.

    Raises UsageError naming a picture that cannot be read, or that does not hold the bundle's region of interest, and
    when the line would judge less than half of them.
    """
    parts = NormalSamples(bundle, reader, check)
    with working(f"reading the pictures of good parts in {data}"):
        for part in read_normal_samples(data, reader):
            parts.add(part.path, part.picture, part.sha256)
            if len(parts.held_out) == most_held_out:
                break
    return parts


def spread(parts: Sequence[Part], fewest: int) -> list[Part]:
    """All of them, in an order whose first `fewest` or more lie evenly among all; few enough stay as they are."""
    if len(parts) <= fewest:
        return list(parts)
    return [parts[int(index)] for index in np.argsort((np.arange(len(parts)) * _GOLDEN) % 1, kind="stable")]
