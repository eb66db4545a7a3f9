"""The OPC UA server: built in some seconds, then fed from the records and the status files until it is stopped."""

from __future__ import annotations

import asyncio
import gc
import logging
import socket
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path

from asyncua import Server, ua
from asyncua.server.binary_server_asyncio import OPCUAProtocol
from asyncua.server.internal_subscription import InternalSubscription

from edge import __version__
from edge.core.counters import worth_a_line
from edge.core.errors import ConfigError, RecordError
from edge.core.sections import OpcUaSettings
from edge.plant.opcua.certificates import Certificates
from edge.plant.opcua.delivery import Delivery
from edge.plant.opcua.newest_records import NewestRecords
from edge.plant.opcua.security import MOST_CONNECTIONS, MOST_SUBSCRIPTIONS, POLICIES, SessionKeeper, Users, factories
from edge.plant.opcua.vision_state import vision_state
from edge.plant.opcua.vision_system import MODEL, RESULTS, VisionSystem, load_model
from edge.plant.status_file import read_status

log = logging.getLogger("edge.plant.opcua")

_RESULTS_EVERY_S = 0.2
_STATE_EVERY_S = 0.25
_SAVE_EVERY_S = 1.0
_PORT_AGAIN_S = 2.0
_TRUST_EVERY_S = 2.0
# seconds, and milliseconds in the last one: after a minute without an answer a connection is dead
_KEEPALIVE = {"TCP_KEEPIDLE": 30, "TCP_KEEPINTVL": 10, "TCP_KEEPCNT": 3, "TCP_USER_TIMEOUT": 60_000}
_CLOSE_S = 0.5
_LARGEST_MESSAGE_BYTES = 4 * 2**20
# a client that is gone for longer subscribes anew
_SESSION_MS, _LOGIN_S = 60_000.0, 10.0


@dataclass(frozen=True)
class ServedLine:
    """Whose records these are. run_directory: where the line keeps status.json."""

    name: str
    records: Path
    run_directory: Path


class _Internal(SessionKeeper):
    async def load_standard_address_space(self, shelf_file: Path | None = None) -> None:
        from asyncua.server.standard_address_space import standard_address_space

        # in this thread, which the end of the program does not wait for as it would for asyncio's
        standard_address_space.fill_address_space(self.node_mgt_service)


class _Server(Server):  # type: ignore[misc]
    """Opens channels as `factories` has them. asyncua makes its own only when it starts."""

    def __init__(self, certificates: Certificates) -> None:
        super().__init__(_Internal(user_manager=Users(certificates)))
        self._certificates = certificates

    async def _setup_server_nodes(self) -> None:
        self.iserver.endpoints.clear()
        await super()._setup_server_nodes()
        self._policies = factories(self._certificates, self.iserver)


