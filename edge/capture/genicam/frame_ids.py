"""How many pictures are missing between two that came, by the count that the camera gives each."""

from __future__ import annotations

from dataclasses import dataclass

# GigE cameras count to here and go on with 1; a few use 0
LARGEST_16_BIT = 0xFFFF
# a step beyond this is no gap: the camera's count began anew, or the buffer's header was lost
_LARGEST_STEP = 0x8000
# an incomplete buffer may lack its header and carry an older one, so only a small step is believed
_LARGEST_STEP_OF_INCOMPLETE = 64


@dataclass(frozen=True)
class Gap:
    """Pictures that the camera took and that never came. count: None when the camera's count jumped back."""

    count: int | None
    before: int
    after: int


class FrameIds:
    """The ids of one opening, in the order in which buffers came.

    A buffer whose id cannot be believed stands for one picture of the next gap. Ids of 16 bits begin anew after 65535.
    """

    def __init__(self) -> None:
        self._last: int | None = None
        self._unplaced = 0
        self._uses_zero = False
        self._repeats = 0

    @property
    def useless(self) -> bool:
        """The camera gives its pictures one and the same id, or none, so that no gap can be seen."""
        return self._repeats >= 2

    def gap_before(self, frame_id: int | None, *, complete: bool) -> Gap | None:
        """What is missing before this buffer; None when nothing is, as far as it can be known."""
        last = self._last
        if frame_id is None:
            self._unplaced += 1
            self._repeats += complete
            return None
        self._uses_zero = self._uses_zero or frame_id == 0
        if last is None:
            self._last = frame_id
            return None
        step = self._step(last, frame_id)
        if not complete and not 0 < step <= _LARGEST_STEP_OF_INCOMPLETE:
            self._unplaced += 1
            return None
        if step == 0:
            self._repeats += 1
            return None
        self._repeats = 0
        missing = step - 1 - self._unplaced
        self._last, self._unplaced = frame_id, 0
        if not 0 < step <= _LARGEST_STEP:
            return Gap(None, last, frame_id)
        return Gap(missing, last, frame_id) if missing > 0 else None

    def _step(self, last: int, frame_id: int) -> int:
        """How many ids further, backwards below 0."""
        step = frame_id - last
        wrapped = step + LARGEST_16_BIT + self._uses_zero
        if step < 0 and last <= LARGEST_16_BIT and wrapped <= _LARGEST_STEP:
            return wrapped
        return step
