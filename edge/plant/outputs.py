"""What tells other programs of the plant how the line is, as the settings ask for it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from edge.core.alarms import MONITORING
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Frame, Verdict
from edge.core.sections import MetricsSettings
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.sink import Filed
from edge.plant.state import LineInfo, LineStateKeeper
from edge.plant.status_file import StatusFile
from edge.system.extras import require

if TYPE_CHECKING:
    from edge.plant.metrics import MetricsServer
    from edge.plant.signals import LineSignals


class LineOutputs:
    """A sink: the line's state, and those who pass it on. filed: see LineStateKeeper.

    alarms: where an alarm goes when a port cannot be had: the line inspects nevertheless.
    """

    def __init__(
        self,
        settings: Settings,
        info: LineInfo,
        counters: RunCounters,
        filed: Callable[[], Filed | None],
        alarms: AlarmLog,
    ) -> None:
        self._keeper = LineStateKeeper(info, counters, filed)
        directory = settings.line.run_directory
        self._status = None if directory is None else StatusFile(Path(directory), lambda: self._keeper.state)
        self._metrics = self._metrics_server(settings.metrics, alarms)

    def follow(self, info: LineInfo) -> None:
        """Tell of another product from here on; from any thread."""
        self._keeper.info = info

    def write(self, frame: Frame, verdict: Verdict) -> None:
        self._keeper.write(frame, verdict)

    def close(self) -> None:
        """Pass the last state on."""
        self._keeper.close()
        for output in (self._status, self._metrics):
            if output is not None:
                output.close()

    def _metrics_server(self, settings: MetricsSettings, alarms: AlarmLog) -> MetricsServer | None:
        if settings.port is None:
            return None
        # a web server takes some of the time to the first verdict, and few lines want one
        from edge.plant.metrics import MetricsServer

        try:
            return MetricsServer(settings.address, settings.port, lambda: self._keeper.state)
        except OSError as error:
            what = f"no metrics: {settings.address}, port {settings.port}: {error.strerror or error}"
            alarms.begin(MONITORING, what, "change metrics.port or metrics.address, and restart")
            return None


def line_outputs(
    settings: Settings,
    info: LineInfo,
    counters: RunCounters,
    filed: Callable[[], Filed | None],
    alarms: AlarmLog,
) -> LineOutputs | None:
    """None where the settings ask for nothing: then it costs nothing."""
    wanted = settings.line.run_directory is not None or settings.metrics.port is not None
    return LineOutputs(settings, info, counters, filed, alarms) if wanted else None


def line_signals(
    settings: Settings,
    counters: RunCounters,
    alarms: AlarmLog,
    fire: Callable[[str, str], int] | None = None,
    use_recipe: Callable[[int], None] | None = None,
    *,
    challenge_watched: bool = False,
) -> LineSignals | None:
    """PLC and digital outputs; None where the settings ask for neither. fire, ...: see PlcLink."""
    if settings.plc.port is None and settings.outputs.chip is None:
        return None
    from edge.plant.signals import LineSignals

    return LineSignals(settings, counters, alarms, fire, use_recipe, challenge_watched=challenge_watched)


def require_packages(settings: Settings) -> None:
    """Raise MissingDependency where the settings ask for what is not installed."""
    wanted = {
        "metrics": settings.metrics.port is not None,
        "plc": settings.plc.port is not None,
        "gpio": settings.outputs.chip is not None,
    }
    for extra in wanted:
        if wanted[extra]:
            require(extra)
