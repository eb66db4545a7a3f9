"""Grey plates with dark scratches that are defects and bright glints that are not; and z-maps to match."""

import cv2
import numpy as np

SIDE = 96


def good_plate(seed: int) -> np.ndarray:
    """uint8 (SIDE, SIDE, 3) BGR, grey with grain."""
    random = np.random.default_rng(seed)
    grey = 130 + random.normal(0, 3, (SIDE, SIDE)) + random.normal(0, 2)
    return np.repeat(np.clip(grey, 0, 255).astype(np.uint8)[..., None], 3, 2)


def bad_plate(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A plate with one dark scratch and two bright glints, and the mask of the scratch."""
    random = np.random.default_rng([seed, 1])
    picture = good_plate(seed)
    mask = np.zeros((SIDE, SIDE), np.uint8)
    start = random.integers(15, SIDE - 55, 2)
    cv2.line(mask, start.tolist(), (start + random.integers(25, 40, 2)).tolist(), 1, 5)
    picture[mask > 0] = np.clip(picture[mask > 0].astype(int) - 70, 0, 255)
    near = cv2.dilate(mask, np.ones((15, 15), np.uint8))
    glints = 0
    while glints < 2:
        glint = np.zeros_like(mask)
        cv2.circle(glint, random.integers(12, SIDE - 12, 2).tolist(), 6, 1, -1)
        if not near[glint > 0].any():
            picture[glint > 0] = 230
            glints += 1
    return picture, mask > 0


def zmap(picture: np.ndarray) -> np.ndarray:
    """What a reconstructor that knows plain plates only would leave: smoothed deviation from grey, in its spreads."""
    deviation = np.abs(picture[..., 0].astype(np.float32) - 130)
    return cv2.GaussianBlur(deviation, (0, 0), 1.0) / np.float32(4)


def iou(found: np.ndarray, wanted: np.ndarray) -> float:
    return float((found & wanted).sum() / (found | wanted).sum())
