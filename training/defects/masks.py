"""Shapes of defects: each takes a scene of k pictures and returns (k, 1, h, w) in 0..1. And what they altered."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional

from training.defects.noise import gradient_noise
from training.defects.random_source import per_picture
from training.defects.scene import Draw, Scene, mix

_POLYGON_CORNERS = 8
_SMALLEST_AXIS, _AXIS_RANGE = 0.012, 20.0
# by how much (of 0..1) a pixel must change to be seen, and to count as changed at all: one grey level
VISIBLE, _CHANGED = 0.05, 1 / 255
# gaps are closed up to this share of the side: 4 px each way at 256 px
_CLOSED = 1 / 64


def altered_region(change: Tensor) -> tuple[Tensor, Tensor]:
    """Where a defect can be seen, and the region it altered, bool (k, 1, h, w) each.

    change: by how much each pixel changed, (k, 1, h, w) in 0..1. On a texture some pixels of a defect are as bright as
    before by chance, and pixels that visibly changed are a region full of holes: the gaps between them are closed, as
    far as the pixels there changed at all.
    """
    visible = change > VISIBLE
    reach = max(1, round(_CLOSED * min(change.shape[2:])))
    window = 2 * reach + 1
    near = functional.max_pool2d(visible.float(), window, 1, reach)
    # beyond the border lies nothing that could keep a gap open
    closed = functional.max_pool2d(1 - near, window, 1, reach) == 0
    return visible, visible | (closed & (change > _CHANGED))


def perlin(low: int, high: int, threshold: float, turned: bool = False) -> Draw:
    """Gradient noise above a threshold, 2^low..2^high cells per axis."""

    def draw(scene: Scene) -> Tensor:
        noise = gradient_noise(scene.rng, scene.count, scene.size, low, high)
        if turned:
            angle = scene.rng.uniform(-math.pi / 2, math.pi / 2, scene.count)
            zero = torch.zeros_like(angle)
            turn = torch.stack([angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero], 1).view(-1, 2, 3)
            grid = functional.affine_grid(turn, list(noise.shape), align_corners=False)
            noise = functional.grid_sample(noise, grid, align_corners=False)
        return (noise > threshold).float()

    return draw


def _axes(scene: Scene) -> tuple[Tensor, Tensor]:
    low = scene.side * _SMALLEST_AXIS
    half = scene.rng.log_uniform(low, low * _AXIS_RANGE, 2, scene.count)
    return half[0], half[1]


def _turned_frame(scene: Scene, place: Draw) -> tuple[Tensor, Tensor]:
    return scene.frame(place(scene), scene.rng.uniform(0, math.pi, scene.count), *_axes(scene))


def ellipse(scene: Scene, place: Draw = Scene.anywhere) -> Tensor:
    u, v = _turned_frame(scene, place)
    return (u * u + v * v < 1).float()


def rectangle(scene: Scene, place: Draw = Scene.anywhere) -> Tensor:
    u, v = _turned_frame(scene, place)
    return (torch.maximum(u.abs_(), v.abs_()) < 1).float()


def upright_rectangle(scene: Scene) -> Tensor:
    """CutPaste's patch: 2 to 15 % of the picture, sides up to 1 : 3, not turned."""
    rng, (height, width) = scene.rng, scene.size
    area = rng.uniform(0.02, 0.15, scene.count) * (height * width)
    aspect = rng.log_uniform(1 / 3, 3, scene.count)
    u, v = scene.frame(
        scene.anywhere(), torch.zeros_like(area), (area / aspect).sqrt() / 2, (area * aspect).sqrt() / 2
    )  # fmt: skip
    return (torch.maximum(u.abs_(), v.abs_()) < 1).float()


def scar(scene: Scene) -> Tensor:
    """A long thin bent stroke."""
    rng, k = scene.rng, scene.count
    half_height = rng.uniform(0.004, 0.02, k) * scene.side
    half_width = rng.uniform(0.04, 0.25, k) * scene.side
    u, v = scene.frame(scene.anywhere(), rng.uniform(0, math.pi, k), half_height, half_width)
    bend = per_picture(rng.uniform(-6, 6, k))
    return ((u.abs() < 1) & ((v - bend * (u * u - 0.5)).abs() < 1)).float()


def cut(scene: Scene) -> Tensor:
    """Everything beyond a wavy line: a part broken or left off."""
    rng, k, (height, width) = scene.rng, scene.count, scene.size
    angle = rng.uniform(0, 2 * math.pi, k)
    y = torch.arange(height, device=angle.device).view(1, 1, -1, 1) / height - 0.5
    x = torch.arange(width, device=angle.device).view(1, 1, 1, -1) / width - 0.5
    wave = gradient_noise(rng, k, scene.size, 1, 3).mul_(0.1)
    beyond = x * per_picture(angle.cos()) + y * per_picture(angle.sin()) + wave
    return (beyond > per_picture(rng.uniform(0.1, 0.45, k))).float()


def polygon(scene: Scene, place: Draw = Scene.anywhere) -> Tensor:
    """3 to 8 corners at random angles and radii; even-odd rule."""
    rng, k = scene.rng, scene.count
    u, v = _turned_frame(scene, place)
    corners = rng.integers(3, _POLYGON_CORNERS, k)
    angle = rng.uniform(0, 2 * math.pi, k, _POLYGON_CORNERS).sort(1).values
    radius = rng.uniform(0.5, 1.4, k, _POLYGON_CORNERS)
    # corners left over repeat the last one: edges of no length cross nothing
    index = torch.minimum(torch.arange(_POLYGON_CORNERS, device=angle.device), corners[:, None] - 1)
    px = (radius * angle.cos()).gather(1, index)
    py = (radius * angle.sin()).gather(1, index)
    inside = torch.zeros_like(u, dtype=torch.bool)
    for edge in range(_POLYGON_CORNERS):
        x0, y0 = per_picture(px[:, edge - 1]), per_picture(py[:, edge - 1])
        x1, y1 = per_picture(px[:, edge]), per_picture(py[:, edge])
        slope = (x1 - x0) / torch.where(y1 == y0, torch.ones_like(y0), y1 - y0)
        inside ^= ((y0 > v) != (y1 > v)) & (u - x0 < (v - y0) * slope)
    return inside.float()


def union(shape: Draw, most: int) -> Draw:
    """One to `most` shapes."""

    def draw(scene: Scene) -> Tensor:
        mask = shape(scene)
        number = scene.rng.integers(1, most, scene.count)
        for more in range(2, most + 1):
            mask = torch.maximum(mask, shape(scene) * per_picture((number >= more).float()))
        return mask

    return draw


# on the part where there is one: ISSTAD keeps to the bounding box of its largest contour
shapes = union(
    mix([(1.0, functools.partial(shape, place=Scene.on_part)) for shape in (rectangle, ellipse, polygon)]), 3
)
# the mixture that reconstructors are trained on
assorted = mix([(0.3, perlin(0, 5, 0.5)), (0.15, rectangle), (0.15, scar), (0.2, ellipse), (0.2, cut)])
