"""Damage of surfaces, as lines see it: pores, cracks, scratches, chips, stains, wear, foreign bodies.

Operators: each takes a scene of k pictures and returns them altered, (k, 3, h, w). Lengths follow the side, contrast
follows the brightness and its spread at the place itself.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from training.defects.noise import gradient_noise, grain
from training.defects.random_source import per_picture
from training.defects.scene import Scene, box_blur, cell_means, soft_blur
from training.defects.sources import recoloured

_LINE_KNOTS = 49


def blob(scene: Scene, places: Tensor, low: float, high: float, soft: tuple[float, float]) -> Tensor:
    """(k, 1, h, w) a wavy ellipse, 1 inside, falling to 0 over `soft` of its half axes; low..high: those in sides."""
    rng, k = scene.rng, scene.count
    half = rng.log_uniform(low * scene.side, high * scene.side, k)
    slimness = rng.uniform(0.45, 1, k)
    u, v = scene.frame(places, rng.uniform(0, math.pi, k), half * slimness, half)
    radius = (u * u + v * v).sqrt_()
    # cells about as wide as the blob: finer ones would fray it, of different sides stripe it
    cells = min(5, max(1, round(-math.log2(2 * high))))
    wobble = gradient_noise(rng, k, scene.size, cells, cells).mul_(per_picture(rng.uniform(0.2, 0.8, k)))
    return (1 - radius).add_(wobble).div_(per_picture(rng.uniform(*soft, k))).clamp_(0, 1)


def marked(scene: Scene, alpha: Tensor, places: Tensor, faint: float = 0.08, strong: float = 0.5) -> Tensor:
    """Darker, or brighter where it is dark already, by `faint` to `strong` beyond the local spread."""
    rng, k = scene.rng, scene.count
    level, spread = (
        scene.at(cells, places) for cells in (scene.image_statistics.brightness, scene.image_statistics.contrast)
    )
    bright = ((per_picture(rng.uniform(0, 1, k)) < 0.35) & (level < 0.8)) | (level < 0.12)
    step = per_picture(rng.log_uniform(faint, strong, k)) + spread * per_picture(rng.uniform(0, 1.5, k))
    room = torch.where(bright, 1 - level, level).clamp(min=0.05)
    tint = rng.uniform(0.85, 1.15, k, 3, 1, 1)
    return torch.lerp(scene.images, bright.float(), alpha * (step / room).clamp(max=0.95).mul(tint).clamp(max=1))


def line(
    scene: Scene, places: Tensor, half_length: Tensor, width_px: Tensor, offsets: Tensor, starts: Tensor
) -> Tensor:
    """(k, 1, h, w) thin lines that taper, antialiased.

    offsets: (k, m, 49) how far each of m lines strays from the straight one at equal steps, in pixels.
    starts: (k, m) where along the way each begins, 0..1; beyond 1 it is absent.
    """
    rng, k = scene.rng, scene.count
    one = torch.ones_like(half_length)
    u, v = scene.frame(places, rng.uniform(0, math.pi, k), one, one)
    along = (u / per_picture(half_length)).add_(1).div_(2)
    position = along.clamp(0, 1).mul_(_LINE_KNOTS - 1.001)
    before = position.long()
    share = position - before
    index = before.flatten(1)
    taper = (4 * along * (1 - along)).clamp_(min=0).sqrt_().mul_(per_picture(width_px / 2)).add_(0.5)
    starts_at, rise = offsets[..., :-1], offsets.diff(dim=2)
    # across a slope the line is as much nearer than it is along v
    slope = rise / (2 * half_length / (_LINE_KNOTS - 1)).view(-1, 1, 1)
    nearer = (1 + slope * slope).rsqrt()
    mask = torch.zeros_like(u)
    for number in range(offsets.shape[1]):
        base, change, factor = (t[:, number].gather(1, index).view_as(u) for t in (starts_at, rise, nearer))
        distance = (v - base).addcmul_(share, change, value=-1).abs_().mul_(factor)
        here = (along >= per_picture(starts[:, number])) & (along < 1)
        mask = torch.maximum(mask, (taper - distance).clamp_(0, 1) * here)
    return mask


def _width(scene: Scene, low: float, high: float) -> Tensor:
    """Pixels; lines of pictures above 256 px grow with them."""
    return scene.rng.uniform(low, high, scene.count) * max(0.75, scene.side / 256)


def crack(scene: Scene) -> Tensor:
    """A dark jagged line, often with a branch."""
    rng, k, places = scene.rng, scene.count, scene.on_part()
    half_length = rng.log_uniform(0.04, 0.3, k) * scene.side
    jag = (
        rng.uniform(-1, 1, k, 2, _LINE_KNOTS).cumsum(2)
        + 2 * rng.uniform(-1, 1, k, 2, _LINE_KNOTS // 8 + 1).cumsum(2).repeat_interleave(8, 2)[:, :, :_LINE_KNOTS]
    )
    walk = jag * (half_length * 2 / _LINE_KNOTS).view(-1, 1, 1) * rng.uniform(0.4, 1.2, k, 1, 1)
    walk = walk - walk.mean(2, keepdim=True)
    # the branch leaves the first line where it begins, and goes its own way from there
    begin = rng.integers(_LINE_KNOTS // 4, _LINE_KNOTS * 3 // 4, k)
    pick = begin.view(-1, 1)
    leaving = walk[:, 0].gather(1, pick) - walk[:, 1].gather(1, pick)
    fork = (torch.arange(_LINE_KNOTS, device=pick.device) - pick).clamp(min=0) * (half_length / 40)[:, None]
    branch = walk[:, 1] + leaving + fork * rng.sign(k, 1) * rng.uniform(0.4, 1.6, k, 1)
    branch_from = torch.where(rng.chance(0.5, k) > 0, begin / (_LINE_KNOTS - 1), 2.0)
    starts = torch.stack([torch.zeros_like(branch_from), branch_from], 1)
    alpha = line(scene, places, half_length, _width(scene, 1.2, 3.2), torch.stack([walk[:, 0], branch], 1), starts)
    return marked(scene, _on_material(scene, alpha), places, 0.12, 0.7)


def scratch(scene: Scene) -> Tensor:
    """One to three almost straight parallel lines, often faint."""
    rng, k, places = scene.rng, scene.count, scene.on_part()
    half_length = rng.log_uniform(0.06, 0.4, k) * scene.side
    way = torch.linspace(-1, 1, _LINE_KNOTS, device=rng.device)
    bow = (way * way * (half_length * rng.uniform(-0.15, 0.15, k))[:, None])[:, None]
    apart = rng.uniform(2, 9, k, 3, 1) * torch.arange(3, device=rng.device).view(1, 3, 1) * (scene.side / 256)
    present = rng.chance(0.35, k, 3, 1) + torch.tensor([1.0, 0, 0], device=rng.device).view(1, 3, 1)
    starts = torch.where(present[..., 0] > 0, rng.uniform(0, 0.2, k, 3), 2.0)
    alpha = line(scene, places, half_length, _width(scene, 1, 2.2), bow + apart, starts)
    return marked(scene, _on_material(scene, alpha), places, 0.08, 0.4)


def _curve(scene: Scene, half_length: Tensor) -> Tensor:
    """(k, 1, 49) a few slow waves."""
    rng, k = scene.rng, scene.count
    way = torch.linspace(0, 2 * math.pi, _LINE_KNOTS, device=rng.device)
    turns, phase = rng.uniform(0.3, 1.6, k, 2, 1), rng.uniform(0, 2 * math.pi, k, 2, 1)
    swing = rng.uniform(0.05, 0.3, k, 2, 1) * half_length.view(-1, 1, 1)
    return ((way * turns + phase).sin() * swing).sum(1, keepdim=True)


def fibre(scene: Scene) -> Tensor:
    """A hair or thread lying on the part."""
    rng, k, places = scene.rng, scene.count, scene.on_part()
    half_length = rng.uniform(0.05, 0.2, k) * scene.side
    starts = torch.zeros(k, 1, device=rng.device)
    alpha = line(scene, places, half_length, _width(scene, 1.2, 2.4), _curve(scene, half_length), starts)
    return marked(scene, alpha, places, 0.15, 0.7)


def pen_mark(scene: Scene) -> Tensor:
    """A stroke of paint or marker in any colour."""
    rng, k, places = scene.rng, scene.count, scene.on_part()
    half_length = rng.uniform(0.04, 0.18, k) * scene.side
    starts = torch.zeros(k, 1, device=rng.device)
    width = rng.uniform(0.015, 0.05, k) * scene.side
    alpha = line(scene, places, half_length, width, _curve(scene, half_length), starts)
    colour = rng.uniform(0, 1, k, 3, 1, 1)
    return torch.lerp(scene.images, colour, alpha * per_picture(rng.uniform(0.5, 0.95, k)))


def pores(scene: Scene) -> Tensor:
    """A few small round soft-edged holes or bumps, some with a lit rim."""
    rng, k = scene.rng, scene.count
    places = scene.on_part()
    alpha = blob(scene, places, 0.008, 0.04, (0.3, 0.9))
    for _ in range(rng.choose(1, [0.55, 0.25, 0.2])[0]):
        near = places + rng.uniform(-0.15, 0.15, k, 2) * scene.side
        alpha = torch.maximum(alpha, blob(scene, near, 0.006, 0.025, (0.3, 0.9)))
    altered = marked(scene, _on_material(scene, alpha), places, 0.1, 0.65)
    # light from one side: the edge towards it is bright, the other one dark
    lit = functional.pad(alpha, (0, 1, 0, 1))[:, :, 1:, 1:] - alpha
    return altered.add_(lit * per_picture(rng.uniform(0, 0.3, k) * rng.chance(0.5, k))).clamp_(0, 1)


def dust(scene: Scene) -> Tensor:
    """Many specks in one region."""
    rng, k, places = scene.rng, scene.count, scene.on_part()
    region = blob(scene, places, 0.08, 0.25, (0.5, 1.0))
    specks = box_blur(grain(rng, k, scene.size, 1), 1)
    density = per_picture(rng.uniform(0.2, 0.45, k))
    return marked(scene, (specks - density).mul_(8).clamp_(0, 1) * region, places, 0.15, 0.6)


def _has_background(scene: Scene) -> Tensor:
    covered = scene.image_statistics.cover.mean((2, 3), keepdim=True)
    return (covered > 0.04) & (covered < 0.96)


def _on_material(scene: Scene, alpha: Tensor) -> Tensor:
    """Damage ends where the part does, mostly: one in eight may be on what is taken for background."""
    free = ~_has_background(scene) | (per_picture(scene.rng.uniform(0, 1, scene.count)) < 0.125)
    return torch.where(free, alpha, alpha * scene.foreground)


def chip(scene: Scene) -> Tensor:
    """A piece broken off the part's edge: the background shows; on a part without background a bright or dark bite."""
    places = scene.on_rim()
    alpha = blob(scene, places, 0.025, 0.12, (0.08, 0.3))
    fill = background_fill(scene)
    broken = torch.lerp(scene.images, fill, alpha * (box_blur(scene.foreground, 2) * 1.5).clamp_(max=1))
    return torch.where(_has_background(scene), broken, marked(scene, alpha, places, 0.1, 0.5))


