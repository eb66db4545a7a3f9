"""Good parts, and the same with artificial defects, for the commands that quantise and compare."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np

from edge.bundle import ModelBundle
from edge.cli.optional import needs
from edge.datatypes import F32, U8
from edge.errors import PartNotFound, UsageError
from edge.kernels.cpu import planes_from_field
from edge.normals import NormalPart, read_normals
from edge.picture import list_pictures, read_picture

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from export.exhibits import Exhibits
    from export.gate import Specimen

# parts that are looked at: good ones held out, at most; defective ones drawn on them for the gate, and for choices
_HELD_OUT, _ALTERED, _EXHIBITED = 64, 192, 32
_SEED = 20


@dataclass(frozen=True)
class Altered:
    """Network fields with artificial defects, uint8 (n, s, s, 3) BGR, and their masks (n, s, s), none empty.

    origins: which of the good ones each was. source: what drew the defects.
    """

    fields: U8
    masks: NDArray[np.bool_]
    origins: NDArray[np.int64]
    source: str


def fitting_normals(bundle: ModelBundle, data: Path) -> Iterator[NormalPart]:
    """Good parts, checked to hold the bundle's region of interest; raises UsageError naming the picture."""
    for part in read_normals(data):
        _require_region(bundle, part.path, part.picture)
        yield part


def calibration_pictures(bundle: ModelBundle, data: Path, *, trained: bool) -> Iterator[U8]:
    """Good parts that the network was, or was not, trained on; it reconstructs the former too well for a threshold."""
    return (part.picture for part in _parts(bundle, data, trained=trained))


def range_images(bundle: ModelBundle, data: Path, maximum: int) -> list[F32]:
    """Network inputs to collect ranges on: parts trained on, the others where there are none; spread over the folder.

    For a network that says where defects are, half as many with artificial defects come on top: on good parts alone
    its loudest activations never occur, and INT8 would cut them off.
    """
    fields = _fields(bundle, _parts(bundle, data, trained=True))
    if not len(fields):
        fields = _fields(bundle, _parts(bundle, data, trained=False))
    if not len(fields):
        raise UsageError(f"{data} holds no good parts", fix="give --data a folder with pictures of good parts")
    seen = _spread(fields, maximum)
    images = [_image(field) for field in seen]
    if set(bundle.manifest.outputs) != {"recon"}:
        images += [_image(field) for field in draw_defects(seen[::2], None, seen[::2].shape[0]).fields]
    return images


def held_out_images(bundle: ModelBundle, data: Path, maximum: int) -> list[F32]:
    """Network inputs of parts that the network was not trained on."""
    return [_image(field) for field in _fields(bundle, islice(_held_out(bundle, data), maximum))]


def exhibits(bundle: ModelBundle, data: Path) -> Exhibits:
    """Held-out parts, plain and with artificial defects, as the network sees them."""
    held_out = list(islice(_held_out(bundle, data), _EXHIBITED))
    fields = _fields(bundle, held_out)
    weight = None if not held_out else bundle.preprocess.weight(*held_out[0].picture.shape[:2])
    altered = draw_defects(fields, weight, _EXHIBITED)
    made: Exhibits = needs("export.exhibits", "cpu").Exhibits(
        normals=[_image(field) for field in fields],
        altered=[_image(field) for field in altered.fields],
        masks=list(altered.masks),
        weight=weight,
        source=altered.source,
    )
    return made


class Specimens:
    """Parts to replay, made anew each time they are asked for: frames of a line may be too large to keep.

    Good ones are held out; defective ones come from the folder `ng`, or artificial defects are drawn on good ones.
    """

    def __init__(self, bundle: ModelBundle, data: Path, ng: Path | None) -> None:
        self._bundle = bundle
        self._parts = [replace(part, picture=part.picture[:0]) for part in islice(_held_out(bundle, data), _HELD_OUT)]
        if not self._parts:
            raise UsageError(
                f"{data}: no good parts that the network has not seen",
                fix="add pictures of good parts it was not trained on",
            )
        self._ng = None if ng is None else list_pictures(ng)
        if ng is None:
            frames = [read_picture(part.path) for part in self._parts]
            weight = bundle.preprocess.weight(*frames[0].shape[:2])
            fields = np.stack([bundle.preprocess.field(frame) for frame in frames])
            self._altered = draw_defects(fields, weight, _ALTERED)
        self.defects = f"parts of {ng}" if ng is not None else self._altered.source

    def __iter__(self) -> Iterator[Specimen]:
        specimen = needs("export.gate", "cpu").Specimen
        for part in self._parts:
            yield specimen(part.path.name, read_picture(part.path), False)
        if self._ng is not None:
            for path in self._ng:
                frame = read_picture(path)
                _require_region(self._bundle, path, frame)
                yield specimen(path.name, frame, True)
            return
        altered = self._altered
        for number, (field, mask, origin) in enumerate(
            zip(altered.fields, altered.masks, altered.origins, strict=True)
        ):
            path = self._parts[int(origin)].path
            frame = _pasted(self._bundle, read_picture(path), field, mask)
            yield specimen(f"{path.name}, artificial defect {number + 1}", frame, True, mask)


