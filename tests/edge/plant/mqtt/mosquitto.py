"""A real broker on loopback that can be killed and started again, and a subscriber that remembers what it heard."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

import pytest

from tests.edge.records.records_fakes import wait_for

USER, PASSWORD = "box", "s3cret of the box"
WAIT_S = 30.0
# Debian keeps it where only root looks
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"])


class Mosquitto:
    """tls: a folder from `make_certificates`; None for a plain connection. Users need the password."""

    def __init__(self, folder: Path, tls: Path | None = None) -> None:
        program, passwd = shutil.which("mosquitto", path=_PATH), shutil.which("mosquitto_passwd", path=_PATH)
        if program is None or passwd is None:
            pytest.skip("mosquitto is not installed: there is no broker to publish to")
        folder.mkdir()
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        passwords = folder / "passwords"
        subprocess.run([passwd, "-b", "-c", str(passwords), USER, PASSWORD], check=True)
        lines = [
            f"listener {self.port} 127.0.0.1",
            "allow_anonymous false",
            f"password_file {passwords}",
            # a killed broker knows its subscribers again
            "persistence true",
            f"persistence_location {folder}/",
            "autosave_interval 0",
        ]
        if os.geteuid() == 0:
            lines.append("user root")
        if tls is not None:
            lines += [f"cafile {tls / 'ca.pem'}", f"certfile {tls / 'server.pem'}", f"keyfile {tls / 'server.key'}"]
        self._command = [program, "-c", str(folder / "mosquitto.conf")]
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_for(self._answers, WAIT_S)

    def _answers(self) -> bool:
        with socket.socket() as client:
            return client.connect_ex(("127.0.0.1", self.port)) == 0

    def save(self) -> None:
        """Keep what it knows of its subscribers on disk."""
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)

    def kill(self) -> None:
        """As a power cut does."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(WAIT_S)


class Subscriber:
    """messages: (kind, content) of everything under edge-inspect/, in the order of arrival."""

    def __init__(self, broker: Mosquitto, tls: Path | None = None) -> None:
        from paho.mqtt.client import Client
        from paho.mqtt.enums import CallbackAPIVersion

        self.messages: list[tuple[str, object]] = []
        self._subscribed = threading.Event()
        # a session that outlives the connection, as a plant's historian has
        self._client = Client(CallbackAPIVersion.VERSION2, client_id="historian", clean_session=False)
        self._client.username_pw_set(USER, PASSWORD)
        if tls is not None:
            self._client.tls_set(str(tls / "ca.pem"))
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = lambda client, *rest: client.subscribe("edge-inspect/#", qos=1)
        self._client.on_subscribe = lambda *rest: self._subscribed.set()
        self._client.on_message = self._hear
        self._client.connect("127.0.0.1", broker.port)
        self._client.loop_start()
        assert self._subscribed.wait(WAIT_S)
        broker.save()

    def _hear(self, client, data, message) -> None:
        kind = message.topic.rpartition("/")[2]
        self.messages.append((kind, message.payload.decode() if kind == "status" else json.loads(message.payload)))

    def of(self, kind: str) -> list:
        return [content for each, content in list(self.messages) if each == kind]

    def say(self, topic: str, content: object, *, retain: bool = False) -> None:
        """Publish; the broker has it when this returns."""
        self._client.publish(topic, json.dumps(content), qos=1, retain=retain).wait_for_publish(WAIT_S)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def make_certificates(folder: Path) -> Path:
    """ca.pem, and server.pem with server.key for 127.0.0.1 that it signed; stranger.pem signed nothing."""
    x509 = pytest.importorskip("cryptography.x509", reason="cryptography is not installed: no certificates can be made")
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    folder.mkdir()
    start = datetime.now(timezone.utc) - timedelta(days=1)

    def named(name):
        return x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])

    def certificate(name, key, issuer, issuer_key, extension):
        builder = x509.CertificateBuilder().subject_name(named(name)).issuer_name(named(issuer))
        builder = builder.public_key(key.public_key()).serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(start).not_valid_after(start + timedelta(days=30))
        return builder.add_extension(extension, critical=False).sign(issuer_key, hashes.SHA256())

    def save(name, certificate):
        (folder / name).write_bytes(certificate.public_bytes(serialization.Encoding.PEM))

    authority = x509.BasicConstraints(ca=True, path_length=None)
    for name in ("stranger", "ca"):
        ca_key = ec.generate_private_key(ec.SECP256R1())
        save(f"{name}.pem", certificate(name, ca_key, name, ca_key, authority))
    key = ec.generate_private_key(ec.SECP256R1())
    place = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))])
    save("server.pem", certificate("server", key, "ca", ca_key, place))
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "server.key").write_bytes(private)
    return folder
