"""Good parts, and the same with artificial defects, for the commands that quantise and compare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from calibration.pipeline.sample_cache import NormalSamples, Part, Shown, spread
from calibration.ranges import with_foreign_patches
from calibration.samples.tiles import Fields, Masks, PatchedFields, PatchedMasks, Patches
from edge.backends.base import Backend
from edge.bundles.bundle import ModelBundle
from edge.capture.images.image_reader import ImageReader, required
from edge.core.datatypes import F32, U8
from edge.core.errors import PartNotFound, UsageError
from edge.core.latency import StageClock
from edge.kernels.cpu import planes_from_field
from edge.preprocessing.normal_samples import require_region
from edge.preprocessing.regions import HIGHEST_SCORE
from export.evaluation_set import EvaluationSet
from export.paired_scores import GateSample

# parts that are looked at: good ones held out, at most; defective ones drawn on them for the gate, and for choices
HELD_OUT, ALTERED, _EXHIBITED = 64, 192, 32
_SEED = 20
# of fields in tiles: pixels inspected of good ones, and of defective ones, by each network that is compared
_MOST_INSPECTED, _FEWEST_IN_TILES = 100_000_000, 16


@dataclass(frozen=True)
class Altered:
    """Network fields with artificial defects, uint8 (n, h, w, 3) BGR, and their masks (n, h, w), none empty.

    origins: which of the good ones each was. source: what drew the defects.
    """

    fields: U8
    masks: NDArray[np.bool_]
    origins: NDArray[np.int64]
    source: str


def range_images(parts: NormalSamples, maximum: int) -> list[F32]:
    """Network inputs to collect ranges on: parts trained on, the others where there are none; spread over all.

    For a network that says where defects are, half as many with artificial defects come on top: on good parts alone
    its loudest activations never occur, and INT8 would cut them off.
    """
    known = parts.trained or parts.held_out
    if not known:
        raise UsageError("there are no good parts to take ranges on", fix="give pictures of good parts")
    chosen = np.unique(np.linspace(0, len(known) - 1, min(maximum, len(known))).round().astype(int))
    seen = parts.shown([known[int(index)] for index in chosen], maximum).fields
    images = [_image(field) for field in seen]
    if set(parts.bundle.manifest.outputs) != {"recon"}:
        images += [_image(field) for field in draw_defects(seen[::2], None, seen[::2].shape[0]).fields]
    return images


def held_out_images(parts: NormalSamples, maximum: int) -> list[F32]:
    """Network inputs of parts that the network was not trained on."""
    return [_image(field) for field in parts.shown(parts.held_out[:maximum], maximum).fields]


def evaluation_set(parts: NormalSamples, among: Callable[[Part], bool] = lambda part: True) -> EvaluationSet:
    """Held-out parts, plain and with artificial defects, as the network sees them; among: those that may be taken.

    Of fields in tiles, some tiles; what of them lies outside the region counts, too.
    """
    chosen = [part for part in parts.held_out if among(part)]
    fields = parts.shown(spread(chosen, _EXHIBITED)[:_EXHIBITED], _EXHIBITED).fields
    weight = parts.weight if parts.tiling is None else None
    altered = draw_defects(fields, weight, _EXHIBITED)
    return EvaluationSet(
        normal_samples=[_image(field) for field in fields],
        altered=[_image(field) for field in altered.fields],
        masks=list(altered.masks),
        weight=weight,
        source=altered.source,
    )


class GateSamples:
    """Parts to replay, made anew each time they are asked for: frames of a line may be too large to keep.

    Good ones are held out, at most `held_out`; defective ones come from the folder `ng`, or about `altered` artificial
    defects are drawn on good ones. Of fields in tiles, which take longer, there are fewer of both.
    """

    def __init__(self, parts: NormalSamples, ng: Path | None, held_out: int = HELD_OUT, altered: int = ALTERED) -> None:
        self._bundle, self._tiling = parts.bundle, parts.tiling
        if self._tiling is not None:
            few = max(_FEWEST_IN_TILES, _MOST_INSPECTED // (self._tiling.field[0] * self._tiling.field[1]))
            held_out, altered = min(held_out, few), min(altered, few)
        self._parts = spread(parts.held_out, held_out)[:held_out]
        if not self._parts:
            raise UsageError(
                "there are no good parts that the network has not seen",
                fix="add pictures of good parts it was not trained on",
            )
        self._reader = parts.reader
        self._ng = None if ng is None else judged_pictures(ng, self._reader)
        if ng is None:
            shown = parts.shown(self._parts, max(altered, len(self._parts)))
            weight, count = (parts.weight, altered) if shown.tiles is None else (None, len(shown.fields))
            self._altered = draw_defects(shown.fields, weight, count)
            self._drawn_on = shown.part_of[self._altered.origins]
            self._fields, self._masks = self._in_whole_fields(parts, shown)
        self.defects = f"parts of {ng}" if ng is not None else self._altered.source

    def __iter__(self) -> Iterator[GateSample]:
        for part in self._parts:
            yield GateSample(part.path.name, self._reader.read(part.path), False, part=part.sha256)
        if self._ng is not None:
            for path in self._ng:
                frame = self._reader.read(path)
                require_region(self._bundle.preprocess, path, frame)
                yield GateSample(path.name, frame, True)
            return
        good = len(self._fields) - len(self._drawn_on)
        for number, origin in enumerate(self._drawn_on):
            part, mask = self._parts[int(origin)], self._masks[good + number]
            frame = _pasted(self._bundle, self._reader.read(part.path), self._fields[good + number], mask)
            yield GateSample(f"{part.path.name}, artificial defect {number + 1}", frame, True, mask, part.sha256)

    def _in_whole_fields(self, parts: NormalSamples, shown: Shown) -> tuple[Fields, Masks]:
        """What was altered, as it lies in fields; of tiles, behind the good fields that they are cut from."""
        altered = self._altered
        if self._tiling is None or shown.tiles is None:
            return altered.fields, altered.masks
        tiles = [shown.tiles[origin] for origin in altered.origins]
        patches = Patches(altered.fields, altered.masks, self._drawn_on, tiles)
        good = parts.looked_up(self._parts)
        return PatchedFields(good, patches, self._tiling), PatchedMasks(len(good), patches, self._tiling)


def judged_pictures(folder: Path, reader: ImageReader) -> list[Path]:
    """The pictures of defective parts that the line would judge; how many it would not is told by the reader."""
    looks = [(path, reader.look(path)) for path in reader.pictures_in(folder)]
    for path, looked in looks:
        required(path, looked)
    faults = [looked.fault for _, looked in looks if looked.fault is not None]
    if faults:
        reader.emit(f"{folder}: {len(faults)} of {len(looks)} left out, INVALID on the line: {faults[0].detail}")
    return [path for path, looked in looks if looked.fault is None]


def ng_scores(backend: Backend, parts: NormalSamples, folder: Path | None) -> F32:
    """The image scores of known defective parts; none without a folder."""
    scores = []
    for path in [] if folder is None else judged_pictures(folder, parts.reader):
        frame = parts.reader.read(path)
        require_region(parts.bundle.preprocess, path, frame)
        try:
            scores.append(backend.score(frame, StageClock(0)).score)
        except PartNotFound:
            # INVALID on the line, and never passed: no threshold changes that
            scores.append(HIGHEST_SCORE)
    return np.array(scores, np.float32)


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
        from training.defects.defective_pictures import defective_fields

        drawn, masks = defective_fields(fields[origins], weight, _SEED)
        source = "artificial defects (surface)"
    if weight is not None:
        masks &= weight > 0
    there = masks.any((1, 2))
    return Altered(drawn[there], masks[there], origins[there], source)


def _foreign_patches(fields: U8) -> tuple[U8, NDArray[np.bool_]]:
    images = [_image(field) for field in fields]
    patched = with_foreign_patches(images, _SEED)[len(images) :]
    planes = ((np.stack(patched) + 1) * 127.5).round().clip(0, 255).astype(np.uint8)
    drawn = np.ascontiguousarray(planes.transpose(0, 2, 3, 1)[..., ::-1])
    masks: NDArray[np.bool_] = np.abs(drawn.astype(np.int16) - fields.astype(np.int16)).max(3) > 12
    return drawn, masks


def _pasted(bundle: ModelBundle, frame: U8, field: U8, mask: NDArray[np.bool_]) -> U8:
    """The frame with what was altered in its network field, where the field lies in it."""
    matrix, size = bundle.preprocess.field_to_frame(frame), frame.shape[1::-1]
    where = cv2.warpAffine(mask.astype(np.uint8), matrix, size, flags=cv2.INTER_NEAREST) > 0
    result: U8 = frame.copy()
    result[where] = cv2.warpAffine(field, matrix, size, flags=cv2.INTER_LINEAR)[where]
    return result


def _image(field: U8) -> F32:
    return planes_from_field(field, np.empty((3, *field.shape[:2]), np.float32))
