"""A real Modbus client against the server in a line's process."""

import socket
import threading
import time
from dataclasses import replace
from datetime import datetime, timezone

import pytest

from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Frame, Part
from edge.core.errors import MissingDependency
from edge.monitoring.alarm_log import AlarmLog
from edge.plant.outputs import line_signals, require_packages
from edge.plant.plc.link import PlcLink, part_result, result_within_ms
from edge.plant.plc.register_map import INPUTS, ORDERS, ORDERS_AT, ErrorCode, Order, Status, decode_inputs
from tests.edge.plant.plc.triggered_line import SETTINGS, settings_at, verdict_of
from tests.fakes import WAIT_S, eventually, picture

client_module = pytest.importorskip("pymodbus.client", reason="the extra `plc` is not installed")

T, A = Order.TRIGGER, Order.RESULT_ACK
NOTHING = Order(0)


def test_a_plc_gets_the_result_of_each_part_it_asks_for(line, plc):
    found = {"7": Decision.OK, "8": Decision.NG, "9": Decision.INVALID}
    running = line(found.get)
    ours = plc(running)
    shown = ours.inspect(7, lot="LOT-1")
    assert shown.passes(7) and (shown.sequence, shown.latency_ms, shown.score_per_mille) == (1, 6, 800)
    assert running.fired[0] == Part("7", "LOT-1", 1)
    shown = ours.inspect(8)
    assert (shown.part_id, shown.decision, shown.reason, shown.passes(8)) == (8, 2, 2, False)
    shown = ours.inspect(9)
    assert (shown.part_id, shown.decision, shown.reason, shown.error) == (9, 3, 12, ErrorCode.STALE)


def test_a_hundred_parts_in_a_row_each_get_their_own_result(line, plc):
    running = line(lambda number: Decision.OK if int(number) % 3 else Decision.NG)
    ours = plc(running)
    for part in range(1, 101):
        shown = ours.inspect(part)
        assert shown.part_id == part and shown.passes(part) == bool(part % 3)
    assert (running.counters.missed_triggers, ours.read().sequence) == (0, 100)


def test_outputs_are_told_at_once_what_the_plc_is_shown_and_nothing_else(line, plc, monkeypatch):
    # only what is woken comes in time
    monkeypatch.setattr("edge.plant.plc.server._TICK_S", 1.5 * WAIT_S)
    shown = []
    running = line(lambda number: None, shown=shown.append)
    ours = plc(running)
    ours.write(NOTHING)
    ours.write(T, 7)
    running.show(Part("6", "", 99), Decision.OK)
    running.show(running.fired[-1], Decision.NG)
    assert eventually(lambda: shown == [Decision.NG])
    assert ours.read().part_id == 7
    ours.write(A)
    ours.write(NOTHING)
    assert shown == [Decision.NG]


def test_a_reading_has_the_result_that_was_given_before_it(line, plc, monkeypatch):
    monkeypatch.setattr("edge.plant.plc.server._TICK_S", 1.5 * WAIT_S)
    running = line(lambda number: None)
    ours = plc(running)
    ours.write(NOTHING)
    ours.write(T, 7)
    running.show(running.fired[-1], Decision.OK)
    assert ours.read().passes(7)


def test_no_reading_ever_has_an_ok_that_belongs_to_another_part(line, plc):
    running = line(lambda number: Decision.OK if int(number) % 2 else Decision.NG)
    ours, watching, seen, halt = plc(running), plc(running), [], threading.Event()

    def watch():
        while not halt.is_set():
            seen.append(watching.read())

    thread = threading.Thread(target=watch)
    thread.start()
    for part in range(1, 41):
        ours.inspect(part)
    halt.set()
    thread.join()
    good = [shown for shown in seen if shown.status & Status.OK]
    assert good and all(shown.part_id % 2 and shown.decision == 1 for shown in good)


def test_a_part_without_a_verdict_is_invalid_by_the_time_of_the_box(line, plc):
    running = line(lambda number: None)
    shown = plc(running).inspect(7)
    assert result_within_ms(SETTINGS) == 1000
    assert (shown.part_id, shown.decision, shown.error) == (7, 3, ErrorCode.NO_VERDICT)


def test_the_heartbeat_stops_with_the_loop_and_the_line_is_not_ready(line, plc):
    running = line()
    ours = plc(running)
    ours.write(NOTHING)
    first = ours.until("READY").heartbeat
    assert eventually(lambda: ours.read().heartbeat != first)
    running.beating = False
    assert eventually(lambda: ours.read().error == ErrorCode.LOOP_HANGS)
    stopped = ours.read().heartbeat
    time.sleep(0.3)
    assert ours.read().heartbeat == stopped and not ours.read().status & Status.READY


