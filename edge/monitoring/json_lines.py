"""One JSON object per verdict on a stream, for programs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TextIO

from edge.core.counters import RunCounters
from edge.core.datatypes import Frame, Verdict
from edge.core.files.text_names import storable
from edge.core.local_time import local_iso
from edge.monitoring.sink import Filed


class JsonLines:
    """Print `Verdict.as_json` per line, flushed, so that a reader on a pipe sees each verdict at once.

    broken: called with the reason, once, when the stream takes no more: the reader has gone, or the disk behind it is
    full. Nothing is written after that, and `counters.undelivered` counts. filed: where the last verdict is kept; asked
    after the recorder has it.
    """

    def __init__(
        self,
        stream: TextIO,
        counters: RunCounters,
        broken: Callable[[str], None],
        filed: Callable[[], Filed | None] = lambda: None,
    ) -> None:
        self._stream = stream
        self._counters = counters
        self._on_broken = broken
        self._filed = filed
        self._is_broken = False

    def write(self, frame: Frame, verdict: Verdict) -> None:
        if self._is_broken:
            self._counters.undelivered += 1
            return
        try:
            self._stream.write(json.dumps(self._values(frame, verdict)) + "\n")
            self._stream.flush()
        # a stream that was closed in this process raises ValueError
        except (OSError, ValueError) as error:
            self._is_broken = True
            self._counters.undelivered += 1
            gone = isinstance(error, (BrokenPipeError, ValueError))
            self._on_broken("its reader has gone" if gone else getattr(error, "strerror", None) or str(error))

    def _values(self, frame: Frame, verdict: Verdict) -> dict[str, Any]:
        filed = self._filed()
        return {
            "id": None if filed is None else filed.number,
            "time": local_iso(frame.utc),
            **verdict.as_json(storable(frame.source), frame.part),
            "detail": storable(verdict.detail),
            "picture": None if filed is None or filed.picture is None else storable(filed.picture),
        }

    def close(self) -> None: ...
