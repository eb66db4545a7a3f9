"""A real line as its PLC sees it: alive, stopped, going on, and killed."""

import signal

import pytest

from edge.plant.plc.register_map import INPUTS, ErrorCode, Order, Status, decode_inputs
from tests.fakes import eventually
from tests.system.command_line import WAIT_S, running

modbus = pytest.importorskip("pymodbus.client", reason="the extra `plc` is not installed")


def inputs_of(port):
    """What a PLC reads, by a connection of its own; None where nothing answers in time."""
    from pymodbus.exceptions import ModbusException

    client = modbus.ModbusTcpClient("127.0.0.1", port=port, timeout=0.5, retries=0)
    try:
        answer = client.read_input_registers(0, count=INPUTS)
        return None if answer.isError() else decode_inputs(answer.registers)
    except ModbusException:
        return None
    finally:
        client.close()


def moves(port):
    """Whether the heartbeat does."""
    first = inputs_of(port)
    return first is not None and eventually(lambda: (now := inputs_of(port)) and now.heartbeat != first.heartbeat, 1.0)


def test_the_plc_sees_each_verdict_and_a_line_that_is_stopped_or_killed(camera, bundle_path, port, tmp_path):
    (tmp_path / "line.yaml").write_text(f"plc:\n  port: {port}\nfreshness:\n  max_identical_frames: 0\n")
    arguments = ("--camera", camera.url, "--bundle", bundle_path, "--json", "--config", "line.yaml")
    with running(*arguments, cwd=tmp_path) as run:
        run.wait_for_count(3)
        assert eventually(lambda: bool((shown := inputs_of(port)) and shown.sequence >= 3), WAIT_S)
        shown = inputs_of(port)
        assert Status.RESULT_VALID in shown.status and shown.part_id == 0
        assert not Status.READY & shown.status, "no PLC triggers this line"
        assert moves(port)
        run.signal(signal.SIGSTOP)
        # the kernel still takes the connection, and soon nobody answers
        assert eventually(lambda: inputs_of(port) is None, WAIT_S)
        run.signal(signal.SIGCONT)
        assert eventually(lambda: moves(port), WAIT_S)
        run.signal(signal.SIGKILL)
        run.ended()
        assert inputs_of(port) is None


def test_a_plc_has_its_parts_judged_by_a_real_line_and_none_without_its_camera(camera, bundle_path, port, tmp_path):
    (tmp_path / "line.yaml").write_text(
        f"trigger: {{mode: plc}}\nplc: {{port: {port}, silent_after_ms: 60000}}\nfreshness: {{max_identical_frames: 0}}"
    )
    arguments = ("--camera", camera.url, "--bundle", bundle_path, "--json", "--config", "line.yaml")
    from tests.edge.plant.plc.modbus_plc import Plc

    with running(*arguments, cwd=tmp_path) as run:
        plc = Plc(port, WAIT_S)
        for part in (901, 902, 903):
            shown = plc.inspect(part, lot="L-7")
            assert shown.part_id == part and shown.decision in (1, 2), run.errors
            assert shown.passes(part) == (shown.decision == 1)
        plc.write(Order(0))
        plc.until("READY")
        camera.kill()
        assert eventually(lambda: plc.read().error == ErrorCode.CAMERA_NOT_RUNNING, WAIT_S)
        plc.write(Order.TRIGGER, 904, lot="L-7")
        shown = plc.read()
        assert shown.missed_triggers == 1 and not shown.passes(904)
        assert not shown.status & (Status.READY | Status.BUSY | Status.RESULT_VALID)
        told = run.wait_for(lambda verdicts: verdicts[-1:] and verdicts[-1]["reason"] == "no_frame")
        plc.close()
    parts = [(each["part_number"], each["lot"]) for each in told if each["part_number"]]
    assert parts == [(number, "L-7") for number in ("901", "902", "903")]
