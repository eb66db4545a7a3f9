"""The connection to an MQTT broker: kept up for ever, by a thread of paho's."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from edge.core.counters import worth_a_line
from edge.core.errors import ConfigError
from edge.core.files.password_file import read_password
from edge.core.sections import MqttSettings

if TYPE_CHECKING:
    from paho.mqtt.client import Client

log = logging.getLogger("edge.plant.mqtt")

_THIS_MACHINE = ("localhost", "127.0.0.1", "::1")
_PORT, _TLS_PORT = 1883, 8883
# a broker that has vanished without a word is noticed after one and a half of these
_KEEPALIVE_S = 20
_RETRY_FIRST_S, _RETRY_MOST_S = 1, 30
_CLOSE_S = 2.0


class Broker(Protocol):
    """connections: how many were made so far; connected: whether one stands."""

    @property
    def connections(self) -> int: ...

    @property
    def connected(self) -> bool: ...

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        """Send once or more often, until the broker has it; the number by which `arrived` knows it."""

    def arrived(self, number: int) -> bool:
        """Whether the broker has the message; asked no more once it was true."""

    def wait(self, seconds: float) -> None:
        """Until a message has arrived, or so long."""


@dataclass(frozen=True)
class Will:
    """What the broker tells everybody when this connection breaks."""

    topic: str
    payload: bytes


class PahoBroker:
    """A Broker of the settings. client_id: unique at the broker, which ends an older connection of the same name.

    commands: topic → what is called, in paho's thread, with the content of each message there; it must return soon and
    raise nothing. What the broker has kept from before is no command of now, and is left. lost: called there when the
    connection has ended, and commands cannot be heard.
    A broker that is away, refuses or comes back is logged, and tried for ever. Raises ConfigError for files of the
    settings that cannot be used, ModuleNotFoundError without paho.
    """

    def __init__(
        self,
        settings: MqttSettings,
        client_id: str,
        will: Will,
        commands: Mapping[str, Callable[[bytes], None]] | None = None,
        lost: Callable[[], None] = lambda: None,
    ) -> None:
        from paho.mqtt.client import Client, MQTTv311
        from paho.mqtt.enums import CallbackAPIVersion

        assert settings.host is not None, "asked for only where a broker is named"
        port = settings.port or (_TLS_PORT if settings.tls else _PORT)
        self.where = f"{settings.host}, port {port}"
        self.connections, self.connected = 0, False
        self._refusals = 0
        self._commands, self._lost = dict(commands or {}), lost
        self._arrived: set[int] = set()
        self._something = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=client_id, protocol=MQTTv311)
        _identify(self._client, settings)
        self._client.will_set(will.topic, will.payload, qos=1, retain=True)
        # no queue of its own: what is not taken yet waits in the records
        self._client.max_inflight_messages_set(0)
        self._client.reconnect_delay_set(_RETRY_FIRST_S, _RETRY_MOST_S)
        self._client.on_connect, self._client.on_disconnect = self._on_connect, self._on_disconnect
        self._client.on_connect_fail, self._client.on_publish = self._on_failure, self._on_publish
        self._client.on_message, self._client.on_subscribe = self._on_message, self._on_subscribe
        self._client.connect_async(settings.host, port, keepalive=_KEEPALIVE_S)
        self._client.loop_start()

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> int:
        # kept by paho while there is no connection, and sent again by it after one was lost
        return self._client.publish(topic, payload, qos=1, retain=retain).mid

    def arrived(self, number: int) -> bool:
        if number not in self._arrived:
            return False
        # numbers come again after 65535 messages
        self._arrived.discard(number)
        return True

    def wait(self, seconds: float) -> None:
        self._something.wait(seconds)
        self._something.clear()

    def close(self) -> None:
        """Say good-bye, so that the broker does not tell the will; a broker that is away is not waited for."""
        self._client.disconnect()
        ending = threading.Thread(target=self._client.loop_stop, name="end of mqtt", daemon=True)
        ending.start()
        ending.join(_CLOSE_S)

    # called in paho's thread, which may hold a lock that `publish` takes: no lock of ours here

    def _on_connect(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if reason.is_failure:
            self._refused(str(reason))
            return
        self._refusals = 0
        self.connections += 1
        self.connected = True
        self._something.set()
        log.info("connected to the broker at %s", self.where)
        if self._commands:
            client.subscribe([(topic, 1) for topic in self._commands])

    def _on_disconnect(self, client: Client, data: Any, flags: Any, reason: Any, properties: Any) -> None:
        if self.connected and reason.is_failure:
            log.warning("the broker at %s has gone: %s; it is tried again", self.where, reason)
        self.connected = False
        self._lost()

    def _on_failure(self, client: Client, data: Any) -> None:
        # paho calls this while it handles the error, and says nothing more about it
        error = sys.exc_info()[1]
        self._refused("it does not answer" if error is None else str(error))

    def _refused(self, why: str) -> None:
        self._refusals += 1
        if worth_a_line(self._refusals):
            log.warning("no connection to the broker at %s (%d times): %s", self.where, self._refusals, why)

    def _on_subscribe(self, client: Client, data: Any, number: int, reasons: list[Any], properties: Any) -> None:
        if any(reason.is_failure for reason in reasons):
            log.warning("the broker at %s lets this user hear no commands on %s", self.where, ", ".join(self._commands))

    def _on_message(self, client: Client, data: Any, message: Any) -> None:
        if message.retain:
            log.warning("%s: a retained message was left: it may be old", message.topic)
        elif message.topic in self._commands:
            self._commands[message.topic](message.payload)

    def _on_publish(self, client: Client, data: Any, number: int, reason: Any, properties: Any) -> None:
        self._arrived.add(number)
        self._something.set()


def _identify(client: Client, settings: MqttSettings) -> None:
    if settings.user is not None:
        file = settings.password_file
        password = None if file is None else read_password(Path(file), "mqtt.password_file", "broker")
        client.username_pw_set(settings.user, password)
    if not settings.tls:
        if settings.password_file is not None and settings.host not in _THIS_MACHINE:
            log.warning("mqtt.tls is false: the password goes over the network as it is")
        return
    try:
        client.tls_set(settings.ca_file, settings.certificate_file, settings.key_file)
    # of the ssl library, for a file that holds nothing of use
    except (OSError, ValueError) as error:
        files = [
            f"mqtt.{key}" for key in ("ca_file", "certificate_file", "key_file") if getattr(settings, key) is not None
        ]
        raise ConfigError(
            f"TLS cannot be used with {', '.join(files) or 'the authorities of this system'}: {error}",
            fix="give PEM files: the authority that signed the broker's certificate, and this box's own, if asked for",
        ) from error
