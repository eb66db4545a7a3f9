"""Where a channel lies, and where reports go: a folder, such as a share, or a server that is spoken to by HTTPS.

What comes is neither trusted nor believed in its size: `channel_file.py` and `download.py` check all of it. Nothing
that goes wrong on the way speaks against a version, so all of it is ChannelWaits: a share that is copied just now has
files that are cut off, and a box that reported a refusal for that would halt the version for all boxes.
"""

from __future__ import annotations

import http.client
import os
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import quote, urlsplit

from edge.core.errors import ChannelWaits, ConfigError
from edge.core.files.atomic_file import write_atomic
from edge.core.files.safe_file import Unconfined, read_safe
from edge.core.sections import ChannelSettings, is_address

# of a server that does not answer, for each time that it is waited for
_TIMEOUT_S = 20.0
# a server that gives less than this is not waited for any longer; the download goes on at the next look
_SLOWEST_BYTES_S = 10_000
_BLOCK = 1 << 16
_LATER = "nothing to do: it is tried again at the next look"


class DiskError(Exception):
    """Writing what came failed. No OSError, which would look like one of the network. number: of errno."""

    def __init__(self, error: OSError) -> None:
        super().__init__(error.strerror)
        self.number = error.errno


class Place(Protocol):
    """where: for messages. requests, received: made and bytes that came so far, without what TLS and headers add."""

    where: str
    requests: int
    received: int

    def read(self, name: str, limit_bytes: int) -> bytes:
        """A small file, whole. Raises ChannelWaits."""

    def copy(self, name: str, target: BinaryIO, size: int) -> None:
        """Append what `target` lacks of a file of `size` bytes, or begin anew where the place cannot begin in between.

        Raises ChannelWaits (then `target` holds what came), DiskError for `target`.
        """

    def write(self, name: str, data: bytes) -> None:
        """Replace a small file. Raises ChannelWaits."""


def place_of(text: str, settings: ChannelSettings) -> Place:
    """The place that the settings, whose address was checked when they were read, or the command line name."""
    return HttpsPlace(text, settings) if is_address(text) else FolderPlace(Path(text))


class FolderPlace:
    """A folder. A share that hangs, hangs whoever reads it: never a line, which does not read it."""

    def __init__(self, folder: Path) -> None:
        self.where, self.requests, self.received = str(folder), 0, 0
        self._folder = folder

    def read(self, name: str, limit_bytes: int) -> bytes:
        self.requests += 1
        with self._explained(name):
            data = read_safe(self._folder, name, limit_bytes)
        self.received += len(data)
        return data

    def copy(self, name: str, target: BinaryIO, size: int) -> None:
        self.requests += 1
        path = self._folder / name
        with self._explained(name):
            found = path.stat().st_size
            if not path.is_file():
                # a pipe would be waited for
                raise Unconfined(0, "is not a plain file")
            source = path.open("rb")
        with source:
            if found != size:
                raise _another_size(f"{path}", found, size)
            source.seek(target.seek(0, os.SEEK_END))
            while True:
                with self._explained(name):
                    block = source.read(_BLOCK)
                if not block:
                    return
                _append(target, block)
                self.received += len(block)

    def write(self, name: str, data: bytes) -> None:
        self.requests += 1
        with self._explained(name):
            # not those above it: a share that is not mounted must not be made up
            self._folder.mkdir(exist_ok=True)
            write_atomic(self._folder / name, data)

    @contextmanager
    def _explained(self, name: str) -> Iterator[None]:
        try:
            yield
        except Unconfined as error:
            raise ChannelWaits(f"{self._folder / name}: {error.strerror}", fix="publish the channel anew") from error
        except OSError as error:
            raise ChannelWaits(
                f"{self._folder / name}: {error.strerror}", fix="see that the share is there and may be used"
            ) from error


@dataclass(frozen=True)
class _Answer:
    """status: of HTTP. reply: its body has not been read."""

    status: int
    reply: http.client.HTTPResponse


