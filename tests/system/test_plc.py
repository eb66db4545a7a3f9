"""A real line as its PLC sees it: alive, stopped, going on, and killed."""

import signal
import socket

import pytest

from edge.plant.plc.register_map import INPUTS, Status, decode_inputs
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


def test_the_plc_sees_each_verdict_and_a_line_that_is_stopped_or_killed(camera, bundle_path, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
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
        # the kernel still takes the connection, and nobody answers
        assert inputs_of(port) is None
        run.signal(signal.SIGCONT)
        assert eventually(lambda: moves(port), WAIT_S)
        run.signal(signal.SIGKILL)
        run.ended()
        assert inputs_of(port) is None
