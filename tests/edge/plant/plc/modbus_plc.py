"""A PLC for tests, over Modbus TCP; only where pymodbus is installed."""

from pymodbus.client import ModbusTcpClient

from edge.plant.plc.register_map import INPUTS, ORDERS_AT, Order, Orders, Status, decode_inputs, encode_orders
from tests.fakes import WAIT_S, eventually


class Plc:
    """A program that does what a test tells it, on the map's own definition. wait_s: for the box, and in `until`."""

    def __init__(self, port, wait_s=WAIT_S):
        self.client = ModbusTcpClient("127.0.0.1", port=port, timeout=5, retries=0)
        assert eventually(self.client.connect, wait_s)
        self.heartbeat, self._wait_s = 0, wait_s

    def read(self):
        return decode_inputs(self.client.read_input_registers(0, count=INPUTS).registers)

    def write(self, bits, part=0, **more):
        self.heartbeat = (self.heartbeat + 1) & 0xFFFF
        words = encode_orders(Orders(bits, part, heartbeat=self.heartbeat, **more))
        assert not self.client.write_registers(ORDERS_AT, list(words)).isError()

    def until(self, *bits):
        """The first reading with all of these bits."""
        found = []
        wanted = Status(sum(Status[bit] for bit in bits))
        assert eventually(lambda: found.append(self.read()) or found[-1].status & wanted == wanted, self._wait_s), (
            found[-1]
        )
        return found[-1]

    def inspect(self, part, **more):
        """Ask for it as the drawing says, and take its result."""
        self.write(Order(0))
        self.until("READY")
        self.write(Order.TRIGGER, part, **more)
        shown = self.until("RESULT_VALID")
        self.write(Order.RESULT_ACK, part)
        return shown

    def close(self):
        self.client.close()
