"""Output lines of the kernel's GPIO by gpiod 2 (LGPL-2.1-or-later); the only file that knows gpiod."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from edge.plant.digital_outputs import Output

_CONSUMER = "edge-inspect"


class GpioLines:
    """Lines of one chip, all of them off until they are set. Raises OSError where they cannot be had."""

    def __init__(self, chip: Path, offsets: Mapping[Output, int]) -> None:
        import gpiod
        from gpiod.line import Direction, Value

        off = gpiod.LineSettings(direction=Direction.OUTPUT, output_value=Value.INACTIVE)
        self._offsets = dict(offsets)
        self._values = {False: Value.INACTIVE, True: Value.ACTIVE}
        self._request = gpiod.request_lines(
            str(chip), consumer=_CONSUMER, config=dict.fromkeys(self._offsets.values(), off)
        )

    def set(self, output: Output, on: bool) -> None:
        """Nothing for an output that has no line. Raises OSError."""
        offset = self._offsets.get(output)
        if offset is not None:
            self._request.set_value(offset, self._values[on])

    def close(self) -> None:
        self._request.release()
