"""Logical anomalies: every piece is a valid one, but something is missing, moved, swapped or does not match.

For parts that always lie the same way. Masks say where the picture visibly changed, but for contradictions: where two
kinds of part are mixed, the smaller of the two contradicting sides is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional

from training.defects.logical_components import Anatomy
from training.defects.random_source import RandomSource
from training.defects.scene import Batch, Scene

# by how much (of 0..1) a place must change to be seen, over how many pixels of 128, and how much of the picture must
_VISIBLE, _WINDOW, _SMALLEST = 0.08, 3, 5e-4
_ATTEMPTS = 8


class LogicalDefects:
    """Draw logical anomalies for pictures of parts of this anatomy; all randomness comes from `random`."""

    def __init__(self, anatomy: Anatomy, random: torch.Generator) -> None:
        self.anatomy, self.rng = anatomy, RandomSource(random, "cpu")

    def __call__(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(altered pictures, masks (n, 1, h, w)); pictures are (n, 3, h, w) in 0..1. A picture may stay as it was."""
        altered, masks = pictures.clone(), torch.zeros_like(pictures[:, :1])
        batch = Batch(pictures, self.rng, kinds=self.anatomy.kind_of(pictures))
        operators = list(LOGICAL_OPERATORS.values())
        if self.anatomy.kinds is None:
            operators.remove(LOGICAL_OPERATORS["mismatch"])
        weights = [weight for weight, _ in operators]
        for index in range(len(pictures)):
            scene = Scene(batch, torch.tensor([index], device=pictures.device))
            for _ in range(_ATTEMPTS):
                drawn = operators[self.rng.choose(1, weights)[0]][1](self, scene)
                if drawn is not None and float(drawn[1].mean()) >= _SMALLEST:
                    altered[index], masks[index] = drawn
                    break
        return altered, masks

    def harmless(self, pictures: Tensor) -> Tensor:
        """The same pictures, each with a region of another part of its own kind: still good, for all its seams."""
        result, kinds = pictures.clone(), self.anatomy.kind_of(pictures)
        for index in range(len(pictures)):
            donor = self.one_of(pictures, kinds == kinds[index])
            result[index] = paste(pictures[index], donor, self.region())
        return result

    def one_of(self, pictures: Tensor, chosen: Tensor) -> Tensor:
        """One picture (3, h, w) of those where `chosen` (n,) is true, and there is one."""
        indexes = torch.nonzero(chosen)[:, 0]
        return pictures[int(indexes[self.rng.integers(0, len(indexes) - 1)])]

    def region(self) -> Tensor:
        """(1, h, w) of 0 and 1: a component, a little grown; or a rectangle, where there are no components too."""
        masks, weights = self.anatomy.components.masks, self.anatomy.components.weights
        if len(masks) == 0 or self.rng.number() < 0.2:
            return self._rectangle(masks.shape[-2], masks.shape[-1], masks.device)
        index = self.rng.choose(1, weights.tolist())[0]
        grown = 2 * int(self.rng.integers(1, max(1, 3 * min(masks.shape[-2:]) // 128))) + 1
        return functional.max_pool2d(masks[index].float()[None], grown, 1, grown // 2)[0]

    def _rectangle(self, rows: int, columns: int, device: torch.device) -> Tensor:
        side = min(rows, columns)
        height, width = (max(2, int(side * 0.06 * math.exp(self.rng.number(0, math.log(8))))) for _ in range(2))
        y, x = (int(self.rng.integers(0, whole - part)) for whole, part in ((rows, height), (columns, width)))
        mask = torch.zeros(1, rows, columns, device=device)
        mask[:, y : y + height, x : x + width] = 1
        return mask

    def offset(self, side: int) -> tuple[int, int]:
        """A shift of 6 to 40 % of the side; along one axis more often than not, as labels slip."""
        length, angle = side * self.rng.number(0.06, 0.4), self.rng.number(0, 2 * math.pi)
        if self.rng.number() < 0.6:
            angle = int(self.rng.integers(0, 3)) * math.pi / 2
        return round(length * math.sin(angle)), round(length * math.cos(angle))


# the picture (3, h, w) and its mask (1, h, w); None where the operator found nothing to alter
Altered = tuple[Tensor, Tensor] | None


def paste(picture: Tensor, source: Tensor, region: Tensor) -> Tensor:
    """`source` where `region` is 1, with an edge one pixel soft."""
    soft = functional.avg_pool2d(region[None], 3, 1, 1, count_include_pad=False)[0]
    return picture + (source - picture) * soft


def visibly_changed(before: Tensor, after: Tensor) -> Tensor:
    """(1, h, w) of 0 and 1: where two pictures (3, h, w) differ over a few pixels."""
    difference = (before - after).abs().amax(0, keepdim=True)
    window = max(1, _WINDOW * min(before.shape[-2:]) // 128) | 1
    mean = functional.avg_pool2d(difference[None], window, 1, window // 2, count_include_pad=False)[0]
    return (mean > _VISIBLE).to(before.dtype)


def filled(picture: Tensor, region: Tensor) -> Tensor:
    """The picture (3, h, w) with `region` replaced by what surrounds it: means of ever wider neighbourhoods."""
    known = (1 - region)[None]
    values, weights = [picture[None] * known], [known]
    while max(values[-1].shape[-2:]) > 1 and float(weights[-1].min()) == 0:
        values.append(functional.avg_pool2d(values[-1], 2, ceil_mode=True))
        weights.append(functional.avg_pool2d(weights[-1], 2, ceil_mode=True))
    result = values[-1] / weights[-1].clamp(min=1e-6)
    for value, weight in zip(values[-2::-1], weights[-2::-1], strict=True):
        wider = functional.interpolate(result, value.shape[2:], mode="bilinear", align_corners=False)
        result = torch.where(weight > 0, value / weight.clamp(min=1e-6), wider)
    return result[0]


def _mismatch(defects: LogicalDefects, scene: Scene) -> Altered:
    """A region of a part of another kind, in its own place: a label that does not match."""
    picture, kinds = scene.images[0], scene.batch.kinds
    assert kinds is not None, "the batch of a logical anomaly says of what kind each part is"
    other = kinds != kinds[scene.members.cpu()]
    if not bool(other.any()):
        return None
    donor, region = defects.one_of(scene.batch.images, other), defects.region()
    different = visibly_changed(picture, donor)
    inside, outside = different * region, different * (1 - region)
    smaller = inside if float(inside.sum()) <= float(outside.sum()) else outside
    return paste(picture, donor, region), smaller


def _missing(defects: LogicalDefects, scene: Scene) -> Altered:
    return _with_mask(scene, filled(scene.images[0], defects.region()))


def _moved(defects: LogicalDefects, scene: Scene) -> Altered:
    """A component in a wrong place; the right one shows what surrounds it, or, a third of the time, the same again."""
    picture, region, shift = scene.images[0], defects.region(), defects.offset(scene.side)
    left = picture if defects.rng.number() < 1 / 3 else filled(picture, region)
    return _with_mask(scene, _moved_to(left, picture, region, shift))


def _replaced(defects: LogicalDefects, scene: Scene) -> Altered:
    """The place of a component taken by what lies elsewhere in the picture."""
    picture, shift = scene.images[0], defects.offset(scene.side)
    return _with_mask(scene, paste(picture, picture.roll(shift, (1, 2)), defects.region()))


def _exchanged(defects: LogicalDefects, scene: Scene) -> Altered:
    """Two components of like size, each in the other's place."""
    picture, first, second = scene.images[0], defects.region(), defects.region()
    ratio = float(first.sum() / second.sum())
    if not 0.2 < ratio < 5 or float((first * second).sum()) > 0:
        return None
    (y1, x1), (y2, x2) = _centre(first), _centre(second)
    left = filled(picture, torch.maximum(first, second))
    left = _moved_to(left, picture, first, (y2 - y1, x2 - x1))
    return _with_mask(scene, _moved_to(left, picture, second, (y1 - y2, x1 - x2)))


def _cells(defects: LogicalDefects, scene: Scene) -> Altered:
    """Two cells of a coarse grid exchanged."""
    picture, grid = scene.images[0], int(defects.rng.integers(2, 4))
    height, width = (side // grid for side in scene.size)
    y1, x1, y2, x2 = (int(defects.rng.integers(0, grid - 1)) * cell for cell in (height, width, height, width))
    altered = picture.clone()
    altered[:, y1 : y1 + height, x1 : x1 + width] = picture[:, y2 : y2 + height, x2 : x2 + width]
    altered[:, y2 : y2 + height, x2 : x2 + width] = picture[:, y1 : y1 + height, x1 : x1 + width]
    return _with_mask(scene, altered)


def _stretched(defects: LogicalDefects, scene: Scene) -> Altered:
    """Stretched on one side of a component's edge and squeezed on the other: too long, too short, filled too high."""
    rng = defects.rng
    axis = 0 if rng.number() < 0.7 else 1
    side = scene.size[axis]
    rows = torch.nonzero(defects.region()[0].amax(1 - axis))[:, 0]
    edge = float(rows[0] if rng.number() < 0.5 else rows[-1])
    reach = side * rng.number(0.1, 0.4)
    shift = reach * rng.number(0.25, 0.85) * (1 if rng.number() < 0.5 else -1)
    along = torch.arange(side, device=scene.images.device, dtype=torch.float32)
    bump = (1 - (along - edge - shift).abs() / reach).clamp(min=0)
    centres = (along - shift * bump + 0.5) * 2 / side - 1
    others = torch.arange(scene.size[1 - axis], device=scene.images.device, dtype=torch.float32)
    straight = (others + 0.5) * 2 / scene.size[1 - axis] - 1
    ys, xs = (centres, straight) if axis == 0 else (straight, centres)
    grid = torch.stack(torch.meshgrid(xs, ys, indexing="xy"), -1)[None]
    return _with_mask(scene, functional.grid_sample(scene.images, grid, padding_mode="border", align_corners=False)[0])


def _with_mask(scene: Scene, altered: Tensor) -> Altered:
    return altered, visibly_changed(scene.images[0], altered)


def _moved_to(background: Tensor, picture: Tensor, region: Tensor, shift: tuple[int, int]) -> Tensor:
    """The region of the picture, laid over the background `shift` (y, x) pixels away."""
    return paste(background, picture.roll(shift, (1, 2)), region.roll(shift, (1, 2)))


def _centre(region: Tensor) -> tuple[int, int]:
    places = torch.nonzero(region[0]).float().mean(0)
    return round(float(places[0])), round(float(places[1]))


# how often each is drawn, and what draws it; a part of several kinds is first of all one that may be mixed up
LOGICAL_OPERATORS: dict[str, tuple[float, Callable[[LogicalDefects, Scene], Altered]]] = {
    "mismatch": (0.6, _mismatch),
    "missing": (0.15, _missing),
    "moved": (0.15, _moved),
    "replaced": (0.1, _replaced),
    "exchanged": (0.1, _exchanged),
    "cells": (0.05, _cells),
    "stretched": (0.15, _stretched),
}
