"""Logical anomalies: every piece is a valid one, but something is missing, moved, swapped or does not match.

For parts that always lie the same way. Masks say where the picture visibly changed, but for contradictions: where two
kinds of part are mixed, the smaller of the two contradicting sides is wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.defects.logical_components import Anatomy

# by how much (of 0..1) a place must change to be seen, over how many pixels of 128, and how much of the picture must
_VISIBLE, _WINDOW, _SMALLEST = 0.08, 3, 5e-4
_ATTEMPTS = 8


@dataclass(frozen=True)
class Scene:
    """One picture (3, s, s) to be altered, all pictures of the batch, and their kinds (n,)."""

    picture: Tensor
    index: int
    batch: Tensor
    kinds: Tensor


class LogicalDefects:
    """Draw logical anomalies for pictures of parts of this anatomy; all randomness comes from `random`."""

    def __init__(self, anatomy: Anatomy, random: torch.Generator) -> None:
        self.anatomy, self.random = anatomy, random

    def __call__(self, pictures: Tensor) -> tuple[Tensor, Tensor]:
        """(altered pictures, masks (n, 1, s, s)); pictures are (n, 3, s, s) in 0..1. A picture may stay as it was."""
        altered, masks = pictures.clone(), torch.zeros_like(pictures[:, :1])
        kinds = self.anatomy.kind_of(pictures)
        for index in range(len(pictures)):
            scene = Scene(pictures[index], index, pictures, kinds)
            for _ in range(_ATTEMPTS):
                drawn = OPERATORS[self._choose()](self, scene)
                if drawn is not None and float(drawn[1].mean()) >= _SMALLEST:
                    altered[index], masks[index] = drawn
                    break
        return altered, masks

    def harmless(self, pictures: Tensor) -> Tensor:
        """The same pictures, each with a region of another part of its own kind: still good, for all its seams."""
        result, kinds = pictures.clone(), self.anatomy.kind_of(pictures)
        for index in range(len(pictures)):
            donors = torch.nonzero(kinds == kinds[index])[:, 0]
            donor = pictures[int(donors[self.integer(0, len(donors) - 1)])]
            result[index] = paste(pictures[index], donor, self.region())
        return result

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.random))

    def integer(self, low: int, high: int) -> int:
        """Uniform integer in low..high, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.random))

    def region(self) -> Tensor:
        """(1, s, s) of 0 and 1: a component, a little grown; or a rectangle, where there are no components too."""
        masks = self.anatomy.components.masks
        side = masks.shape[-1]
        if len(masks) == 0 or self.uniform() < 0.2:
            return self._rectangle(side, masks.device)
        index = int(torch.multinomial(self.anatomy.components.weights, 1, generator=self.random))
        grown = 2 * self.integer(1, max(1, 3 * side // 128)) + 1
        return functional.max_pool2d(masks[index].float()[None], grown, 1, grown // 2)[0]

    def _rectangle(self, side: int, device: torch.device) -> Tensor:
        height, width = (max(2, int(side * 0.06 * math.exp(self.uniform(0, math.log(8))))) for _ in range(2))
        y, x = self.integer(0, side - height), self.integer(0, side - width)
        mask = torch.zeros(1, side, side, device=device)
        mask[:, y : y + height, x : x + width] = 1
        return mask

    def offset(self, side: int) -> tuple[int, int]:
        """A shift of 6 to 40 % of the side; along one axis more often than not, as labels slip."""
        length, angle = side * self.uniform(0.06, 0.4), self.uniform(0, 2 * math.pi)
        if self.uniform() < 0.6:
            angle = self.integer(0, 3) * math.pi / 2
        return round(length * math.sin(angle)), round(length * math.cos(angle))

    def seen(self, before: Tensor, after: Tensor) -> Tensor:
        """(1, s, s) of 0 and 1: where two pictures (3, s, s) differ over a few pixels."""
        difference = (before - after).abs().amax(0, keepdim=True)
        window = max(1, _WINDOW * before.shape[-1] // 128) | 1
        mean = functional.avg_pool2d(difference[None], window, 1, window // 2, count_include_pad=False)[0]
        return (mean > _VISIBLE).to(before.dtype)

    def _choose(self) -> str:
        weights = dict(WEIGHTS)
        if self.anatomy.kinds is None:
            del weights["mismatch"]
        chosen = torch.multinomial(torch.tensor(list(weights.values())), 1, generator=self.random)
        return list(weights)[int(chosen)]


Altered = tuple[Tensor, Tensor]


def paste(picture: Tensor, source: Tensor, region: Tensor) -> Tensor:
    """`source` where `region` is 1, with an edge one pixel soft."""
    soft = functional.avg_pool2d(region[None], 3, 1, 1, count_include_pad=False)[0]
    return picture + (source - picture) * soft


def filled(picture: Tensor, region: Tensor) -> Tensor:
    """The picture (3, s, s) with `region` replaced by what surrounds it: means of ever wider neighbourhoods."""
    known = (1 - region)[None]
    values, weights = [picture[None] * known], [known]
    while values[-1].shape[-1] > 1 and float(weights[-1].min()) == 0:
        values.append(functional.avg_pool2d(values[-1], 2, ceil_mode=True))
        weights.append(functional.avg_pool2d(weights[-1], 2, ceil_mode=True))
    result = values[-1] / weights[-1].clamp(min=1e-6)
    for value, weight in zip(values[-2::-1], weights[-2::-1], strict=True):
        wider = functional.interpolate(result, value.shape[2:], mode="bilinear", align_corners=False)
        result = torch.where(weight > 0, value / weight.clamp(min=1e-6), wider)
    return result[0]


def _mismatch(defects: LogicalDefects, scene: Scene) -> Altered | None:
    """A region of a part of another kind, in its own place: a label that does not match."""
    others = torch.nonzero(scene.kinds != scene.kinds[scene.index])[:, 0]
    if len(others) == 0:
        return None
    donor, region = scene.batch[int(others[defects.integer(0, len(others) - 1)])], defects.region()
    different = defects.seen(scene.picture, donor)
    inside, outside = different * region, different * (1 - region)
    smaller = inside if float(inside.sum()) <= float(outside.sum()) else outside
    return paste(scene.picture, donor, region), smaller


def _missing(defects: LogicalDefects, scene: Scene) -> Altered | None:
    altered = filled(scene.picture, defects.region())
    return altered, defects.seen(scene.picture, altered)


def _moved(defects: LogicalDefects, scene: Scene) -> Altered | None:
    """A component in a wrong place; the right one shows what surrounds it, or, a third of the time, the same again."""
    region, shift = defects.region(), defects.offset(scene.picture.shape[-1])
    left = scene.picture if defects.uniform() < 1 / 3 else filled(scene.picture, region)
    altered = paste(left, scene.picture.roll(shift, (1, 2)), region.roll(shift, (1, 2)))
    return altered, defects.seen(scene.picture, altered)


def _replaced(defects: LogicalDefects, scene: Scene) -> Altered | None:
    """The place of a component taken by what lies elsewhere in the picture."""
    shift = defects.offset(scene.picture.shape[-1])
    altered = paste(scene.picture, scene.picture.roll(shift, (1, 2)), defects.region())
    return altered, defects.seen(scene.picture, altered)


def _exchanged(defects: LogicalDefects, scene: Scene) -> Altered | None:
    """Two components of like size, each in the other's place."""
    first, second = defects.region(), defects.region()
    ratio = float(first.sum() / second.sum())
    if not 0.2 < ratio < 5 or float((first * second).sum()) > 0:
        return None
    (y1, x1), (y2, x2) = _centre(first), _centre(second)
    shift = (y2 - y1, x2 - x1)
    back = (-shift[0], -shift[1])
    left = filled(scene.picture, torch.maximum(first, second))
    left = paste(left, scene.picture.roll(shift, (1, 2)), first.roll(shift, (1, 2)))
    altered = paste(left, scene.picture.roll(back, (1, 2)), second.roll(back, (1, 2)))
    return altered, defects.seen(scene.picture, altered)


def _cells(defects: LogicalDefects, scene: Scene) -> Altered | None:
    """Two cells of a coarse grid exchanged."""
    grid = defects.integer(2, 4)
    cell = scene.picture.shape[-1] // grid
    (y1, x1), (y2, x2) = ((defects.integer(0, grid - 1) * cell, defects.integer(0, grid - 1) * cell) for _ in range(2))
    altered = scene.picture.clone()
    altered[:, y1 : y1 + cell, x1 : x1 + cell] = scene.picture[:, y2 : y2 + cell, x2 : x2 + cell]
    altered[:, y2 : y2 + cell, x2 : x2 + cell] = scene.picture[:, y1 : y1 + cell, x1 : x1 + cell]
    return altered, defects.seen(scene.picture, altered)


def _stretched(defects: LogicalDefects, scene: Scene) -> Altered | None:
    """Stretched on one side of a component's edge and squeezed on the other: too long, too short, filled too high."""
    side = scene.picture.shape[-1]
    axis = 0 if defects.uniform() < 0.7 else 1
    rows = torch.nonzero(defects.region()[0].amax(1 - axis))[:, 0]
    edge = float(rows[0] if defects.uniform() < 0.5 else rows[-1])
    reach = side * defects.uniform(0.1, 0.4)
    shift = reach * defects.uniform(0.25, 0.85) * (1 if defects.uniform() < 0.5 else -1)
    along = torch.arange(side, device=scene.picture.device, dtype=torch.float32)
    bump = (1 - (along - edge - shift).abs() / reach).clamp(min=0)
    centres = (along - shift * bump + 0.5) * 2 / side - 1
    straight = (along + 0.5) * 2 / side - 1
    ys, xs = (centres, straight) if axis == 0 else (straight, centres)
    grid = torch.stack([xs[None].expand(side, -1), ys[:, None].expand(-1, side)], -1)[None]
    altered = functional.grid_sample(scene.picture[None], grid, padding_mode="border", align_corners=False)[0]
    return altered, defects.seen(scene.picture, altered)


def _centre(region: Tensor) -> tuple[int, int]:
    places = torch.nonzero(region[0]).float().mean(0)
    return round(float(places[0])), round(float(places[1]))


OPERATORS: dict[str, Callable[[LogicalDefects, Scene], Altered | None]] = {
    "mismatch": _mismatch,
    "missing": _missing,
    "moved": _moved,
    "replaced": _replaced,
    "exchanged": _exchanged,
    "cells": _cells,
    "stretched": _stretched,
}
# a part of several kinds is first of all one that may be mixed up
WEIGHTS = {
    "mismatch": 0.6,
    "missing": 0.15,
    "moved": 0.15,
    "replaced": 0.1,
    "exchanged": 0.1,
    "cells": 0.05,
    "stretched": 0.15,
}
