"""Good parts that the line would not judge: counted, listed with the reasons, refused where they are most of them."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np

from edge.capture.freshness import grey_of
from edge.core.config import FreshnessSettings
from edge.core.datatypes import U8, Fault, Reason
from edge.core.errors import UsageError

# rejected pictures that are remembered one by one: a camera can show what is no sample for days
MOST_REMEMBERED = 20_000
# with more of them turned away, it is the setting that does not fit the pictures
_MOST = 0.5


class RejectedImages:
    """Collects pictures that are INVALID by what they show, and what setting would let them pass."""

    def __init__(self, settings: FreshnessSettings, what: str = "pictures of good parts") -> None:
        self._settings = settings
        self._what = what
        self._counts: Counter[Reason] = Counter()
        self._first: dict[Reason, str] = {}
        # of the pictures turned away: their brightest pixels, and the largest share that is saturated
        self._brightest = 255
        self._saturated = 0.0
        self._size = ""

    def __len__(self) -> int:
        return sum(self._counts.values())

    def add(self, name: str, image: U8, fault: Fault) -> None:
        self._counts[fault.reason] += 1
        self._first.setdefault(fault.reason, f"{name}: {fault.detail}")
        grey = grey_of(image)
        if fault.reason is Reason.BLACK:
            # the level that more than black_share of the picture reaches
            beyond = math.floor(self._settings.black_share * grey.size)
            counts = np.cumsum(np.bincount(grey.ravel(), minlength=256)[::-1])
            self._brightest = min(self._brightest, 255 - int(np.argmax(counts > beyond)))
        elif fault.reason is Reason.SATURATED:
            share = float((grey > self._settings.saturated_level).mean())
            self._saturated = max(self._saturated, share)
        elif fault.reason is Reason.WRONG_SIZE:
            self._size = f"{image.shape[1]} and {image.shape[0]}"

    def summary(self, total: int) -> str:
        """3 of 40 pictures would be INVALID on the line, and are left out: 2 saturated (a.png: why), 1 black (...)."""
        reasons = [f"{count} {reason} ({self._first[reason]})" for reason, count in self._counts.items()]
        return f"{len(self)} of {total} {self._what} would be INVALID on the line, and are left out: " + ", ".join(
            reasons
        )

    def refuse_most(self, total: int, fitting_sensor_bits: int | None = None) -> None:
        """Raises UsageError, naming the setting and a value that fits, when most of the parts were turned away."""
        if len(self) > _MOST * total:
            raise UsageError(self.summary(total), fix=self.advice(fitting_sensor_bits))

    def advice(self, fitting_sensor_bits: int | None = None) -> str:
        """Which setting to change, and to what, for these pictures to pass.

        fitting_sensor_bits: what camera.sensor_bits should be, where too many of them make pictures dark.
        """
        if fitting_sensor_bits is not None:
            return f"set camera.sensor_bits: {fitting_sensor_bits} in config.yaml, here and on the line"
        values = []
        if Reason.BLACK in self._counts:
            values.append(_black_level(self._brightest))
        if Reason.SATURATED in self._counts:
            values.append(_saturated_share(self._saturated))
        if Reason.WRONG_SIZE in self._counts:
            values.append(f"freshness.expected_width_px and expected_height_px: {self._size}")
        return (
            f"if they are right as they are, set {', '.join(values)} in config.yaml, here and on the line; "
            "if not, change light or exposure and take them again"
        )


def _black_level(brightest: int) -> str:
    level = math.floor(0.75 * brightest)
    return f"freshness.black_level: {level}" + (" (which switches the check off)" if level == 0 else "")


def _saturated_share(largest: float) -> str:
    # half of what is left to a picture without anything in it
    share = math.ceil((1 + largest) / 2 * 1e4) / 1e4
    return f"freshness.saturated_share: {share:g}" + (" (which switches the check off)" if share >= 1 else "")
