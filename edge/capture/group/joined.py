"""The pictures that the cameras of a group took of one part, as one frame with one picture, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from edge.core.datatypes import U8, CameraView, Fault, Frame, Reason

_GREY = 96
# height and width of a camera's place before its first picture, where no other camera has one either
_FIRST_PLACE = (120, 160)


class Joiner:
    """Joins frames of the same cameras, again and again: a camera without a picture keeps the place it had.

    source: of the frames that it makes; None: those of the cameras' frames.
    """

    def __init__(self, names: Sequence[str], source: str | None = None) -> None:
        self._names, self._source = tuple(names), source
        self._sizes: dict[str, tuple[int, int]] = {}

    def joined(self, index: int, frames: Sequence[Frame], doubt: Fault | None = None) -> Frame:
        """One frame of those that the cameras took of a part, in the order of the names.

        Its `views` are windows into its picture, so that each picture is in memory once. Without any picture it has a
        fault, which names the cameras. doubt: why these pictures must not be judged together.
        """
        present = [frame.image for frame in frames if frame.image is not None]
        for name, frame in zip(self._names, frames, strict=True):
            if frame.image is not None:
                self._sizes[name] = (frame.image.shape[0], frame.image.shape[1])
        image = self._canvas(frames) if present else None
        views, x = [], 0
        for name, frame in zip(self._names, frames, strict=True):
            height, width = self._place(name)
            own = frame if frame.image is None or image is None else replace(frame, image=image[:height, x : x + width])
            views.append(CameraView(name, replace(own, index=index, original=None), x, width, height))
            x += width
        seen = [frame for frame in frames if frame.image is not None] or list(frames)
        oldest = min(seen, key=lambda frame: frame.captured_ns)
        source = self._source or ", ".join(
            f"{name}: {frame.source}" for name, frame in zip(self._names, frames, strict=True)
        )
        fault = doubt if image is not None else doubt or self._why_none(frames)
        return Frame(
            index, oldest.captured_ns, oldest.utc, source, image, fault, part=frames[0].part, views=tuple(views)
        )

    def _canvas(self, frames: Sequence[Frame]) -> U8:
        places = [self._place(name) for name in self._names]
        canvas = np.empty((max(height for height, _ in places), sum(width for _, width in places), 3), np.uint8)
        x = 0
        for frame, (height, width) in zip(frames, places, strict=True):
            if frame.image is None:
                canvas[:, x : x + width] = _GREY
            else:
                canvas[:height, x : x + width] = frame.image
                canvas[height:, x : x + width] = _GREY
            x += width
        return canvas

    def _place(self, name: str) -> tuple[int, int]:
        """(height, width): as the camera's last picture, else as another's."""
        return self._sizes.get(name) or next(iter(self._sizes.values()), _FIRST_PLACE)

    def _why_none(self, frames: Sequence[Frame]) -> Fault:
        faults = [frame.fault for frame in frames if frame.fault is not None]
        text = "; ".join(
            f"camera {name}: {frame.fault.detail}"
            for name, frame in zip(self._names, frames, strict=True)
            if frame.fault is not None
        )
        return Fault(faults[0].reason if faults else Reason.NO_FRAME, text)