def draw_defects(fields: U8, weight: F32 | None, count: int) -> Altered:
    """At least `count` defects, each field in turn as often as another; repeatable.

    With torch those of the `surface` preset (training/defects), without it foreign patches.
    """
    origins = np.tile(np.arange(len(fields)), max(1, -(-count // max(1, len(fields)))))
    if not len(fields):
        return Altered(fields, np.zeros(fields.shape[:3], np.bool_), origins, "no parts")
    if find_spec("torch") is None:
        drawn, masks = _foreign_patches(fields[origins])
        source = "artificial defects (foreign patches)"
    else:
        drawn, masks = needs("training.defects.on_fields", "train").defective_fields(fields[origins], weight, _SEED)
        source = "artificial defects (surface)"
    if weight is not None:
        masks &= weight > 0
    there = masks.any((1, 2))
    return Altered(drawn[there], masks[there], origins[there], source)


def _foreign_patches(fields: U8) -> tuple[U8, NDArray[np.bool_]]:
    images = [_image(field) for field in fields]
    patched = needs("calibration.ranges", "cpu").with_foreign_patches(images, _SEED)[len(images) :]
    planes = ((np.stack(patched) + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
    drawn = np.ascontiguousarray(planes.transpose(0, 2, 3, 1)[..., ::-1])
    masks: NDArray[np.bool_] = np.abs(drawn.astype(np.int16) - fields.astype(np.int16)).max(3) > 12
    return drawn, masks


def _pasted(bundle: ModelBundle, frame: U8, field: U8, mask: NDArray[np.bool_]) -> U8:
    """The frame with what was altered in its network field."""
    view = bundle.preprocess.field_of_view(*frame.shape[:2])
    assert view is not None, "the parts were checked"
    size = (view.width, view.height)
    where = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    result: U8 = frame.copy()
    span = result[view.y : view.y + view.height, view.x : view.x + view.width]
    # the field shows the part in its place
    span[:] = bundle.preprocess.placed(frame).view
    span[where] = cv2.resize(field, size, interpolation=cv2.INTER_LINEAR)[where]
    return result


def _held_out(bundle: ModelBundle, data: Path) -> Iterator[NormalPart]:
    return _parts(bundle, data, trained=False)


def _parts(bundle: ModelBundle, data: Path, *, trained: bool) -> Iterator[NormalPart]:
    trained_on = set(bundle.manifest.trained_on)
    return (part for part in fitting_normals(bundle, data) if (part.sha256 in trained_on) == trained)


def _require_region(bundle: ModelBundle, path: Path, picture: U8) -> None:
    height, width = picture.shape[:2]
    if bundle.preprocess.field_of_view(height, width) is None:
        raise UsageError(
            f"{path} is {width}x{height} px; the region {bundle.preprocess.rectangle} does not lie inside",
            fix="change roi.rectangle, or remove the picture",
        )
    try:
        bundle.preprocess.placed(picture)
    except PartNotFound as error:
        raise UsageError(
            f"{path}: {error.message}", fix="remove the picture, or calibrate with `align` again"
        ) from error


def _fields(bundle: ModelBundle, parts: Iterable[NormalPart]) -> U8:
    size = bundle.manifest.input.size
    fields = [bundle.preprocess.field(part.picture) for part in parts]
    return np.stack(fields) if fields else np.zeros((0, size, size, 3), np.uint8)


def _spread(fields: U8, maximum: int) -> U8:
    chosen = np.unique(np.linspace(0, len(fields) - 1, min(maximum, len(fields))).round().astype(int))
    return np.asarray(fields[chosen], np.uint8)


def _image(field: U8) -> F32:
    return planes_from_field(field, np.empty((3, *field.shape[:2]), np.float32))
