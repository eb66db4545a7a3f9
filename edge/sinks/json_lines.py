"""One JSON object per verdict on a stream, for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TextIO

from edge.datatypes import Frame, Verdict
from edge.local_time import local_iso
from edge.sinks.base import Filed


class JsonLines:
    """Print `Verdict.as_json` per line, flushed, so that a reader on a pipe sees each verdict at once.

    request_stop: called once, when the reader has gone; nothing is written after that. filed: where the last verdict is
    kept; ask it after the recorder.
    """

    def __init__(
        self, stream: TextIO, request_stop: Callable[[], None], filed: Callable[[], Filed | None] = lambda: None
    ) -> None:
        self._stream = stream
        self._request_stop = request_stop
        self._filed = filed
        self._broken = False

    def write(self, frame: Frame, verdict: Verdict) -> None:
        if self._broken:
            return
        try:
            self._stream.write(json.dumps(self._told(frame, verdict)) + "\n")
            self._stream.flush()
        # a stream that was closed in this process raises ValueError
        except (BrokenPipeError, ValueError):
            self._broken = True
            self._request_stop()

    def _told(self, frame: Frame, verdict: Verdict) -> dict[str, Any]:
        filed = self._filed()
        return {
            "id": None if filed is None else filed.number,
            "time": local_iso(frame.utc),
            **verdict.as_json(frame.source),
            "picture": None if filed is None else filed.picture,
        }

    def close(self) -> None: ...
