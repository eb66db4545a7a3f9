"""The PLC's side of Modbus TCP by pymodbus (3.16, pinned): the only file of the simulation that knows it."""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable
from typing import Any

from edge.plant.plc.register_map import (
    INPUTS,
    INPUTS_AT,
    ORDERS_AT,
    Inputs,
    Orders,
    decode_inputs,
    encode_orders,
)

# a box that has much to do may take so long, and must not lose its connection for it
_LEAST_S = 0.1


class NoAnswer(Exception):
    """The box did not answer, in words. The connection is closed: a late answer must not be taken for a newer one."""


class BoxLink:
    """One connection, opened by the first call after a failure. Every call raises NoAnswer."""

    def __init__(self, host: str, port: int) -> None:
        # half a second of imports
        from pymodbus.client import ModbusTcpClient
        from pymodbus.exceptions import ModbusException

        # it logs each failure, which NoAnswer says in words
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        self._failures = (ModbusException, OSError)
        self._client = ModbusTcpClient(host, port=port, retries=0)

    def read(self, within_s: float) -> Inputs:
        """All input registers of one moment."""
        response = self._asked(within_s, lambda: self._client.read_input_registers(INPUTS_AT, count=INPUTS))
        try:
            return decode_inputs(response.registers)
        except ValueError as error:
            self.close()
            raise NoAnswer(f"it answers with something else: {error}") from None

    def write(self, orders: Orders, within_s: float) -> None:
        """All holding registers in one request."""
        words = list(encode_orders(orders))
        self._asked(within_s, lambda: self._client.write_registers(ORDERS_AT, words))

    def close(self) -> None:
        self._client.close()  # type: ignore[no-untyped-call]

    def _asked(self, within_s: float, ask: Callable[[], Any]) -> Any:
        params = self._client.comm_params
        params.timeout_connect = max(_LEAST_S, within_s)
        try:
            if self._client.socket is None:
                # here, since pymodbus does not say why it cannot connect
                opened = socket.create_connection((params.host, params.port), timeout=params.timeout_connect)
                opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._client.socket = opened
            response = ask()
        except self._failures as error:
            self.close()
            raise NoAnswer(_in_words(error, params.timeout_connect)) from None
        if response.isError():
            self.close()
            raise NoAnswer(f"it refused a request with Modbus exception {getattr(response, 'exception_code', '?')}")
        return response


def _in_words(error: Exception, within_s: float) -> str:
    if isinstance(error, TimeoutError) or "No response" in str(error):
        return f"no answer within {1000 * within_s:.0f} ms"
    if isinstance(error, OSError):
        return (error.strerror or str(error)).lower()
    return "the connection was closed" if "closed" in str(error) else str(error).removeprefix("Modbus Error: ")
