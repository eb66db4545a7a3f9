"""Modbus TCP by pymodbus, in a thread and an event loop of its own; the only file that knows pymodbus (3.16, pinned).

What it adds to pymodbus: who may connect and write, and limits, so that no client can take memory or the processor
from the inspection. Registers are rendered by `Registers`, always in the server's thread.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Callable, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING, Any, Protocol

from edge.core.counters import worth_a_line
from edge.plant.plc.register_map import INPUTS, INPUTS_AT, ORDERS, ORDERS_AT, Order

if TYPE_CHECKING:
    from pymodbus.constants import ExcCodes
    from pymodbus.server import ModbusTcpServer

log = logging.getLogger("edge.plant")

MOST_CONNECTIONS = 16
# clients that wait to be taken or turned away: beyond it the kernel makes them wait for seconds, a PLC too
_BACKLOG = 128
_TICK_S = 0.02
_CLOSE_S = 0.5
# read holding, read input, write one, write several; nothing else has a meaning here
_FUNCTIONS = (3, 4, 6, 16)
# requests a second, of the PLC that writes, and of all others together; what is above waits in the client's own buffers
_OF_PLC, _OF_OTHERS = 1000, 300
# as many come at once without waiting
_BURST = 30
_HEADER, _LONGEST_FRAME = 8, 260
_MOST_UNSENT = 16384


@dataclass(eq=False)
class _Client:
    """A connection. leave: end it now. asked_s: when it last asked for anything."""

    leave: Callable[[], None]
    peer: IPv4Address | IPv6Address
    asked_s: float


class _Pace:
    """So many requests a second, evenly: a client that polls without a pause is slowed, and not stopped."""

    def __init__(self, a_second: float) -> None:
        self._period_s, self._next_s = 1 / a_second, 0.0

    def pause_s(self, now_s: float) -> float:
        """One more has come: how long to wait for the next."""
        self._next_s = max(self._next_s, now_s - _BURST * self._period_s) + self._period_s
        return max(0.0, self._next_s - now_s)


# whose request is answered now
_CLIENT: ContextVar[_Client | None] = ContextVar("client", default=None)


class Registers(Protocol):
    """What stands in the registers. Every function is called in the server's thread, and returns at once."""

    def read(self) -> Sequence[int]:
        """The input registers of this moment."""
        ...

    def written(self, words: Sequence[int]) -> None:
        """The PLC has written; words: the whole block."""
        ...

    @property
    def heard(self) -> bool:
        """The PLC's heartbeat moves."""
        ...

    def lost(self) -> None:
        """The PLC's connection is gone, or another has taken its place; its block is all zeros."""
        ...

    def tick(self) -> None:
        """Many times a second, and after every `wake`."""
        ...


