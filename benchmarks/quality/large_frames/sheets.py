"""Large frames, drawn: brushed sheets of metal, good ones and such with one defect."""

from __future__ import annotations

import cv2
import numpy as np

from edge.core.datatypes import U8

KINDS = ("scratch", "spot", "dent")
_GREY, _MOTTLE, _BRUSH, _LIGHT, _NOISE = 128.0, 6.0, 9.0, 12.0, 2.5
# of a defect against the sheet, in grey levels
_CONTRAST = 55.0


def drawn_sheet(seed: int, height: int, width: int) -> U8:
    """A brushed sheet of metal under slightly uneven light, uint8 (height, width, 3) BGR; no two are alike."""
    random = np.random.default_rng(seed)
    coarse = random.normal(0, 1, (height // 64 + 2, width // 64 + 2)).astype(np.float32)
    mottle = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    brush = cv2.blur(random.standard_normal((height, width), np.float32), (31, 1)) * np.sqrt(31)
    down, across = (np.linspace(-1, 1, side, dtype=np.float32) for side in (height, width))
    slope = random.uniform(-1, 1, 2).astype(np.float32)
    light = slope[0] * down[:, None] + slope[1] * across[None]
    grey = _GREY + _MOTTLE * mottle + _BRUSH * brush + _LIGHT * light
    noise = random.standard_normal((height, width, 3), np.float32) * _NOISE
    drawn: U8 = np.clip(np.rint(grey[..., None] + noise), 0, 255).astype(np.uint8)
    return drawn


def with_spot(picture: U8, x: float, y: float, length_px: float) -> U8:
    """The picture, uint8 (H, W, 3) BGR, with a dark spot of this length about (x, y)."""
    cover = np.zeros(picture.shape[:2], np.float32)
    cv2.circle(cover, (round(x), round(y)), max(1, round(length_px / 2)), (1.0,), cv2.FILLED)
    drawn: U8 = np.clip(np.rint(picture - _CONTRAST * cv2.GaussianBlur(cover, (0, 0), 1.0)[..., None]), 0, 255).astype(
        np.uint8
    )
    return drawn


def with_defect(sheet: U8, kind: str, length_px: float, seed: int) -> U8:
    """The sheet with one defect of this length, somewhere."""
    random = np.random.default_rng((seed, 1))
    margin = int(length_px) + 8
    height, width = sheet.shape[:2]
    x, y = random.integers(margin, width - margin), random.integers(margin, height - margin)
    cover = np.zeros((height, width), np.float32)
    if kind == "scratch":
        turn = random.uniform(0, np.pi)
        half = length_px / 2 * np.array([np.cos(turn), np.sin(turn)])
        ends = [tuple(int(v) for v in np.rint(16 * (np.array([x, y]) + sign * half))) for sign in (-1, 1)]
        cv2.line(cover, ends[0], ends[1], (1.0,), max(1, round(length_px / 8)), cv2.LINE_AA, 4)
    else:
        cv2.circle(cover, (int(x), int(y)), max(1, round(length_px / 2)), (1.0,), cv2.FILLED)
    cover = cv2.GaussianBlur(cover, (0, 0), 1.0 if kind != "dent" else max(1.0, length_px / 6))
    sign = 1 if kind == "dent" else -1
    drawn: U8 = np.clip(np.rint(sheet + sign * _CONTRAST * cover[..., None]), 0, 255).astype(np.uint8)
    return drawn
