"""What a line tells the machine that moves its parts: a PLC by Modbus TCP, and digital outputs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from edge.core.alarms import MONITORING
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Frame, Verdict
from edge.monitoring.alarm_log import AlarmLog
from edge.plant.digital_outputs import DigitalOutputs, Output
from edge.plant.plc.condition import BEAT_WITHIN_S
from edge.plant.plc.link import FirePart, PlcLink


class LineSignals:
    """A sink: the first one of a line, since parts wait for it.

    Where a PLC asks for parts, an output follows the results that the PLC is shown, and not every verdict. fire,
    use_recipe, challenge_watched: see PlcLink.
    """

    def __init__(
        self,
        settings: Settings,
        counters: RunCounters,
        alarms: AlarmLog,
        fire: FirePart | None,
        use_recipe: Callable[[int], None] | None,
        *,
        challenge_watched: bool,
    ) -> None:
        self._outputs = _digital_outputs(settings, counters, alarms)
        show = None if self._outputs is None else self._outputs.show
        self._show_verdict: Callable[[Decision], None] | None = show if fire is None else None
        self._plc = None
        if settings.plc.port is not None:
            shown = None if fire is None else show
            self._plc = PlcLink(
                settings, counters, alarms, fire, use_recipe, shown, challenge_watched=challenge_watched
            )

    def write(self, frame: Frame, verdict: Verdict) -> None:
        if self._plc is not None:
            self._plc.write(frame, verdict)
        if self._show_verdict is not None:
            self._show_verdict(verdict.decision)

    def follow(self, settings: Settings) -> None:
        """Another product comes from the next trigger on, with these settings; from any thread."""
        if self._plc is not None:
            self._plc.follow(settings)

    def close(self) -> None:
        """Outputs off first: they have no heartbeat that stops."""
        for signals in (self._outputs, self._plc):
            if signals is not None:
                signals.close()


def _digital_outputs(settings: Settings, counters: RunCounters, alarms: AlarmLog) -> DigitalOutputs | None:
    outputs = settings.outputs
    if outputs.chip is None:
        return None
    from edge.plant.gpio_lines import GpioLines

    numbers = {Output.OK: outputs.ok_line, Output.NG: outputs.ng_line, Output.HEARTBEAT: outputs.heartbeat_line}
    try:
        lines = GpioLines(Path(outputs.chip), {output: n for output, n in numbers.items() if n is not None})
    except (OSError, ValueError) as error:
        what = f"no digital outputs: {outputs.chip}: {getattr(error, 'strerror', None) or error}; OK stays off"
        alarms.begin(MONITORING, what, "check outputs.chip and its lines, and the right to use them; then restart")
        return None

    def alive() -> bool:
        age_s = counters.beat_age_s()
        return age_s is not None and age_s < BEAT_WITHIN_S

    return DigitalOutputs(lines, outputs.ok_ms / 1000, alive, alarms)
