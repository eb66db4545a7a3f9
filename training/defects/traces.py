"""Defects of printed circuits at their own scale, in pixels: edges eaten or grown, holes and islands, shorts, opens.

Operators: each takes a scene of k pictures and returns them altered, (k, 3, h, w). Where the picture is bright and
where it is dark is all they look at, so that they fit any picture of two tones.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from training.defects.scene import Draw, Scene

Bright = NDArray[np.bool_]

# what one defect changes, in pixels, and how thick it is somewhere: less passes for a ragged edge, more for a layout
SMALLEST_PX, LARGEST_PX, THICKNESS_PX = 25, 600, 3
_MOST, _ATTEMPTS = 3, 12
# how soft edges may be, and how far from an edge its direction is looked for
_SOFT_PX, _SLOPE_PX = (0.0, 0.5, 0.8, 1.2, 1.8, 2.7), 2.0
_DISCS, _BAR_HALF_PX, _BAR_WIDTH_PX, _BAR_TURN = (2, 6), (5, 15), (3, 8), 0.35
_DISC_PX, _HOLE_PX, _CLEARANCE_PX = (3.0, 7.0), (2.5, 13.0), 4.0
_RAGGED = 0.25
# half of the bars reach what lies opposite, if it is no farther than this: shorts and opens
_BRIDGE_PX = 40
_STRAY_PX = 1.0

# a picture's bright places, and random numbers → the same with one defect
Damage = Callable[[Bright, np.random.Generator], Bright]


def edge_discs(bright: Bright, random: np.random.Generator) -> Bright:
    """A chain of discs along an edge, of one tone: mouse-bites, or spurs and spilled copper."""
    places, slope = _edges(bright)
    if not len(places):
        return bright
    y, x = places[random.integers(len(places))].astype(float)
    side = random.choice((-1.0, 1.0))
    discs = np.zeros(bright.shape, np.uint8)
    for _ in range(random.integers(_DISCS[0], _DISCS[1] + 1)):
        radius = random.uniform(*_DISC_PX)
        down, across = slope[int(y), int(x)]
        off = random.uniform(-2, 2)
        cv2.circle(discs, (round(x + off * across), round(y + off * down)), round(radius), 1, -1)
        step = side * radius * random.uniform(0.6, 1.4)
        wanted = (y + step * across, x - step * down)
        y, x = places[np.argmin(((places - wanted) ** 2).sum(1))].astype(float)
    return _painted(bright, discs, bool(random.integers(2)), random)


def hole_or_island(bright: Bright, random: np.random.Generator) -> Bright:
    """A round-ish spot of the other tone that touches no edge: pin holes, splashes."""
    inside = bright if random.integers(2) else ~bright
    radius = math.exp(random.uniform(*np.log(_HOLE_PX)))
    clear = cv2.distanceTransform(inside.astype(np.uint8), cv2.DIST_L2, 3)
    places = np.argwhere(clear > radius + _CLEARANCE_PX)
    if not len(places):
        return bright
    y, x = places[random.integers(len(places))].tolist()
    axes = round(radius), max(1, round(radius * random.uniform(0.5, 1)))
    spot = np.zeros(bright.shape, np.uint8)
    cv2.ellipse(spot, (x, y), axes, random.uniform(0, 180), 0, 360, 1, -1)
    return _painted(bright, spot, not bright[y, x], random)


def edge_bar(bright: Bright, random: np.random.Generator) -> Bright:
    """A bar across an edge, of one tone: shorts, opens, long spurs, nicks."""
    places, slope = _edges(bright)
    if not len(places):
        return bright
    y, x = places[random.integers(len(places))].tolist()
    down, across = slope[y, x]
    angle = math.atan2(down, across) + random.uniform(-_BAR_TURN, _BAR_TURN)
    tone, length = bool(random.integers(2)), 2 * random.uniform(*_BAR_HALF_PX)
    # bright bars lead into the dark, and the other way round
    step = (-1.0 if tone else 1.0) * np.array([math.sin(angle), math.cos(angle)])
    begin = -length / 2
    if random.integers(2) and (gap := _gap(bright, (y, x), step, tone)):
        begin, length = -1.0, gap + 2
    # as by hand: neither straight nor even
    way = begin + length * np.linspace(0, 1, random.integers(3, 7))
    strayed = random.normal(0, _STRAY_PX, len(way))
    knots = np.array([y, x]) + way[:, None] * step + strayed[:, None] * step[::-1] * (1, -1)
    width = random.uniform(*_BAR_WIDTH_PX)
    bar = np.zeros(bright.shape, np.uint8)
    for first, second in itertools.pairwise(np.rint(knots[:, ::-1]).astype(int).tolist()):
        cv2.line(bar, first, second, 1, max(1, round(width * random.uniform(0.6, 1.4))))
    return _painted(bright, bar, tone, random)


def _gap(bright: Bright, place: tuple[int, int], step: NDArray[np.float64], tone: bool) -> float:
    """How far it is from an edge, in unit steps (y, x), to where the tone comes again; 0: too far."""
    walked = np.arange(2, _BRIDGE_PX + 1)
    y, x = (np.rint(place + walked[:, None] * step).astype(int)).T
    inside = (y >= 0) & (y < bright.shape[0]) & (x >= 0) & (x < bright.shape[1])
    met = np.zeros(len(walked), np.bool_)
    met[inside] = bright[y[inside], x[inside]] == tone
    between = met[0] if len(met) else True
    return 0.0 if between or not met.any() else float(walked[np.argmax(met)])


def drawn(damage: Damage) -> Draw:
    """An operator: one to three defects of this kind on each picture, each of SMALLEST_PX to LARGEST_PX."""

    def draw(scene: Scene) -> Tensor:
        seeds = scene.rng.integers(0, 2**31 - 1, scene.count).tolist()
        pairs = zip(scene.images, seeds, strict=True)
        return torch.stack([_altered(picture, damage, np.random.default_rng(seed)) for picture, seed in pairs])

    return draw


def _altered(picture: Tensor, damage: Damage, random: np.random.Generator) -> Tensor:
    grey = picture.mean(0).cpu().numpy()
    bright = grey > (float(grey.min()) + float(grey.max())) / 2
    if bright.all() or not bright.any():
        return picture
    damaged, wanted = bright, random.integers(1, _MOST + 1)
    for _ in range(_ATTEMPTS):
        candidate = damage(damaged, random)
        if _is_defect(candidate != damaged):
            damaged, wanted = candidate, wanted - 1
        if not wanted:
            break
    # new edges as soft as the picture's own, or their softness would be all that a network learns
    soft = _softness(grey, bright)
    change = torch.from_numpy(_softened(damaged, soft) - _softened(bright, soft)).to(picture.device)
    where = torch.from_numpy(bright).to(picture.device)
    upper, lower = picture[:, where].mean(1), picture[:, ~where].mean(1)
    return picture + change * (upper - lower)[:, None, None]


def _is_defect(change: Bright) -> bool:
    fits = SMALLEST_PX <= int(change.sum()) <= LARGEST_PX
    core = np.ones((THICKNESS_PX, THICKNESS_PX), np.uint8)
    return fits and bool(cv2.erode(change.astype(np.uint8), core, borderValue=0).any())


def _edges(bright: Bright) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(n, 2) places (y, x) on the bright side of edges, and at every place the unit step (y, x) towards the bright."""
    levels = bright.astype(np.uint8)
    places = np.argwhere(levels != cv2.erode(levels, np.ones((3, 3), np.uint8), borderValue=1))
    smooth = cv2.GaussianBlur(levels.astype(np.float32), (0, 0), _SLOPE_PX, borderType=cv2.BORDER_REFLECT)
    slope = np.stack([cv2.Sobel(smooth, -1, 0, 1), cv2.Sobel(smooth, -1, 1, 0)], 2)
    return places, slope / np.maximum(np.sqrt((slope**2).sum(2, keepdims=True)), 1e-6)


