"""Is this picture worth judging? Checks on content, with the little memory they need; no clock, no I/O."""

from __future__ import annotations

import cv2
import numpy as np

from edge.core.config import FreshnessSettings
from edge.core.datatypes import U8, Fault, Reason

# every 8th row decides most pictures: a count in the sample is a lower bound for the count in the picture
SAMPLE_ROWS = 8
COMPARED_ROWS = 32


class FreshnessCheck:
    """Look at every picture of one source, in order.

    live: cameras and streams, which can freeze and whose size must not change; a pile of files may show a part twice.
    """

    def __init__(self, settings: FreshnessSettings, live: bool) -> None:
        self._settings = settings
        self._live = live
        self._previous: U8 | None = None
        self._identical = 0
        self._size: tuple[int, int] | None = None
        if settings.expected_height_px is not None and settings.expected_width_px is not None:
            self._size = (settings.expected_height_px, settings.expected_width_px)
        self._size_origin = "as freshness.expected_width_px and expected_height_px say"

    def fault(self, image: U8) -> Fault | None:
        """What is wrong with this picture, or None. Keeps a reference to it until the next call."""
        try:
            return self._found(image)
        # a picture that cannot be looked at is not judged; the next one may be smaller
        except (MemoryError, cv2.error) as error:
            return Fault(Reason.UNDECODABLE, f"the picture cannot be checked: {str(error) or 'not enough memory'}")

    def _found(self, image: U8) -> Fault | None:
        # first of all, since the count of identical pictures must see every one
        identical = self._count_identical(image)
        fault = self._wrong_size(image)
        if fault is None and not self._plainly_lit(image):
            fault = self._black(image) or self._saturated(image)
        if fault is None and self._live and 0 < self._settings.max_identical_frames < identical:
            limit = self._settings.max_identical_frames
            detail = f"{identical} identical pictures in a row; freshness.max_identical_frames believes {limit}"
            fault = Fault(Reason.FROZEN, detail)
        if fault is None and self._live and self._size is None:
            self._size = (image.shape[0], image.shape[1])
            self._size_origin = "as the first one (or set freshness.expected_width_px and expected_height_px)"
        return fault

    def _count_identical(self, image: U8) -> int:
        if not self._live or self._settings.max_identical_frames == 0:
            return 0
        self._identical = self._identical + 1 if _same(self._previous, image) else 1
        self._previous = image
        return self._identical

    def _wrong_size(self, image: U8) -> Fault | None:
        height, width = image.shape[:2]
        if self._size is None or self._size == (height, width):
            return None
        detail = f"{width}x{height} px; it must be {self._size[1]}x{self._size[0]} px, {self._size_origin}"
        return Fault(Reason.WRONG_SIZE, detail)

    def _plainly_lit(self, image: U8) -> bool:
        """Whether the sampled rows alone have so many grey levels in between that it is neither black nor saturated."""
        settings, pixels = self._settings, image.shape[0] * image.shape[1]
        between = cv2.inRange(grey_of(image[::SAMPLE_ROWS]), settings.black_level, settings.saturated_level)
        return bool(cv2.countNonZero(between) > max(settings.black_share, 1 - settings.saturated_share) * pixels)

    def _black(self, image: U8) -> Fault | None:
        level, share = self._settings.black_level, self._settings.black_share
        allowed = share * image.shape[0] * image.shape[1]
        bright = int(np.count_nonzero(grey_of(image) >= level))
        if bright > allowed:
            return None
        detail = (
            f"{_percent(bright, image)} of the picture reaches grey level {level} (freshness.black_level); "
            f"freshness.black_share wants more than {100 * share:.3g} %"
        )
        return Fault(Reason.BLACK, detail)

    def _saturated(self, image: U8) -> Fault | None:
        level, share = self._settings.saturated_level, self._settings.saturated_share
        pixels = image.shape[0] * image.shape[1]
        saturated = int(np.count_nonzero(grey_of(image) > level))
        if saturated <= share * pixels:
            return None
        detail = (
            f"{_percent(saturated, image)} of the picture is above grey level {level} (freshness.saturated_level); "
            f"freshness.saturated_share allows {100 * share:.3g} %"
        )
        return Fault(Reason.SATURATED, detail)


def _same(previous: U8 | None, image: U8) -> bool:
    if previous is None or previous.shape != image.shape:
        return False
    sampled = previous[::COMPARED_ROWS], image[::COMPARED_ROWS]
    return bool(cv2.norm(*sampled, cv2.NORM_INF) == 0 and cv2.norm(previous, image, cv2.NORM_INF) == 0)


def grey_of(image: U8) -> U8:
    """The grey levels that the checks count."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), np.uint8)


def _percent(count: int, image: U8) -> str:
    return f"{100 * count / (image.shape[0] * image.shape[1]):.3g} %"
