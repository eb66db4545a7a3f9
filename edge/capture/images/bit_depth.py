"""Does camera.sensor_bits fit? A picture of 12 bits that is read as one of 16 is dark, and not otherwise wrong."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# 16-bit pictures after which a camera of fewer bits is believed
_ENOUGH = 3
_FEWER_BITS = (10, 12, 14)


class BitDepth:
    """Looks at every 16-bit picture of one source, before it is cut to eight bits."""

    def __init__(self, sensor_bits: int) -> None:
        self._sensor_bits = sensor_bits
        self._pictures = 0
        self._largest = 0
        self._noticed = False

    def see(self, buffer: NDArray[Any]) -> str | None:
        """A message for a person, once; None for pictures of eight bits and while the setting fits."""
        if buffer.dtype != np.uint16:
            return None
        self._pictures += 1
        self._largest = max(self._largest, int(buffer.max()))
        bits = self.fitting_bits()
        if self._noticed or bits is None or self._pictures < _ENOUGH:
            return None
        self._noticed = True
        return (
            f"the first {self._pictures} pictures of 16 bits reach grey value {self._largest} at most, and are seen "
            f"dark: camera.sensor_bits: {bits} fits them"
        )

    def fitting_bits(self) -> int | None:
        """The bits that hold every picture so far, where camera.sensor_bits counts more of them."""
        fitting = next((bits for bits in _FEWER_BITS if not self._largest >> bits), None)
        return fitting if self._pictures and fitting is not None and fitting < self._sensor_bits else None
