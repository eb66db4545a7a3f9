"""Elongated parts, drawn: screws, brushes, capsules, bolts and cables that lie anyhow, good and defective."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

KINDS = ("screw", "brush", "capsule", "bolt", "cable")
DEFECTS = {
    "screw": ("scratch", "bent tip", "missing thread", "cut end"),
    "bolt": ("scratch", "missing thread", "cut end"),
    "brush": ("spot", "cut end", "scratch"),
    "capsule": ("spot", "scratch", "cut end"),
    "cable": ("scratch", "spot", "cut end"),
}
# drawn larger than shown, so that edges come out smooth
_DRAWN_LENGTH, _DRAWN_BREADTH = 900, 320
_MIDDLE = _DRAWN_BREADTH // 2


@dataclass(frozen=True)
class Scene:
    """What the parts lie on, and how they are lit.

    ground: grey level beneath. part: grey level of the part. slope: how much brighter the right border is, vignette:
    how much darker the corners, in grey levels. texture: deviation of the ground's grain. shadow: share of light that
    a part's shadow takes.
    """

    ground: float = 200.0
    part: float = 70.0
    slope: float = 0.0
    vignette: float = 0.0
    texture: float = 2.0
    shadow: float = 0.0
    noise: float = 2.0


SCENES = {
    "dark on plain": Scene(),
    "bright on plain": Scene(ground=45, part=190),
    "shadow": Scene(ground=190, part=60, shadow=0.25, slope=20),
    "uneven light": Scene(ground=170, part=60, slope=70, vignette=40),
    "textured": Scene(ground=120, part=215, texture=9),
    "dark, textured, vignette": Scene(ground=185, part=75, texture=7, vignette=50),
}


@dataclass(frozen=True)
class Lying:
    """Where a part lies: its middle in frame pixels, its turn clockwise in degrees from head-left, its length."""

    x: float
    y: float
    turn_deg: float
    length_px: float


def part_drawn(kind: str, random: np.random.Generator, defect: str | None = None) -> tuple[np.ndarray, np.ndarray]:
    """(relative brightness, cover), float32 (320, 900): a part with its heavier end at the left.

    A defect is drawn upon the good part: the same random generator gives the same part without it.
    """
    shade, cover = _SHAPES[kind](random)
    if defect is not None:
        _deface(shade, cover, kind, defect, random)
    return cv2.GaussianBlur(shade, (0, 0), 1.5), cv2.GaussianBlur(cover, (0, 0), 1.5)


def frame_of(
    parts: list[tuple[tuple[np.ndarray, np.ndarray], Lying]], scene: Scene, random: np.random.Generator,
    height: int = 480, width: int = 640,
) -> np.ndarray:  # fmt: skip
    """Parts lying on the scene's ground, uint8 BGR."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    light = scene.slope * (x / width - 0.5)
    light -= scene.vignette * ((x / width - 0.5) ** 2 + (y / height - 0.5) ** 2) * 2
    grain = cv2.GaussianBlur(random.normal(0, 1, (height, width)).astype(np.float32), (0, 0), 1.5)
    ground = scene.ground + light + scene.texture * grain / max(float(grain.std()), 1e-6)
    picture = ground.astype(np.float32)
    for (shade, cover), lying in parts:
        there = matrix_of(lying)
        size = (width, height)
        alpha = cv2.warpAffine(cover, there, size, flags=cv2.INTER_AREA)
        level = cv2.warpAffine(shade, there, size, borderMode=cv2.BORDER_REPLICATE)
        if scene.shadow:
            reach = lying.length_px / 18
            moved = np.array([[1, 0, reach], [0, 1, reach]], np.float32)
            dark = cv2.GaussianBlur(cv2.warpAffine(alpha, moved, size), (0, 0), reach / 2)
            picture *= 1 - scene.shadow * dark
        lit = scene.part * level + 0.3 * light
        picture = picture * (1 - alpha) + lit * alpha
    tint = np.array((0.97, 1.0, 0.98), np.float32)
    noisy = picture[..., None] * tint + random.normal(0, scene.noise, (height, width, 3))
    levels: np.ndarray = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
    return levels