def test_a_plc_that_comes_again_finds_no_result_and_takes_the_place_of_its_old_connection(line, plc):
    running = line()
    first = plc(running)
    first.write(NOTHING)
    first.until("READY")
    first.write(T, 7)
    first.until("RESULT_VALID")
    second = plc(running)
    assert second.read().passes(7), "who only reads takes no place"
    second.write(T, 7)
    assert second.read().status & (Status.RESULT_VALID | Status.READY) == 0
    assert second.read().silences == 1
    assert second.inspect(8).passes(8)


def test_another_machine_may_read_and_may_write_only_after_the_plc_fell_silent(line, plc):
    running = line(silent_after_ms=300)
    ours = plc(running)
    ours.write(NOTHING)
    ours.until("READY")
    other = client_module.ModbusTcpClient(
        "127.0.0.1", port=running.link.port, timeout=2, retries=0, source_address=("127.0.0.2", 0)
    )
    other.connect()
    try:
        refused = other.write_registers(ORDERS_AT, [1, 5])
        assert refused.isError() and refused.exception_code == 6
        assert not other.read_input_registers(0, count=INPUTS).isError()
        assert not running.fired
        assert eventually(lambda: not other.write_registers(ORDERS_AT, [0, 0, 0, 9]).isError())
        from pymodbus.exceptions import ModbusException

        with pytest.raises((ModbusException, ConnectionError)):
            ours.read()
    finally:
        other.close()


def test_a_trigger_without_its_id_in_the_same_write_is_refused(line, plc):
    ours = plc(line())
    ours.write(NOTHING)
    ours.until("READY")
    for refused in (
        ours.client.write_register(ORDERS_AT, 1),
        ours.client.write_registers(ORDERS_AT, [1]),
        ours.client.write_registers(ORDERS_AT - 1, [1, 1]),
        ours.client.write_registers(ORDERS_AT, [0] * (ORDERS + 1)),
        ours.client.write_register(0, 1),
    ):
        assert refused.isError()
    ours.until("READY")
    assert not ours.client.write_registers(ORDERS_AT, [1, 5]).isError()
    assert ours.until("RESULT_VALID").part_id == 5
    assert not ours.client.write_register(ORDERS_AT, 2).isError(), "an acknowledge needs no id"
    assert not ours.read().status & Status.RESULT_VALID


def test_what_has_no_meaning_here_is_refused_and_every_unit_answers(line, plc):
    ours = plc(line())
    for refused in (
        ours.client.read_coils(0, count=1),
        ours.client.read_discrete_inputs(0, count=1),
        ours.client.write_coil(0, True),
        ours.client.read_input_registers(0, count=17),
        ours.client.read_input_registers(16, count=1),
        ours.client.read_input_registers(65535, count=1),
        ours.client.read_holding_registers(16, count=84),
        ours.client.readwrite_registers(read_address=100, read_count=1, address=100, values=[0]),
        ours.client.read_device_information(),
        ours.client.diag_force_listen_only(no_response_expected=False),
    ):
        assert refused.isError()
    for unit in (0, 1, 17, 247, 255):
        assert len(ours.client.read_input_registers(0, count=INPUTS, device_id=unit).registers) == INPUTS
    ours.write(NOTHING, 9, lot="L")
    # for PLCs that read no input registers; the block that was written can be read, too
    words = ours.client.read_holding_registers(0, count=INPUTS).registers
    assert decode_inputs(words).version == 1
    assert ours.client.read_holding_registers(ORDERS_AT, count=2).registers == [0, 9]


def test_a_recipe_is_asked_for_by_its_index(line, plc):
    running = line()
    ours = plc(running)
    ours.write(NOTHING)
    ours.write(Order.RECIPE_REQUEST, recipe=3)
    assert running.recipes == [3]
    assert ours.read().error == ErrorCode.RECIPE_CHANGING


def test_a_recipe_that_is_refused_at_once_is_told_at_once_also_after_another(line, plc):
    running = line()
    ours = plc(running)
    ours.write(NOTHING)
    running.counters.recipe_error = "the one before failed, too"
    ours.write(Order.RECIPE_REQUEST, recipe=3)
    running.counters.recipe_changing = False
    assert ours.read().error == ErrorCode.RECIPE_FAILED