class ModbusServer:
    """Serves until `close`. allow: networks of clients that may connect. on_end: told why, where it ends by itself.

    Raises OSError where address and port cannot be had.
    """

    def __init__(
        self,
        address: str,
        port: int,
        allow: Sequence[IPv4Network | IPv6Network],
        registers: Registers,
        on_end: Callable[[str], None],
    ) -> None:
        self.refused = 0
        self._allow, self._registers, self._on_end = tuple(allow), registers, on_end
        self._socket = socket.create_server(
            (address, port), family=socket.AF_INET6 if ":" in address else socket.AF_INET, backlog=_BACKLOG
        )
        self._socket.setblocking(False)
        self.port = int(self._socket.getsockname()[1])
        # pymodbus logs each frame that it cannot read, with a traceback: a client could fill the journal
        logging.getLogger("pymodbus.logging").setLevel(logging.CRITICAL)
        self._orders = [0] * ORDERS
        self._clients: list[_Client] = []
        self._plc: _Client | None = None
        self._of_plc, self._of_others = _Pace(_OF_PLC), _Pace(_OF_OTHERS)
        self._loop = asyncio.new_event_loop()
        self._ending = False
        self._waking = False
        self._thread = threading.Thread(target=self._work, name="plc", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Call `tick` soon; from any thread, and it never waits."""
        if self._waking:
            return
        self._waking = True
        try:
            self._loop.call_soon_threadsafe(self._woken)
        except RuntimeError:
            # the loop has ended; nobody reads any more
            log.debug("a result came after the server had ended")

    def close(self) -> None:
        """Connections end at once: a PLC that lost its box rejects."""
        self._ending = True
        self._thread.join(_CLOSE_S)

    # the server's thread

    def _work(self) -> None:
        why = ""
        try:
            self._loop.run_until_complete(self._serve())
        # told as an alarm: a PLC without a server rejects, and the line goes on
        except Exception as error:
            log.exception("the Modbus server failed")
            why = f"{type(error).__name__}: {error}"
        finally:
            self._socket.close()
            self._loop.close()
        if why:
            self._on_end(why)

    async def _serve(self) -> None:
        server = _pymodbus_server(self)
        # a socket of ours, so that the caller is told why it cannot be had
        server.call_create = partial(
            self._loop.create_server, server.handle_new_connection, sock=self._socket, backlog=_BACKLOG
        )
        try:
            await server.serve_forever(background=True)
            while not self._ending:
                self._registers.tick()
                await asyncio.sleep(_TICK_S)
        finally:
            for client in tuple(self._clients):
                client.leave()
            await server.shutdown()  # type: ignore[no-untyped-call]
            # requests that came with the end become tasks in the next round; nobody reads their answers
            await asyncio.sleep(0)
            while left := asyncio.all_tasks() - {asyncio.current_task()}:
                for task in left:
                    task.cancel()
                await asyncio.gather(*left, return_exceptions=True)

    def _woken(self) -> None:
        self._waking = False
        self._registers.tick()

    # called by the connections

    def admits(self, client: _Client) -> bool:
        peer = client.peer
        if not any(peer.version == network.version and peer in network for network in self._allow):
            self.refused += 1
            if worth_a_line(self.refused):
                log.warning("Modbus: %s is not in plc.allow and was refused (%d times so far)", peer, self.refused)
            return False
        if len(self._clients) >= MOST_CONNECTIONS:
            # the PLC keeps its place, and a new client gets one: it may be the PLC that comes again
            quiet = min((each for each in self._clients if each is not self._plc), key=lambda each: each.asked_s)
            quiet.leave()
        self._clients.append(client)
        return True

    def forget(self, client: _Client) -> None:
        if client in self._clients:
            self._clients.remove(client)
        if client is self._plc and not self._ending:
            self._lose_plc()

    def pause_s(self, client: _Client) -> float:
        """How long this client must wait before its next request; 0 mostly."""
        client.asked_s = self._loop.time()
        return (self._of_plc if client is self._plc else self._of_others).pause_s(client.asked_s)

    async def action(
        self, function: int, start: int, address: int, count: int, registers: list[int], values: Any
    ) -> ExcCodes | None:
        """pymodbus calls this for every access, before it reads or writes `registers`, which begin at `start`."""
        if values is not None:
            return self._write(address, list(values))
        registers[INPUTS_AT - start : INPUTS_AT - start + INPUTS] = self._registers.read()
        if function != 4:
            registers[ORDERS_AT - start : ORDERS_AT - start + ORDERS] = self._orders
        return None

    def _write(self, address: int, values: list[int]) -> ExcCodes | None:
        from pymodbus.constants import ExcCodes

        client, at = _CLIENT.get(), address - ORDERS_AT
        if client is None or at < 0 or at + len(values) > ORDERS:
            return ExcCodes.ILLEGAL_ADDRESS
        if not self._becomes_plc(client):
            return ExcCodes.DEVICE_BUSY
        words = list(self._orders)
        words[at : at + len(values)] = values
        triggers = bool(words[0] & ~self._orders[0] & Order.TRIGGER)
        if triggers and (at > 0 or len(values) < 2):
            # else a trigger could go with the id of the part before
            return ExcCodes.ILLEGAL_VALUE
        self._orders = words
        self._registers.written(words)
        return None

    def _becomes_plc(self, client: _Client) -> bool:
        """Whether it may write: the first one, one of the same machine, and any other after a PLC fell silent."""
        plc = self._plc
        if plc is client:
            return True
        if plc is not None:
            if plc.peer != client.peer and self._registers.heard:
                return False
            plc.leave()
        self._plc = client
        return True

    def _lose_plc(self) -> None:
        self._plc, self._orders = None, [0] * ORDERS
        self._registers.lost()


def _pymodbus_server(server: ModbusServer) -> ModbusTcpServer:
    from pymodbus.constants import ExcCodes
    from pymodbus.pdu import ExceptionResponse
    from pymodbus.server import ModbusTcpServer
    from pymodbus.server.requesthandler import ServerRequestHandler
    from pymodbus.simulator import DataType, SimData, SimDevice

    class Connection(ServerRequestHandler):
        transport: Any
        client: _Client | None = None

        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            peer = _peer(transport.get_extra_info("peername"))
            if peer is None:
                # it is gone already
                self.leave()
                return
            client = _Client(self.leave, peer, self.loop.time())
            if server.admits(client):
                self.client = client
            else:
                self.leave()

        def data_received(self, data: bytes) -> None:
            """Leave whoever sends dozens of requests without waiting for an answer: pymodbus would drop what does not
            fit into its buffer, and read on without a pause."""
            if len(self.recv_buffer) + len(data) > self.max_buffer_size:
                self.leave()
            else:
                super().data_received(data)

        def callback_data(self, data: bytes, addr: Any = None) -> int:
            """Take whole frames; leave whoever sends what no Modbus client sends."""
            if self.client is None or not _plausible(data):
                self.leave()
                return len(data)
            try:
                used = int(super().callback_data(data, addr))
            # pymodbus raises what struct does for frames that are too short; the client is left
            except Exception as error:  # noqa: BLE001
                log.debug("Modbus: a frame of %s cannot be read: %s", self.client.peer, error)
                self.leave()
                return len(data)
            if self.last_pdu is not None and self.transport is not None:
                pause_s = server.pause_s(self.client)
                if pause_s > 0:
                    self.transport.pause_reading()
                    self.loop.call_later(pause_s, self.go_on)
            return used

        def handle_later(self) -> None:
            """In this loop's next round; pymodbus goes the way that calls take from other threads."""
            self.loop.create_task(self.handle_request())

        async def handle_request(self) -> None:
            pdu = self.last_pdu
            if pdu is None or self.client is None:
                return
            if pdu.function_code not in _FUNCTIONS:
                answer = ExceptionResponse(pdu.function_code, ExcCodes.ILLEGAL_FUNCTION)
                answer.transaction_id, answer.dev_id = pdu.transaction_id, pdu.dev_id
                self.pdu_send(answer)
                return
            _CLIENT.set(self.client)
            await super().handle_request()  # type: ignore[no-untyped-call]

        def send(self, data: bytes, addr: Any = None) -> None:
            if self.transport is None:
                return
            if self.transport.get_write_buffer_size() > _MOST_UNSENT:
                # it asks, and does not read the answers
                self.leave()
                return
            super().send(data, addr)

        def callback_disconnected(self, exc: Exception | None) -> None:
            super().callback_disconnected(exc)
            self.forget()

        def leave(self) -> None:
            """End this connection now, whatever waits in it."""
            transport = self.transport
            self.close()
            if transport is not None:
                transport.abort()
            self.forget()

        def forget(self) -> None:
            client, self.client = self.client, None
            if client is not None:
                server.forget(client)

        def go_on(self) -> None:
            if self.transport is not None and not self.transport.is_closing():
                self.transport.resume_reading()

    class Server(ModbusTcpServer):
        def callback_new_connection(self) -> Connection:
            return Connection(self, None, None, None)  # type: ignore[no-untyped-call]

    inputs = SimData(INPUTS_AT, count=INPUTS, datatype=DataType.REGISTERS, readonly=True)
    orders = SimData(ORDERS_AT, count=ORDERS, datatype=DataType.REGISTERS)
    # pymodbus wants some bits; the functions that reach them are refused
    bits = SimData(0, values=[False] * 16, datatype=DataType.BITS)
    # number 0 answers to every unit
    device = SimDevice(0, simdata=([bits], [bits], [inputs, orders], [inputs]), action=server.action)
    return Server(device, address=("", 0))


def _peer(name: Any) -> IPv4Address | IPv6Address | None:
    """Of a socket's name; an IPv4 address that came through an IPv6 socket is IPv4 again."""
    try:
        peer = ip_address(str(name[0]).partition("%")[0])
    except (TypeError, ValueError):
        return None
    mapped = peer.ipv4_mapped if isinstance(peer, IPv6Address) else None
    return mapped or peer


def _plausible(data: bytes) -> bool:
    """The protocol's number is 0, and the length one that a frame can have."""
    if len(data) < _HEADER - 2:
        return True
    length = int.from_bytes(data[4:6], "big")
    return data[2:4] == b"\0\0" and 2 <= length <= _LONGEST_FRAME - 6
