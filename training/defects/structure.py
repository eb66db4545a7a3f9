"""Damage to what a part is made of: traces grown, eaten, bridged or cut; components missing, exchanged or misplaced.

Operators: each takes a scene of k pictures and returns them altered, (k, 3, h, w).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from training.defects.noise import grain
from training.defects.random_source import per_picture
from training.defects.scene import Scene, box_blur, cell_means, shifted
from training.defects.surface import blob

_BOXES, _BOX_CELLS = 40, 32


def _extreme(scene: Scene, reach: float) -> Tensor:
    """Each pixel the brightest, or for half the pictures the darkest, of its neighbourhood of `reach` sides."""
    sign = per_picture(scene.rng.sign(scene.count))
    coarse = max(1, min(4, scene.side // 24))
    width = max(1, round(reach * scene.side / coarse)) * 2 + 1
    # rows, then columns, on a coarse grid: a plain maximum filter this wide costs more than the rest together
    pooled = functional.max_pool2d(scene.images * sign, coarse, ceil_mode=True)
    pooled = functional.max_pool2d(pooled, (width, 1), 1, (width // 2, 0))
    pooled = functional.max_pool2d(pooled, (1, width), 1, (0, width // 2))
    return functional.interpolate(pooled, scene.size, mode="nearest") * sign


def bite(scene: Scene) -> Tensor:
    """A nick in, or a growth on, an edge: mouse-bites and spurs of traces, burrs."""
    alpha = blob(scene, scene.on_structure(), 0.012, 0.05, (0.1, 0.3))
    return torch.lerp(scene.images, _extreme(scene, 0.06), alpha)


def pin_hole(scene: Scene) -> Tensor:
    """A small spot of what lies beneath, or beside."""
    alpha = blob(scene, scene.on_structure(), 0.01, 0.03, (0.1, 0.4))
    return torch.lerp(scene.images, _extreme(scene, 0.12), alpha)


def spot(scene: Scene) -> Tensor:
    """An island where there is none, as bright as its surround is dark: spilled copper, holes, splashes."""
    places = scene.anywhere()
    alpha = blob(scene, places, 0.015, 0.07, (0.1, 0.3))
    return torch.lerp(scene.images, 1 - scene.at(scene.image_statistics.brightness, places), alpha)


def bridge(scene: Scene) -> Tensor:
    """A bar that joins what is apart, or cuts what belongs together: shorts and opens, necks, splits."""
    rng, k = scene.rng, scene.count
    half_width = rng.log_uniform(0.03, 0.11, k) * scene.side
    half_height = rng.uniform(0.008, 0.025, k) * scene.side
    # along rows, columns or diagonals, as structure mostly runs, give or take a little
    angle = rng.integers(0, 3, k) * (math.pi / 4) + rng.uniform(-0.2, 0.2, k)
    u, v = scene.frame(scene.on_structure(), angle, half_height, half_width)
    flare = (u * u) * per_picture(rng.uniform(-0.2, 0.4, k))
    alpha = (1 + flare - v.abs()).mul_(3).clamp_(0, 1) * (6 - 6 * u.abs()).clamp_(0, 1)
    return torch.lerp(scene.images, _extreme(scene, 0.1), alpha)


@dataclass(frozen=True)
class _Boxes:
    """Boxes around components, one per picture: centre (k, 2) and half size (k, 2) in pixels, the colour of the frame
    around each, (k, 3, 1, 1), and the shift (k, 2) from the neighbour that looks most like that frame; 0 where the
    colour alone will do better."""

    centre: Tensor
    half: Tensor
    colour: Tensor
    shift: Tensor


def _find_components(scene: Scene) -> _Boxes:
    """Of random boxes the ones that differ most from their surround while that is even."""
    rng, k = scene.rng, scene.count
    cells = min(_BOX_CELLS, scene.side)
    small = cell_means(scene.images, cells)
    values = torch.cat([small, (small * small).mean(1, keepdim=True)], 1)  # (k, 4, c, c)
    middle = scene.many_on_structure(_BOXES)
    scale = torch.tensor(scene.size, device=middle.device).float()
    middle, half = middle / scale, rng.log_uniform(0.03, 0.2, k, _BOXES, 2)
    inner, outer = _means(values, middle, half), _means(values, middle, half + 1.5 / cells)
    ratio = (half.prod(2) / (half + 1.5 / cells).prod(2))[:, None]
    ring = (outer - ratio * inner) / (1 - ratio)  # (k, 4, boxes)
    uneven = _variance(ring)
    differs = _variance(inner) + (inner[:, :3] - ring[:, :3]).square().mean(1)
    cut_off = ((middle - half < 0) | (middle + half > 1)).any(2)
    merit = (differs + 1e-5).log() - (uneven + 1e-3).log() - 4 * cut_off + rng.uniform(0, 2, k, _BOXES)
    best = merit.argmax(1).view(-1, 1, 1)
    centre, size = (t.gather(1, best.expand(-1, 1, 2))[:, 0] for t in (middle, half))
    colour = ring[:, :3].gather(2, best.expand(-1, 3, 1))
    # the four neighbours of the box: which of them could pass for its surround
    sides = torch.tensor([[1.0, 0], [-1, 0], [0, 1], [0, -1]], device=middle.device)
    away = sides * (2 * size + 1.5 / cells)[:, None]
    beside = _means(values, centre[:, None] + away, size[:, None].expand(-1, 4, -1))
    outside = ((centre[:, None] + away - size[:, None] < 0) | (centre[:, None] + away + size[:, None] > 1)).any(2)
    unlike = (beside[:, :3] - colour).square().mean(1) + _variance(beside) + outside
    shift = -away.gather(1, unlike.argmin(1).view(-1, 1, 1).expand(-1, 1, 2))[:, 0]
    # one colour passes for an even surround only
    plain = (unlike.amin(1) > 0.01) & (uneven.gather(1, best[..., 0])[:, 0] < 0.003)
    shift = torch.where(plain[:, None], 0.0, shift)
    return _Boxes(centre * scale, size * scale, colour[..., None], (shift * scale).round().long())


def _variance(moments: Tensor) -> Tensor:
    return (moments[:, 3] - moments[:, :3].square().mean(1)).clamp(min=0)


def _means(values: Tensor, middle: Tensor, half: Tensor) -> Tensor:
    """Means of maps (k, c, g, g) over boxes (k, b, 2) given in 0..1: (k, c, b)."""
    place = (torch.arange(values.shape[-1], device=values.device) + 0.5) / values.shape[-1]
    reach = half.clamp(min=0.5 / values.shape[-1])[..., None]
    inside = ((place - middle[..., None]).abs() <= reach).float()  # (k, b, 2, g)
    rows, columns = inside[:, None, :, 0], inside[:, None, :, 1]
    total = ((rows @ values) * columns).sum(3)
    return total / (inside[:, :, 0].sum(2) * inside[:, :, 1].sum(2)).clamp(min=1)[:, None]


def _box_mask(scene: Scene, centre: Tensor, half: Tensor) -> Tensor:
    """(k, 1, h, w) a box with rounded corners and a soft edge."""
    u, v = scene.frame(centre, torch.zeros_like(centre[:, 0]), half[:, 0] * 1.1, half[:, 1] * 1.1)
    return (1 - (u.pow(4) + v.pow(4)).sqrt_().sqrt_()).mul_(8).clamp_(0, 1)


def missing_component(scene: Scene) -> Tensor:
    """A component covered by its surround: a copy of the place beside it, or the colour around it."""
    boxes = _find_components(scene)
    found = boxes.shift.abs().sum(1) > 0
    plain = grain(scene.rng, scene.count, scene.size, 1).mul_(0.012).add(boxes.colour)
    beside = shifted(scene.images, boxes.shift[:, 0], boxes.shift[:, 1])
    return torch.lerp(
        scene.images, torch.where(per_picture(found), beside, plain), _box_mask(scene, boxes.centre, boxes.half)
    )


def cross_image_swap(scene: Scene) -> Tensor:
    """A component of another good part in its place: everything is valid, but not together."""
    boxes = _find_components(scene)
    return torch.lerp(scene.images, scene.partners(), _box_mask(scene, boxes.centre, boxes.half))


def misplaced_component(scene: Scene) -> Tensor:
    """A component once more, where none belongs."""
    boxes = _find_components(scene)
    limit = torch.tensor(scene.size, device=boxes.centre.device)
    target = torch.minimum(torch.maximum(scene.on_part(), boxes.half), limit - boxes.half)
    move = (target - boxes.centre).round().long()
    copy = shifted(scene.images, move[:, 0], move[:, 1])
    return torch.lerp(scene.images, copy, _box_mask(scene, boxes.centre + move, boxes.half))


def transplant(scene: Scene) -> Tensor:
    """A real defect from the bank, at its own place or moved, with a feathered edge, as bright as its new surround."""
    bank, rng, k = scene.batch.bank, scene.rng, scene.count
    assert bank is not None, "the generator draws no transplants without a bank"
    chosen = rng.integers(0, bank.pictures.shape[0] - 1, k)
    picture, mask = bank.pictures.index_select(0, chosen), bank.masks.index_select(0, chosen)
    height, width = scene.size
    total = mask.sum((1, 2, 3)).clamp(min=1)
    y, x = torch.arange(height, device=mask.device), torch.arange(width, device=mask.device)
    middle = torch.stack([(mask.sum(3) * y).sum((1, 2)) / total, (mask.sum(2) * x).sum((1, 2)) / total], 1)
    move = ((scene.on_part() - middle) * rng.chance(0.5, k)[:, None]).round().long()
    picture, mask = (shifted(t, move[:, 0], move[:, 1]) for t in (picture, mask))
    # what was moved out on one side must not come in on the other
    rows = ((y - move[:, :1] >= 0) & (y - move[:, :1] < height)).float()
    columns = ((x - move[:, 1:] >= 0) & (x - move[:, 1:] < width)).float()
    mask = mask * (rows[:, None, :, None] * columns[:, None, None, :])
    radius = max(1, scene.side // 64)
    surround = ((box_blur(mask, 3 * radius) > 0) & (mask == 0)).float()
    difference = ((scene.images - picture) * surround).sum((2, 3), keepdim=True)
    level = difference / surround.sum((2, 3), keepdim=True).clamp(min=1)
    return torch.lerp(scene.images, picture + level, (2 * box_blur(mask, radius)).clamp_(max=1))
