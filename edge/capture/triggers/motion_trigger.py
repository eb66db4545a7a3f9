"""When is there a new part to look at, and does it lie still? By pictures alone, for lines without a trigger."""

from __future__ import annotations

import cv2
import numpy as np

from edge.core.datatypes import U8

SMALL_SIDE = 32
# two small pictures of the same moment differ by less than this: what sensor noise leaves of itself in them
SAME_LEVELS = 0.8
# share by which light flickers between two pictures
_FLICKER = 0.07
# how long, and in how many pictures, a part must not have moved
STILL_S, _STILL_PICTURES = 0.3, 3
# what lasts shorter is a flicker of the light or a damaged picture, and no movement
_BLINK_S = 0.1


class MotionTrigger:
    """Look at every picture of one source, in order; says once of each part that it is there and lies still.

    A part is new when something has moved since the last one. moving_since_s: when the unrest began that has not come
    to rest yet; None while all lies still. short_stops: how often something stopped, and moved on too soon. stopped_s:
    when the last stop ended that may be one of them.
    """

    def __init__(self) -> None:
        self._previous: U8 | None = None
        self._still_since_s = 0.0
        self._still_pictures = 0
        self._moved = True
        self.moving_since_s: float | None = None
        self.short_stops = 0
        self.stopped_s: float | None = None

    def is_new_and_still(self, picture: U8, at_s: float) -> bool:
        """picture: uint8 (H, W, 3) BGR. at_s: when it was taken, on a clock that only goes on."""
        small = shrunk(picture)
        previous, self._previous = self._previous, small
        if previous is None or levels_apart(small, previous) > SAME_LEVELS:
            if self._moved and self._still_pictures >= _STILL_PICTURES:
                self.stopped_s = at_s
            elif self.stopped_s is not None and at_s - self.stopped_s >= _BLINK_S:
                self.short_stops, self.stopped_s = self.short_stops + 1, None
            self._moved = True
            self._still_since_s, self._still_pictures = at_s, 1
            if self.moving_since_s is None:
                self.moving_since_s = at_s
            return False
        self._still_pictures += 1
        if self._still_pictures >= _STILL_PICTURES:
            self.stopped_s = None
        still = self._still_pictures >= _STILL_PICTURES and at_s - self._still_since_s >= STILL_S
        if still:
            self.moving_since_s = None
        new, self._moved = still and self._moved, self._moved and not still
        return new


def shrunk(picture: U8) -> U8:
    """The picture at 32 x 32."""
    return np.asarray(cv2.resize(picture, (SMALL_SIDE, SMALL_SIDE), interpolation=cv2.INTER_AREA), np.uint8)


def levels_apart(one: U8, other: U8) -> float:
    """Root mean square difference of two small pictures, in levels; a flicker of the light does not count."""
    a, b = (values.astype(np.float32).ravel() - values.mean() for values in (one, other))
    gain = float(np.clip(a @ b / max(float(b @ b), 1.0), 1 - _FLICKER, 1 + _FLICKER))
    return float(np.sqrt(((a - gain * b) ** 2).mean()))


def same_moment_slack(small_rms: float) -> float:
    """Upper bound, in levels, of how far two pictures of the same moment lie apart before flicker is taken out."""
    return SAME_LEVELS + _FLICKER * small_rms