class OpcUaServer:
    """Serves these lines. say: told what takes long, and where it serves."""

    def __init__(
        self,
        settings: OpcUaSettings,
        certificates: Certificates,
        lines: Sequence[ServedLine],
        say: Callable[[str], None],
    ) -> None:
        self._settings, self._certificates, self._lines, self._say = settings, certificates, lines, say
        self.told = 0

    async def run(self, stop: threading.Event) -> None:
        """Until `stop` is set. Raises ConfigError for a nodeset that is none."""
        # before the seconds that building takes: whoever waits for it is told why
        if not await self._port_is_free(stop):
            return
        begun_s = time.monotonic()
        self._say(f"OPC UA: reading {self._settings.nodeset}, which takes some seconds")
        # half a million objects that stay to the end: looking through them for garbage, again and again while they are
        # made and once when the program ends, costs a third of the start and a second of the end
        gc.disable()
        try:
            server, systems = await self._built()
            gc.freeze()
        finally:
            gc.enable()
        if not await self._port_is_free(stop):
            return
        await server.start()
        assert server.bserver is not None
        _notice_cut_cables(server.bserver._server.sockets)
        seconds = time.monotonic() - begun_s
        names = ", ".join(line.name for line in self._lines)
        self._say(f"OPC UA: {names} at {server.endpoint.geturl()} after {seconds:.1f} s; Ctrl-C ends it")
        feeds = [_Feed(server, line, system) for line, system in zip(self._lines, systems, strict=True)]
        tasks = [asyncio.create_task(work(stop)) for feed in feeds for work in (feed.tell_results, feed.tell_state)]
        tasks.append(asyncio.create_task(self._turn_away(server, stop)))
        try:
            await asyncio.gather(*tasks)
        finally:
            self.told = sum(feed.told for feed in feeds)
            # not `server.stop`, which waits a second for a clock
            await asyncio.wait([asyncio.ensure_future(server.bserver.stop())], timeout=_CLOSE_S)

    async def _built(self) -> tuple[Server, list[VisionSystem]]:
        server, own = _Server(self._certificates), self._certificates
        iserver = server.iserver
        check_private_names(server)
        iserver.max_connections, iserver.max_subscriptions = MOST_CONNECTIONS, MOST_SUBSCRIPTIONS
        iserver.max_session_timeout_ms, iserver.max_pending_activation_seconds = _SESSION_MS, _LOGIN_S
        server.limits.max_message_size = _LARGEST_MESSAGE_BYTES
        server.limits.max_chunk_count = _LARGEST_MESSAGE_BYTES // server.limits.max_recv_buffer + 1
        server.name, server.application_type = "edge-inspect", ua.ApplicationType.Server
        server.product_uri = "urn:edge-inspect"
        await server.init()
        await server.set_application_uri(own.application_uri)
        await server.set_build_info(
            server.product_uri, "edge-inspect", server.name, __version__, "", datetime.now(timezone.utc)
        )
        server.set_endpoint(f"opc.tcp://{_in_url(self._settings.address)}:{self._settings.port}/")
        server.socket_address = (self._settings.address, self._settings.port)
        server.set_security_policy(POLICIES)
        server.set_identity_tokens([ua.UserNameIdentityToken, ua.X509IdentityToken])
        await server.load_certificate(own.own_pem, "pem")
        await server.load_private_key(own.key, None, "pem")
        try:
            model = await load_model(server, str(self._settings.nodeset))
            systems = [VisionSystem(server, model, line.name) for line in self._lines]
            for system in systems:
                await system.build()
        # whatever the parser and the types of asyncua stumble over
        except Exception as error:
            raise ConfigError(
                f"{self._settings.nodeset} cannot be used: {type(error).__name__}: {error}",
                fix=f"opcua.nodeset is the file Opc.Ua.MachineVision.NodeSet2.xml, version 1.0.0, of {MODEL}",
            ) from error
        return server, systems

    async def _turn_away(self, server: Server, stop: threading.Event) -> None:
        """End the connections of clients whose certificates were removed: asyncua looks at them once."""
        while not stop.is_set():
            assert server.bserver is not None
            clients = {client: _certificate_of(client) for client in server.bserver.clients}
            for der in set(clients.values()) - {None}:
                if await asyncio.to_thread(self._certificates.trusted_name, der) is None:
                    log.warning("a client is not trusted any more: its connections are closed")
                    for client in [each for each, its in clients.items() if its == der and each.transport is not None]:
                        client.transport.close()
            await _wait(_TRUST_EVERY_S, stop)

    async def _port_is_free(self, stop: threading.Event) -> bool:
        """Wait until it can be had; False when it was stopped before."""
        failures = 0
        while not stop.is_set():
            why = _refused(self._settings.address, self._settings.port or 0)
            if why is None:
                return True
            failures += 1
            if worth_a_line(failures):
                log.warning("OPC UA cannot have port %s of %s (%d times): %s; tried again every %g s",
                            self._settings.port, self._settings.address, failures, why, _PORT_AGAIN_S)  # fmt: skip
            await _wait(_PORT_AGAIN_S, stop)
        return False