def background_fill(scene: Scene) -> Tensor:
    """(k, 3, h, w) what would be seen without the part: the background's local colour, else its colour all over."""
    image_statistics = scene.image_statistics
    empty = 1 - scene.foreground
    cells = image_statistics.cover.shape[-1]
    counted = cell_means(torch.cat([scene.images * empty, empty], 1), cells)
    # a cell without background takes its neighbours', far ones the overall colour
    near = box_blur(counted, 2) + torch.cat(
        [image_statistics.background * 1e-3, torch.full_like(image_statistics.cover[..., :1, :1], 1e-3)], 1
    )
    fill = functional.interpolate(near[:, :3] / near[:, 3:], scene.size, mode="bilinear", align_corners=False)
    return fill.add_(grain(scene.rng, scene.count, scene.size, 1), alpha=0.012)


def uneven(scene: Scene) -> Tensor:
    """A wide region shaded lighter or darker, with low contrast and no edge."""
    places = scene.on_part()
    alpha = blob(scene, places, 0.12, 0.45, (0.8, 1.3))
    return marked(scene, _on_material(scene, alpha), places, 0.09, 0.3)


def dead_area(scene: Scene) -> Tensor:
    """A wide piece gone dark behind a straight or jagged border: what a crack has cut off."""
    rng, k, places = scene.rng, scene.count, scene.on_part()
    half = rng.log_uniform(0.04, 0.4, k) * scene.side
    u, v = scene.frame(places, rng.uniform(0, math.pi, k), half, half * rng.uniform(0.2, 1, k))
    jag = gradient_noise(rng, k, scene.size, 2, 4).mul_(per_picture(rng.uniform(0, 0.5, k)))
    alpha = (1 - torch.maximum(u.abs(), v.abs())).add_(jag).mul_(per_picture(rng.uniform(4, 15, k))).clamp_(0, 1)
    left = per_picture(rng.uniform(0.1, 0.8, k))
    return torch.lerp(scene.images, scene.images * left, _on_material(scene, alpha))