def _painted(bright: Bright, shape: NDArray[np.uint8], tone: bool, random: np.random.Generator) -> Bright:
    """The picture with a shape of this tone, whose border is ragged as those of real defects are."""
    noise = cv2.GaussianBlur(random.standard_normal(shape.shape).astype(np.float32), (0, 0), 1.2)
    noise *= random.uniform(0, _RAGGED) / max(float(noise.std()), 1e-6)
    ragged = cv2.GaussianBlur(shape.astype(np.float32), (0, 0), 1.0) + noise > 0.5
    # the noise stays near the shape
    ragged &= cv2.dilate(shape, np.ones((5, 5), np.uint8)) > 0
    return np.where(ragged, tone, bright)


def _softness(grey: NDArray[np.float32], bright: Bright) -> float:
    """The blur, in pixels, that makes the picture of its bright and dark places."""
    lower, upper = float(grey[~bright].mean()), float(grey[bright].mean())
    level = (grey - lower) / max(upper - lower, 1e-6)
    return min(_SOFT_PX, key=lambda soft: float(((_softened(bright, soft) - level) ** 2).sum()))


def _softened(bright: Bright, soft: float) -> NDArray[np.float32]:
    levels = bright.astype(np.float32)
    return np.asarray(cv2.GaussianBlur(levels, (0, 0), soft), np.float32) if soft else levels