class _Feed:
    """What is told of one line, in two tasks: a disk that is slow with the records does not hold up the state."""

    def __init__(self, server: Server, line: ServedLine, system: VisionSystem) -> None:
        self._line, self._system = line, system
        self._records = NewestRecords(line.records)
        self._delivery = Delivery(server.iserver, system, self._records)
        self._failures = 0
        self._has_read = False
        self._next_save_s = 0.0

    @property
    def told(self) -> int:
        return self._delivery.told

    async def tell_state(self, stop: threading.Event) -> None:
        while not stop.is_set():
            status = read_status(self._line.run_directory)
            state = vision_state(status)
            try:
                await self._system.tell(state, status)
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                # a status of another program
                log.debug("%s: %s", self._line.run_directory, error)
                await self._system.tell(state, None)
            await _wait(_STATE_EVERY_S, stop)

    async def tell_results(self, stop: threading.Event) -> None:
        while not stop.is_set():
            try:
                await self._step()
                self._failures = 0
            except RecordError as error:
                self._failures += 1
                if worth_a_line(self._failures):
                    log.warning("%s: not published (%d times): %s", self._line.name, self._failures, error.message)
            await _wait(_RESULTS_EVERY_S, stop)
        await self._save()

    async def _step(self) -> None:
        # before the records are read: what came between a client's subscription and this step is told to it
        for user in self._delivery.strangers() if self._has_read else ():
            self._delivery.begin(user, await asyncio.to_thread(self._records.cursor_of, user))
        new, anew = await asyncio.to_thread(self._records.read)
        self._has_read = True
        if anew:
            log.warning("other records stand in %s than before", self._line.records)
            self._delivery.begin_anew()
        for each in new[-RESULTS:]:
            await self._system.keep(each)
        await self._delivery.step()
        if time.monotonic() >= self._next_save_s:
            self._next_save_s = time.monotonic() + _SAVE_EVERY_S
            await self._save()

    async def _save(self) -> None:
        changed = self._delivery.changed()
        if not changed:
            return
        try:
            await asyncio.to_thread(self._records.save, changed)
        except RecordError as error:
            log.warning(
                "%s: how far was published could not be kept, and is repeated: %s", self._line.name, error.message
            )


def check_private_names(server: Server) -> None:
    """Raise ConfigError for an asyncua without a name that is used here and that it does not promise to keep.

    Without `_setup_server_nodes` anybody would be let in; without the others the server would end at the first client.
    """
    subscription = InternalSubscription(ua.CreateSubscriptionResult(), server.iserver.aspace, print, ua.NodeId())
    used = (
        (Server, ("_setup_server_nodes",)),
        (server, ("_policies",)),
        (server.iserver, ("_external_sessions",)),
        (subscription, ("_notification_seq", "_not_acknowledged_results", "_triggered_events")),
        (subscription.monitored_item_srv, ("_monitored_events", "_monitored_items")),
    )
    if missing := [name for owner, names in used for name in names if not hasattr(owner, name)]:
        raise ConfigError(
            f"asyncua {version('asyncua')} has no {', '.join(missing)}, by which clients are let in and told",
            fix="pip install 'edge-inspect[opcua]' brings a version that has",
        )


def _certificate_of(client: OPCUAProtocol) -> bytes | None:
    """That of the channel; None while there is none, and in clear."""
    if client.processor is None:
        return None
    # empty before the channel is opened
    return client.processor._connection.security_policy.peer_certificate or None


async def _wait(seconds: float, stop: threading.Event) -> None:
    end_s = time.monotonic() + seconds
    while not stop.is_set() and time.monotonic() < end_s:
        await asyncio.sleep(min(0.2, seconds))


def _refused(address: str, port: int) -> str | None:
    """Why the port cannot be had; None where it can. asyncua would log a traceback."""
    try:
        kind = socket.getaddrinfo(address, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind[0], kind[1]) as tried:
            tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tried.bind(kind[4])
    except OSError as error:
        return error.strerror or str(error)
    return None


def _notice_cut_cables(listening: Iterable[socket.socket]) -> None:
    """Connections of clients that are gone without a word would stay, and one day be all that there may be.

    Linux hands these options on to every connection that is taken.
    """
    for each in listening:
        each.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in _KEEPALIVE.items():
            if hasattr(socket, name):
                each.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)


def _in_url(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def serve(server: OpcUaServer, stop: threading.Event) -> None:
    """Run it in this thread. Raises what `run` raises."""
    # it logs refusals, and tracebacks of clients that send anything
    logging.getLogger("asyncua").setLevel(logging.CRITICAL)
    asyncio.run(server.run(stop))