def stain(scene: Scene) -> Tensor:
    """A wavy patch tinted by something thin: oil, water, rust, heat."""
    rng, k, places = scene.rng, scene.count, scene.on_part()
    alpha = blob(scene, places, 0.025, 0.16, (0.1, 0.8)) * per_picture(rng.uniform(0.4, 1, k))
    dried = (alpha - box_blur(alpha, max(1, scene.side // 64))).clamp_(min=0) * per_picture(rng.chance(0.4, k))
    tint = rng.uniform(0.45, 1.0, k, 3, 1, 1)
    return scene.images * (1 - (1 - tint) * (0.6 * alpha + dried).clamp_(max=1))


def burn(scene: Scene) -> Tensor:
    """A soft patch of another colour, brightness and contrast."""
    alpha = _on_material(scene, blob(scene, scene.on_part(), 0.03, 0.2, (0.3, 1.0)))
    return torch.lerp(scene.images, recoloured(scene.rng, scene.images), alpha)


def frayed(scene: Scene) -> Tensor:
    """A region smeared along rows or columns, or out of focus, and a little lighter or darker."""
    rng, k, places = scene.rng, scene.count, scene.on_part()
    alpha = _on_material(scene, blob(scene, places, 0.06, 0.25, (0.2, 0.8)))
    length = 2 * max(2, scene.side // 24) + 1
    way = rng.choose(1, [1, 1, 1])[0]
    if way == 0:
        smeared = soft_blur(scene.images, max(2, scene.side // 40))
    else:
        kernel, pad = ((length, 1), (length // 2, 0)) if way == 1 else ((1, length), (0, length // 2))
        smeared = functional.avg_pool2d(scene.images, kernel, 1, pad, count_include_pad=False)
    shade = per_picture(rng.uniform(0.03, 0.2, k) * rng.sign(k))
    streaks = grain(rng, k, scene.size, 1).mul_(per_picture(rng.uniform(0, 0.12, k)))
    return torch.lerp(scene.images, smeared + shade + streaks, alpha)


def foreign_body(scene: Scene) -> Tensor:
    """Something small lies on the part: one colour, shaded as a solid, with its shadow."""
    rng, k, places = scene.rng, scene.count, scene.on_part()
    alpha = blob(scene, places, 0.02, 0.09, (0.05, 0.15))
    reach = max(1, scene.side // 50)
    shadow = box_blur(alpha.roll((reach, reach), (2, 3)), reach)
    solid = box_blur(alpha, reach)
    lit = (solid.roll((reach, reach), (2, 3)) - solid).mul_(per_picture(rng.uniform(0, 0.5, k)))
    colour = rng.uniform(0, 1, k, 3, 1, 1) + lit + grain(rng, k, scene.size, 1).mul_(0.03)
    return torch.lerp(scene.images * (1 - 0.4 * shadow), colour, alpha)


def warp(scene: Scene) -> Tensor:
    """A region pushed aside: dents, shifted fibres, crooked structure."""
    rng, k = scene.rng, scene.count
    height, width = scene.size
    region = blob(scene, scene.on_structure(), 0.08, 0.25, (0.5, 1.0))
    knots = rng.uniform(-1, 1, k, 2, 6, 6) + 0.5 * rng.sign(k, 2, 1, 1)
    push = functional.interpolate(knots, scene.size, mode="bilinear", align_corners=True)
    push = push * region * per_picture(rng.uniform(0.05, 0.14, k))
    y = (torch.arange(height, device=rng.device) * 2 + 1) / height - 1
    x = (torch.arange(width, device=rng.device) * 2 + 1) / width - 1
    grid = torch.stack([x.expand(k, height, -1) + push[:, 0], y[:, None].expand(k, -1, width) + push[:, 1]], 3)
    return functional.grid_sample(scene.images, grid, padding_mode="border", align_corners=False)
