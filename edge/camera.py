"""Where frames come from."""

from __future__ import annotations

from typing import Protocol

from edge.datatypes import Frame


class FrameSource(Protocol):
    """A camera, a stream or a pile of files.

    name: safe to show and store (credentials removed). live: time does not wait for the reader; frames may be dropped.
    """

    name: str
    live: bool

    def read(self) -> Frame | None:
        """The next frame, or None at the end of a file source.

        A picture that exists but cannot be used comes as a Frame with a fault. Raises CameraError when a live source is lost.
        """

    def close(self) -> None: ...
