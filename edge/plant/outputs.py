"""What tells other programs of the plant how the line is, as the settings ask for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Frame, Verdict
from edge.monitoring.sink import Filed
from edge.plant.state import LineInfo, LineStateKeeper
from edge.plant.status_file import StatusFile


class LineOutputs:
    """A sink: the line's state, and those who pass it on. filed: see LineStateKeeper."""

    def __init__(
        self, settings: Settings, info: LineInfo, counters: RunCounters, filed: Callable[[], Filed | None]
    ) -> None:
        self._keeper = LineStateKeeper(info, counters, filed)
        directory = settings.line.run_directory
        self._status = None if directory is None else StatusFile(Path(directory), lambda: self._keeper.state)

    def write(self, frame: Frame, verdict: Verdict) -> None:
        self._keeper.write(frame, verdict)

    def close(self) -> None:
        """Pass the last state on."""
        self._keeper.close()
        if self._status is not None:
            self._status.close()


def line_outputs(
    settings: Settings, info: LineInfo, counters: RunCounters, filed: Callable[[], Filed | None]
) -> LineOutputs | None:
    """None where the settings ask for nothing: then it costs nothing."""
    return None if settings.line.run_directory is None else LineOutputs(settings, info, counters, filed)