def matrix_of(lying: Lying) -> np.ndarray:
    """(2, 3), from the drawn part to the frame."""
    scale, radians = lying.length_px / _DRAWN_LENGTH, math.radians(lying.turn_deg)
    linear = scale * np.array([[math.cos(radians), -math.sin(radians)], [math.sin(radians), math.cos(radians)]])
    offset = np.array((lying.x, lying.y)) - linear @ ((_DRAWN_LENGTH - 1) / 2, (_DRAWN_BREADTH - 1) / 2)
    matrix: np.ndarray = np.concatenate([linear, offset[:, None]], axis=1)
    return matrix


def anyhow(random: np.random.Generator, length_px: float, height: int = 480, width: int = 640) -> Lying:
    """A place and turn by chance, so that the whole part lies inside the frame."""
    reach = 0.53 * length_px
    turn = float(random.uniform(0, 360))
    across = reach * abs(math.cos(math.radians(turn))) + 0.2 * length_px * abs(math.sin(math.radians(turn)))
    down = reach * abs(math.sin(math.radians(turn))) + 0.2 * length_px * abs(math.cos(math.radians(turn)))
    x = random.uniform(across, width - across) if 2 * across < width else width / 2
    y = random.uniform(down, height - down) if 2 * down < height else height / 2
    return Lying(float(x), float(y), turn, length_px)


def picture_of(
    kind: str, seed: int, scene: Scene, defect: str | None = None, length_px: float = 300.0,
    size: tuple[int, int] = (480, 640),
) -> tuple[np.ndarray, Lying]:  # fmt: skip
    """One part of this kind lying anyhow, and where it lies."""
    random = np.random.default_rng(seed)
    lying = anyhow(random, length_px, *size)
    drawn = part_drawn(kind, random, defect)
    brightness = replace(scene, ground=scene.ground + random.normal(0, 3), part=scene.part * random.normal(1, 0.02))
    return frame_of([(drawn, lying)], brightness, random, *size), lying


