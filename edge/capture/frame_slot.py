"""The place between the grab thread and the loop: room for one frame, the newest."""

from __future__ import annotations

import threading

from edge.core.datatypes import Frame


class NewestFrameSlot:
    """Room for one frame between two threads.

    keep_all: `put` waits for the room instead of replacing what waits there; for sources that lose nothing.
    """

    def __init__(self, keep_all: bool = False) -> None:
        self.dropped = 0
        self._keep_all = keep_all
        self._changed = threading.Condition()
        self._frame: Frame | None = None
        self._closed = False

    @property
    def waiting(self) -> Frame | None:
        """The frame that `take` would return, left in its place."""
        return self._frame

    def put(self, frame: Frame) -> None:
        """Offer a frame; after `close` it is discarded."""
        with self._changed:
            if self._keep_all:
                self._changed.wait_for(lambda: self._frame is None or self._closed)
            if self._closed:
                return
            if self._frame is not None:
                self.dropped += 1
            self._frame = frame
            self._changed.notify_all()

    def take(self, timeout_s: float = 0.0) -> Frame | None:
        """Remove and return the frame, waiting for one at most timeout_s, or until `wake`; None when none came."""
        with self._changed:
            if self._frame is None and timeout_s > 0 and not self._closed:
                self._changed.wait(timeout_s)
            frame, self._frame = self._frame, None
            if frame is not None and self._keep_all:
                self._changed.notify_all()
            return frame

    def wake(self) -> None:
        """Let a waiting `take` return with what there is."""
        with self._changed:
            self._changed.notify_all()

    def close(self) -> None:
        """Release everyone who waits; frames put from now on are discarded."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