class HttpsPlace:
    """A folder of a web server. Never follows a redirection, and asks no proxy."""

    def __init__(self, address: str, settings: ChannelSettings) -> None:
        parts = urlsplit(address)
        self.where, self.requests, self.received = address, 0, 0
        self._secure, self._host, self._port = parts.scheme == "https", parts.hostname or "", parts.port
        # as given where it is quoted already
        self._path = quote(parts.path.rstrip("/"), safe="/%")
        self._context = _tls(settings) if self._secure else None

    def read(self, name: str, limit_bytes: int) -> bytes:
        with self._asked("GET", name, limit_bytes) as answer:
            if answer.status != 200:
                raise self._refused(name, answer)
            data = answer.reply.read(limit_bytes + 1)
            self.received += len(data)
            if len(data) > limit_bytes:
                raise ChannelWaits(
                    f"{self._url(name)}: larger than the {limit_bytes} bytes that this file may have",
                    fix="see what lies there; publish the channel anew",
                )
            if answer.reply.length:
                raise ChannelWaits(f"{self._url(name)}: the connection ended in the middle of it", fix=_LATER)
            return data

    def copy(self, name: str, target: BinaryIO, size: int) -> None:
        have = target.seek(0, os.SEEK_END)
        headers = {"Range": f"bytes={have}-"} if have else {}
        with self._asked("GET", name, size - have, headers=headers) as answer:
            if have and answer.status == 200:
                # a server that gives whole files only
                have = target.seek(0)
                target.truncate()
            elif answer.status != (206 if have else 200):
                raise self._refused(name, answer)
            coming = answer.reply.length
            begins = answer.reply.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
            if (coming is not None and have + coming != size) or (have and begins != str(have)):
                raise _another_size(self._url(name), have + (coming or 0), size)
            self._receive(name, answer.reply, target, have, size)

    def _receive(self, name: str, reply: http.client.HTTPResponse, target: BinaryIO, have: int, size: int) -> None:
        while block := reply.read1(_BLOCK):
            have += len(block)
            self.received += len(block)
            if have > size:
                raise _another_size(self._url(name), have, size)
            _append(target, block)
        if have < size:
            raise ChannelWaits(
                f"{self._url(name)}: the connection ended after {have} of {size} bytes",
                fix="nothing to do: what came is kept, and the rest fetched at the next look",
            )

    def write(self, name: str, data: bytes) -> None:
        headers = {"Content-Type": "application/json"}
        with self._asked("PUT", name, len(data), body=data, headers=headers) as answer:
            if answer.status not in (200, 201, 204):
                raise self._refused(name, answer)

    @contextmanager
    def _asked(
        self, method: str, name: str, size: int, *, body: bytes | None = None, headers: dict[str, str] | None = None
    ) -> Iterator[_Answer]:
        """The answer to one request; each has a connection of its own, which a proxy or a restart cannot spoil.

        size: bytes that go one way or the other. A server that gives them one by one is left, too: no single wait for
        it is long.
        """
        self.requests += 1
        connection = (
            http.client.HTTPConnection(self._host, self._port, timeout=_TIMEOUT_S)
            if self._context is None
            else http.client.HTTPSConnection(self._host, self._port, timeout=_TIMEOUT_S, context=self._context)
        )
        left = threading.Event()
        leave = threading.Timer(_TIMEOUT_S + size / _SLOWEST_BYTES_S, _leave, (connection, left))
        leave.daemon = True
        leave.start()
        try:
            connection.request(method, f"{self._path}/{quote(name)}", body=body, headers=headers or {})
            reply = connection.getresponse()
            if not left.is_set():
                yield _Answer(reply.status, reply)
            # a body without a length ends as one that was left; and it may have been left before it was reached
            if left.is_set():
                raise TimeoutError
        except (ChannelWaits, http.client.HTTPException, OSError, UnicodeError) as error:
            if left.is_set():
                raise ChannelWaits(
                    f"{self._url(name)}: too slow, it gives less than {_SLOWEST_BYTES_S} bytes a second",
                    fix="see to the network; of a large file what came is kept, and the rest fetched at the next look",
                ) from error
            if isinstance(error, ChannelWaits):
                raise
            raise self._explained(name, error) from error
        finally:
            leave.cancel()
            connection.close()

    def _explained(self, name: str, error: Exception) -> ChannelWaits:
        if isinstance(error, ssl.SSLCertVerificationError):
            return ChannelWaits(
                f"{self._url(name)}: the server's certificate is not trusted: {error.verify_message}",
                fix=_certificate_fix(error.verify_message),
            )
        if isinstance(error, ssl.SSLError):
            return ChannelWaits(
                f"{self._url(name)}: no secure connection: {error.reason or error}",
                fix="see whether the server wants a certificate of this box (channel.certificate_file)",
            )
        # UnicodeError among them: of a host name that can be none
        words = getattr(error, "strerror", None) or str(error) or type(error).__name__
        return ChannelWaits(f"{self._url(name)}: {words}", fix=f"see to network and server; {_LATER}")

    def _url(self, name: str) -> str:
        return f"{self.where.rstrip('/')}/{name}"

    def _refused(self, name: str, answer: _Answer) -> ChannelWaits:
        what = f"{self._url(name)}: the server answers {answer.status} {answer.reply.reason}"
        if 300 <= answer.status < 400:
            return ChannelWaits(
                f"{what} and sends to {answer.reply.headers.get('Location', 'nowhere')!r:.200}",
                fix="a redirection is not followed: give the address itself as channel.source",
            )
        return ChannelWaits(
            what,
            fix="see that the whole folder is served, that this box may read it and write its report, and whether the "
            "server wants a certificate of this box (channel.certificate_file)",
        )


def _leave(connection: http.client.HTTPConnection, left: threading.Event) -> None:
    left.set()
    # it may be gone, or not be there yet
    with suppress(OSError, AttributeError):
        connection.sock.shutdown(socket.SHUT_RDWR)


def _append(target: BinaryIO, block: bytes) -> None:
    try:
        target.write(block)
        # now, so that a full disk is found here and not when the file is closed
        target.flush()
    except OSError as error:
        raise DiskError(error) from error


def _tls(settings: ChannelSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"channel.ca_file {settings.ca_file}: {error.strerror or error}",
            fix="give the certificate of the authority",
        ) from error
    if settings.certificate_file is not None:
        try:
            # an encrypted key would be asked for at a terminal
            context.load_cert_chain(settings.certificate_file, settings.key_file, password="")
        except (OSError, ssl.SSLError, ValueError) as error:
            raise ConfigError(
                f"channel.certificate_file {settings.certificate_file} and key_file {settings.key_file} "
                f"cannot be used: {getattr(error, 'strerror', None) or error}",
                fix="give a certificate and its key as PEM files, the key without a passphrase",
            ) from error
    return context


def _certificate_fix(reason: str) -> str:
    """A clock that is wrong looks like a certificate that is too old or too young."""
    if "expired" in reason or "not yet valid" in reason:
        now = time.strftime("%Y-%m-%d %H:%M", time.gmtime())
        return f"this box's clock says {now} UTC: set it; if it is right, renew the server's certificate"
    return "give the authority's certificate as channel.ca_file, and the name that the server's certificate has"


def _another_size(where: str, found: int, size: int) -> ChannelWaits:
    return ChannelWaits(
        f"{where}: {found} bytes, and the signed manifest says {size}: the file was cut off or exchanged",
        fix="copy the folder of the channel to the server again",
    )