def write_set(folder: Path, kind: str, scene: Scene, good: int = 40, test: int = 16, **drawn: object) -> None:
    """A data set in MVTec's layout: train/good, test/good, and test/<defect> for every defect of the kind."""
    counts = {"train/good": good, "test/good": test} | {f"test/{defect}": test // 2 for defect in DEFECTS[kind]}
    seed = 1000
    for name, count in counts.items():
        target = folder / name
        target.mkdir(parents=True)
        defect = None if name.endswith("good") else name.split("/")[1]
        for number in range(count):
            seed += 1
            picture, _ = picture_of(kind, seed, scene, defect, **drawn)  # type: ignore[arg-type]
            assert cv2.imwrite(str(target / f"{number:03d}.png"), picture)


def _blank() -> tuple[np.ndarray, np.ndarray]:
    return np.ones((_DRAWN_BREADTH, _DRAWN_LENGTH), np.float32), np.zeros((_DRAWN_BREADTH, _DRAWN_LENGTH), np.float32)


def _rounded(shade: np.ndarray) -> None:
    """Round bodies are brighter along their middle."""
    across = np.abs(np.arange(_DRAWN_BREADTH) - _MIDDLE) / _MIDDLE
    shade *= (1.25 - 0.9 * across)[:, None].astype(np.float32)


def _thread(
    shade: np.ndarray, cover: np.ndarray, first: int, last: int, half: int, random: np.random.Generator
) -> None:
    phase = random.uniform(0, 24)
    for middle in np.arange(first - phase % 24, last, 24):
        left = int(middle)
        cv2.line(shade, (left, _MIDDLE - half - 8), (left + 12, _MIDDLE + half + 8), (0.62,), 8)
        for side in (-1, 1):
            tip = (left + (6 if side < 0 else 14), _MIDDLE + side * (half + 8))
            base = [(left - 6, _MIDDLE + side * half), (left + 20, _MIDDLE + side * half)]
            cv2.fillConvexPoly(cover, np.array([tip, *base], np.int32), (1.0,))


def _screw(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    shade, cover = _blank()
    _rounded(shade)
    head = np.array([(20, 60), (50, 60), (150, 128), (150, 192), (50, 260), (20, 260)], np.int32)
    cv2.fillConvexPoly(cover, head, (1.0,))
    cv2.rectangle(cover, (140, _MIDDLE - 32), (780, _MIDDLE + 32), (1.0,), -1)
    cv2.fillConvexPoly(cover, np.array([(780, 128), (780, 192), (880, 160)], np.int32), (1.0,))
    _thread(shade, cover, 330, 780, 32, random)
    return shade, cover


def _bolt(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    shade, cover = _blank()
    _rounded(shade)
    cv2.rectangle(cover, (30, 40), (190, 280), (1.0,), -1)
    shade[120:200, 30:190] *= 1.15
    cv2.rectangle(cover, (190, _MIDDLE - 62), (870, _MIDDLE + 62), (1.0,), -1)
    _thread(shade, cover, 420, 860, 62, random)
    return shade, cover


def _brush(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    shade, cover = _blank()
    cv2.rectangle(cover, (30, _MIDDLE - 95), (290, _MIDDLE + 95), (1.0,), -1)
    for column in range(40, 290, 28):
        for row in range(_MIDDLE - 85, _MIDDLE + 90, 28):
            cv2.circle(shade, (column + int(random.integers(-2, 3)), row), 9, (float(random.uniform(0.6, 0.8)),), -1)
    cv2.ellipse(cover, (560, _MIDDLE), (330, 48), 0, 0, 360, (1.0,), -1)
    shade[:, 420:700] *= 0.9
    return shade, cover


def _capsule(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    shade, cover = _blank()
    _rounded(shade)
    for column in (150, 750):
        cv2.circle(cover, (column, _MIDDLE), 125, (1.0,), -1)
    cv2.rectangle(cover, (150, _MIDDLE - 125), (750, _MIDDLE + 125), (1.0,), -1)
    # both ends alike in outline: only the colour of the halves tells them apart
    shade[:, 460:] *= 0.72
    text = int(random.integers(-6, 7))
    print_ = np.zeros(shade.shape, np.uint8)
    cv2.putText(print_, "500", (190 + text, _MIDDLE + 25), cv2.FONT_HERSHEY_SIMPLEX, 2.6, (255,), 9)
    shade[print_ > 127] *= 0.6
    return shade, cover


def _cable(random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    shade, cover = _blank()
    cv2.rectangle(cover, (25, _MIDDLE - 70), (230, _MIDDLE + 70), (1.0,), -1)
    shade[_MIDDLE - 45 : _MIDDLE - 15, 40:100] = 0.5
    shade[_MIDDLE + 15 : _MIDDLE + 45, 40:100] = 0.5
    bow, phase = random.uniform(6, 20), random.uniform(0, 6.3)
    along = np.arange(200, 875)
    lying = _MIDDLE + bow * np.sin(along / 130 + phase) * (along - 200) / 675
    points = np.stack([along, lying], axis=1).round().astype(np.int32)
    cv2.polylines(cover, [points], isClosed=False, color=(1.0,), thickness=44)
    return shade, cover


_SHAPES = {"screw": _screw, "bolt": _bolt, "brush": _brush, "capsule": _capsule, "cable": _cable}


def _deface(shade: np.ndarray, cover: np.ndarray, kind: str, defect: str, random: np.random.Generator) -> None:
    if defect == "cut end":
        cover[:, int(random.integers(790, 840)) :] = 0
    elif defect == "bent tip":
        bend, first = random.uniform(20, 35) * random.choice([-1, 1]), 720
        for column in range(first, _DRAWN_LENGTH):
            moved = round(bend * (column - first) / (_DRAWN_LENGTH - first))
            cover[:, column], shade[:, column] = np.roll(cover[:, column], moved), np.roll(shade[:, column], moved)
    elif defect == "missing thread":
        first = int(random.integers(430, 640))
        half = 32 if kind == "screw" else 62
        inside = slice(first, first + 90)
        cover[: _MIDDLE - half, inside] = 0
        cover[_MIDDLE + half :, inside] = 0
        shade[:, inside] = np.median(shade[:, inside], axis=1, keepdims=True)
    elif defect == "scratch":
        column, row = int(random.integers(200, 700)), _MIDDLE + int(random.integers(-20, 20))
        end = column + int(random.integers(50, 110)), row + int(random.integers(-30, 30))
        cv2.line(shade, (column, row), end, (float(random.choice([0.3, 1.8])),), 9)
    else:
        place = int(random.integers(120, 760)), _MIDDLE + int(random.integers(-18, 18))
        cv2.circle(shade, place, int(random.integers(13, 22)), (float(random.choice([0.35, 1.7])),), -1)