def test_another_product_has_its_own_time_from_the_next_trigger_on(line, plc):
    running = line(lambda number: None)
    ours = plc(running)
    slow = SETTINGS.trigger.model_copy(update={"settle_ms": 60_000})
    running.link.follow(SETTINGS.model_copy(update={"trigger": slow}))
    ours.write(NOTHING)
    ours.until("READY")
    ours.write(T, 7)
    time.sleep(1.2 * result_within_ms(SETTINGS) / 1000)
    assert ours.read().status & Status.BUSY
    running.show(running.fired[-1], Decision.OK)
    assert ours.until("RESULT_VALID").passes(7)


def test_a_line_that_no_plc_triggers_shows_what_it_sees(line, plc):
    running = line(triggered=False)
    ours = plc(running)
    running.show(None, Decision.NG)
    shown = ours.until("RESULT_VALID")
    assert (shown.decision, shown.part_id, shown.sequence) == (2, 0, 1)
    running.show(None, Decision.OK)
    assert eventually(lambda: ours.read().sequence == 2)
    assert ours.read().decision == 1 and not ours.read().passes(7)


def test_a_part_that_cannot_be_asked_for_is_invalid(line, plc, caplog):
    running = line()

    def broken(number, lot):
        raise RuntimeError("the queue is full")

    running.link._fire = broken
    shown = plc(running).inspect(7)
    assert (shown.part_id, shown.decision) == (7, 3)
    assert "part 7 could not be asked for" in caplog.text


def test_a_port_that_is_taken_is_an_alarm_and_the_line_goes_on(line):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        counters = RunCounters()
        alarms, settings = AlarmLog(counters, lambda alarm: None), settings_at(taken.getsockname()[1])
        link = PlcLink(settings, counters, alarms, lambda number, lot: 1, None)
        link.write(Frame(0, 1, datetime.now(timezone.utc), "fake", picture(1)), verdict_of(Decision.OK))
        link.close()
        reader = PlcLink(settings, counters, alarms, None, None)
        reader.close()
    with_trigger, without = [alarm.what for alarm in counters.alarms.standing()]
    assert "Address already in use; no part can be asked for" in with_trigger
    assert "no part" not in without


def test_a_port_that_comes_free_is_taken_and_the_alarm_ends(monkeypatch):
    monkeypatch.setattr("edge.plant.plc.link._AGAIN_S", 0.05)
    counters = RunCounters()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = settings_at(taken.getsockname()[1])
        link = PlcLink(settings, counters, AlarmLog(counters, lambda alarm: None), lambda number, lot: 1, None)
        assert link.port is None and counters.alarms.standing()
    try:
        assert eventually(lambda: link.port == settings.plc.port and not counters.alarms.standing())
        ours = client_module.ModbusTcpClient("127.0.0.1", port=link.port, timeout=2, retries=0)
        assert ours.connect() and not ours.read_input_registers(0, count=INPUTS).isError()
        ours.close()
    finally:
        link.close()


def test_a_server_that_fails_is_an_alarm_and_the_line_goes_on(line, monkeypatch):
    running = line()

    def broken():
        raise RuntimeError("a fault of the program")

    monkeypatch.setattr(running.link, "tick", broken)
    assert eventually(lambda: bool(running.counters.alarms.standing()))
    assert "a fault of the program; no part can be asked for" in running.counters.alarms.standing()[0].what
    before = running.verdicts
    running.show(None, Decision.OK)
    assert eventually(lambda: running.verdicts > before)
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", running.link.port), timeout=2)


def test_scores_reach_the_register_whatever_the_threshold():
    taken = Frame(3, 1, datetime.now(timezone.utc), "fake", picture(1))
    good = verdict_of(Decision.OK, 3)
    assert part_result(taken, good).score_per_mille == 800
    assert part_result(taken, replace(good, threshold=0.0)).score_per_mille == 65535 * 1000
    assert part_result(taken, replace(good, score=0.0, threshold=0.0)).score_per_mille == 1000
    assert part_result(taken, verdict_of(Decision.INVALID)).score_per_mille == 0


def test_nothing_is_made_where_nothing_is_asked_for_and_packages_are_named(monkeypatch):
    counters = RunCounters()
    assert line_signals(Settings(), counters, AlarmLog(counters, lambda alarm: None)) is None
    monkeypatch.setattr("edge.system.extras.find_spec", lambda package: None)
    require_packages(Settings())
    with pytest.raises(MissingDependency, match="pymodbus"):
        require_packages(SETTINGS)
