"""A relay that is energised only for a good part: what is on when, and that nothing leaves it on."""

import threading

import pytest

from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.monitoring.alarm_log import AlarmLog
from edge.plant.digital_outputs import STEP_S, DigitalOutputs, Output, Pulses
from tests.fakes import eventually

OK, NG, HEARTBEAT = Output.OK, Output.NG, Output.HEARTBEAT
PULSE_S = 0.35


def signals(outputs):
    return outputs - {HEARTBEAT}


def test_a_good_part_has_a_pulse_and_no_other_part_has():
    for decision, output in ((Decision.OK, OK), (Decision.NG, NG), (Decision.INVALID, NG)):
        pulses = Pulses(PULSE_S)
        assert signals(pulses.step(10.0, True, None)) == set()
        assert signals(pulses.step(10.0, True, (decision, 10.0))) == {output}
        assert signals(pulses.step(10.0 + PULSE_S - 0.01, True, None)) == {output}
        assert signals(pulses.step(10.0 + PULSE_S, True, None)) == set()


def test_a_verdict_ends_the_pulse_of_the_part_before():
    pulses = Pulses(PULSE_S)
    pulses.step(10.0, True, (Decision.OK, 10.0))
    assert signals(pulses.step(10.1, True, (Decision.INVALID, 10.1))) == {NG}
    assert signals(pulses.step(10.2, True, (Decision.OK, 10.2))) == {OK}
    assert signals(pulses.step(10.2 + PULSE_S, True, None)) == set()


def test_ok_goes_off_as_soon_as_inspection_hangs_and_stays_off():
    pulses = Pulses(PULSE_S)
    pulses.step(10.0, True, (Decision.OK, 10.0))
    assert pulses.step(10.1, False, None) == set()
    assert signals(pulses.step(10.2, True, None)) == set()
    assert pulses.step(10.3, False, (Decision.OK, 10.3)) == set()


def test_a_process_that_was_stopped_says_ok_for_nobody():
    pulses = Pulses(PULSE_S)
    assert signals(pulses.step(15.0, True, (Decision.OK, 10.0))) == set()
    pulses.step(20.0, True, (Decision.OK, 20.0))
    assert signals(pulses.step(25.0, True, None)) == set()


def test_the_heartbeat_changes_while_inspection_goes_on_and_is_off_when_it_hangs():
    pulses, seen = Pulses(PULSE_S), []
    for step in range(8):
        seen.append(HEARTBEAT in pulses.step(step * STEP_S * 1.01, True, None))
    assert seen == [True, False] * 4
    assert not any(HEARTBEAT in pulses.step(1 + step * STEP_S * 1.01, False, None) for step in range(5))


def test_the_next_change_is_the_end_of_the_pulse_or_of_the_heartbeat():
    pulses = Pulses(0.03)
    pulses.step(10.0, True, None)
    assert pulses.next_s(10.0) == pytest.approx(10.0 + STEP_S)
    pulses.step(10.0, True, (Decision.OK, 10.0))
    assert pulses.next_s(10.0) == pytest.approx(10.03)
    assert pulses.next_s(11.0) == 11.0


class RecordedLines:
    """Lines that remember what they were set to, and can break."""

    def __init__(self):
        self.states, self.events, self.broken, self.closed = {}, [], False, False
        self._lock = threading.Lock()

    def set(self, output, on):
        if self.broken:
            raise OSError(5, "Input/output error")
        with self._lock:
            self.states[output] = on
            self.events.append((output, on))

    def close(self):
        self.closed = True


@pytest.fixture
def outputs():
    """(outputs, lines, counters) with pulses of 50 ms, of a line that is alive."""
    lines, counters = RecordedLines(), RunCounters()
    made = DigitalOutputs(lines, 0.05, lambda: counters.ok == 0, AlarmLog(counters, lambda alarm: None))
    yield made, lines, counters
    made.close()


def test_lines_begin_off_and_a_pulse_goes_on_and_off_again(outputs):
    made, lines, _ = outputs
    assert eventually(lambda: len(lines.states) == len(Output))
    assert lines.events[0] == (OK, False) and not lines.states[NG]
    made.show(Decision.OK)
    assert eventually(lambda: lines.events.count((OK, False)) == 2)
    assert lines.events.count((OK, True)) == 1 and (NG, True) not in lines.events


def test_closing_leaves_everything_off_in_the_middle_of_a_pulse(outputs):
    made, lines, _ = outputs
    made.show(Decision.OK)
    assert eventually(lambda: lines.states.get(OK) is True)
    made.close()
    assert lines.states == {OK: False, NG: False, HEARTBEAT: False} and lines.closed


def test_lines_that_break_are_one_alarm_until_they_can_be_set_again(outputs):
    made, lines, counters = outputs
    lines.broken = True
    made.show(Decision.OK)
    assert eventually(lambda: bool(counters.alarms.standing()))
    assert "cannot be set: Input/output error" in counters.alarms.standing()[0].what
    lines.broken = False
    assert eventually(lambda: not counters.alarms.standing())
    assert len(counters.alarms.all()) == 1
    assert eventually(lambda: lines.states[OK] is False)


def test_a_chip_that_is_not_there_is_an_alarm_and_the_line_goes_on(tmp_path):
    pytest.importorskip("gpiod", reason="the extra `gpio` is not installed")
    from edge.core.config import Settings
    from edge.plant.outputs import line_signals
    from tests.edge.records.records_fakes import look

    counters = RunCounters()
    settings = Settings.model_validate({"outputs": {"chip": str(tmp_path / "gpiochip9"), "ok_line": 3}})
    signals = line_signals(settings, counters, AlarmLog(counters, lambda alarm: None))
    signals.write(*look(0, Decision.OK))
    signals.close()
    (alarm,) = counters.alarms.standing()
    assert "no digital outputs" in alarm.what and "OK stays off" in alarm.what
