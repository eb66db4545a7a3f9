"""One JSON object per verdict on a stream, for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import TextIO

from edge.datatypes import Frame, Verdict


class JsonLines:
    """Print `Verdict.as_json` per line, flushed, so that a reader on a pipe sees each verdict at once.

    request_stop: called once, when the reader has gone; nothing is written after that.
    """

    def __init__(self, stream: TextIO, request_stop: Callable[[], None]) -> None:
        self._stream = stream
        self._request_stop = request_stop
        self._broken = False

    def write(self, frame: Frame, verdict: Verdict) -> None:
        if self._broken:
            return
        try:
            self._stream.write(json.dumps(verdict.as_json(frame.source)) + "\n")
            self._stream.flush()
        # a stream that was closed in this process raises ValueError
        except (BrokenPipeError, ValueError):
            self._broken = True
            self._request_stop()

    def close(self) -> None: ...
