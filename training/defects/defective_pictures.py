"""Artificial defects on pictures of good parts, for those who quantise and compare: NumPy in, NumPy out."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8
from edge.preprocessing.preprocess import Preprocess
from training.data.augmentation import crop_places, cut
from training.defects.generator import AT_ONCE, DefectGenerator
from training.defects.presets import PRESETS

Mask = NDArray[np.bool_]

# defects are drawn at this side, then carried over to the picture: all detectors see the same, at their own size
_DRAWN_SIDE = 256
_BATCH = 16
# share of the field from which on a defect that judges is a large one
_LARGE = 3e-3


@dataclass(frozen=True)
class JudgingDefects:
    """Fields uint8 (m, h, w, 3) BGR, each with one defect; masks (m, h, w), none empty.

    origins: which of the good fields each was. kinds: number of each defect's kind, in the order of `names`: its family
    and its size.
    """

    fields: U8
    masks: Mask
    origins: NDArray[np.int64]
    kinds: NDArray[np.int64]
    names: tuple[str, ...]


def judging_defects(
    fields: U8, weight: F32 | None, count: int, seed: int, smallest: float | None = None, crop: int | None = None
) -> JudgingDefects:
    """About `count` defects of the families that training never draws, on the good fields (n, h, w, 3) in turn.

    As many small as large ones of each family: left to themselves small ones are most, and would decide alone. weight:
    (h, w), above zero where defects may lie. smallest: share of the field a defect must change; None: of the preset.
    crop: defects are drawn in squares of this side, as large as training saw them; None: anywhere. Fewer come back
    where no fitting defect was found. The same seed gives the same defects.
    """
    judging = PRESETS["judging"]
    share = 1.0 if crop is None else crop * crop / (fields.shape[1] * fields.shape[2])
    least, most = (judging.smallest if smallest is None else smallest / share), judging.largest
    between = _LARGE / share
    sizes = (
        {"small": (least, between), "large": (max(least, between), most)} if least < between else {"": (least, most)}
    )
    region = None if weight is None else torch.from_numpy(weight)[None, None]
    names, drawn = [], []
    presets = [
        (f"{size} {family}".strip(), replace(judging.only(family), clean_share=0.0, smallest=low, largest=high))
        for family in sorted(judging.families)
        for size, (low, high) in sizes.items()
    ]
    each = max(1, count // len(presets))
    for number, (name, preset) in enumerate(presets):
        origins = (np.arange(each) + number * each) % len(fields)
        altered, places = _altered(DefectGenerator(preset, seed + number), fields[origins], region, crop)
        there = places.any((1, 2))
        drawn.append((altered[there], places[there], origins[there], np.full(int(there.sum()), number)))
        names.append(name)
    pictures, masks, sources, kinds = (np.concatenate(parts) for parts in zip(*drawn, strict=True))
    return JudgingDefects(pictures, masks, sources, kinds, tuple(names))


def draw_in_squares(
    generator: DefectGenerator, plain: torch.Tensor, region: torch.Tensor | None, crop: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """Each picture (n, 3, h, w) with a defect in a square of `crop` pixels of it, and masks (n, 1, h, w)."""
    if plain.shape[2:] == (crop, crop):
        return generator(plain, region)
    places = crop_places(plain, crop, generator.random)
    pictures, masks = plain.clone(), torch.zeros_like(plain[:, :1])
    for number, (place, *altered) in enumerate(zip(places, *generator(cut(plain, places)), strict=True)):
        pictures[number][place], masks[number][place] = altered
    return pictures, masks


def defective_fields(fields: U8, weight: F32 | None, seed: int) -> tuple[U8, Mask]:
    """Each field, uint8 (n, s, s, 3) BGR, with one defect of the `surface` preset, and masks (n, s, s).

    weight: (s, s), above zero where defects may lie. A mask is empty where no fitting defect was found.
    """
    generator = _generator("surface", seed)
    region = None if weight is None else torch.from_numpy(weight)[None, None]
    altered, masks = np.empty_like(fields), np.empty(fields.shape[:3], np.bool_)
    # floats of a few pictures at a time: those of all would be the largest thing in a recalibration
    for some in np.array_split(np.arange(len(fields)), max(1, -(-len(fields) // AT_ONCE))):
        altered[some], masks[some] = _altered(generator, fields[some], region)
    return altered, masks


def defective_pictures(pictures: Sequence[U8], preprocess: Preprocess, count: int, seed: int) -> Iterator[U8]:
    """`count` pictures, uint8 (H, W, 3) BGR, each with one defect inside the region of interest; taken in turn."""
    preprocess = Preprocess(_DRAWN_SIDE, _DRAWN_SIDE, preprocess.rectangle, preprocess.polygon)
    generator = _generator("reconstruction", seed)
    for start in range(0, count, _BATCH):
        sources = [pictures[index % len(pictures)] for index in range(start, min(start + _BATCH, count))]
        fields = np.stack([preprocess.field(picture) for picture in sources])
        for picture, field, mask in zip(sources, *_altered(generator, fields), strict=True):
            yield _carried_over(picture, field, mask, preprocess)


def _generator(preset: str, seed: int) -> DefectGenerator:
    return DefectGenerator(replace(PRESETS[preset], clean_share=0.0), seed)


def _altered(
    generator: DefectGenerator, fields: U8, region: torch.Tensor | None = None, crop: int | None = None
) -> tuple[U8, Mask]:
    """The fields with defects, in squares of `crop` pixels or anywhere, rounded to whole levels; and where they are."""
    plain = torch.from_numpy(np.ascontiguousarray(fields[..., ::-1].transpose(0, 3, 1, 2))).float() / 255
    pictures, masks = generator(plain, region) if crop is None else draw_in_squares(generator, plain, region, crop)
    levels = (pictures.numpy() * 255).round().astype(np.uint8)
    return levels.transpose(0, 2, 3, 1)[..., ::-1], masks.numpy()[:, 0] > 0


def _carried_over(picture: U8, field: U8, mask: Mask, preprocess: Preprocess) -> U8:
    """The picture with the field's pixels where the mask is; elsewhere it keeps its own, unscaled."""
    view = preprocess.field_of_view(*picture.shape[:2])
    assert view is not None, "the field was taken from this picture"
    size = (view.width, view.height)
    where = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
    result: U8 = picture.copy()
    region = result[view.y : view.y + view.height, view.x : view.x + view.width]
    region[where] = cv2.resize(np.ascontiguousarray(field), size, interpolation=cv2.INTER_LINEAR)[where]
    return result
