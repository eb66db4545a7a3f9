"""An HTTP answer that never ends, as the bytes that lie there: nothing is buffered out of sight, nothing waited for.

http.client reads ahead and waits for the next chunk's length; then nobody could tell a picture that has just come from
one that lay in a buffer.
"""

from __future__ import annotations

import selectors
import ssl
import urllib.request
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import unquote, urlsplit, urlunsplit

from edge.capture.streams.proxy import with_proxy_advice
from edge.core.config import CameraSettings
from edge.core.errors import CameraError
from edge.core.redact import redact

READ_BYTES = 1 << 20
# a chunk's length and its extensions
_MOST_CHUNK_HEADER = 1024
_REFUSED = {401: "user or password is wrong", 403: "this user may not see it", 404: "there is nothing at this address"}


class _UnbufferedResponse(HTTPResponse):
    """Takes from the socket what it is asked for, and no more."""

    def __init__(self, sock: Any, *arguments: Any, **named: Any) -> None:
        super().__init__(sock, *arguments, **named)
        self.fp.close()
        self.fp = sock.makefile("rb", buffering=1)


class _Connection(HTTPConnection):
    response_class = _UnbufferedResponse


class _SecureConnection(HTTPSConnection):
    response_class = _UnbufferedResponse


class _Handler(urllib.request.HTTPHandler):
    def http_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_Connection, request)


class _SecureHandler(urllib.request.HTTPSHandler):
    def https_open(self, request: urllib.request.Request) -> HTTPResponse:
        return self.do_open(_SecureConnection, request, context=_any_certificate())


class HttpStream:
    """The body of one answer. content_type: as the camera says it."""

    def __init__(self, response: HTTPResponse) -> None:
        self.content_type = response.headers.get("Content-Type", "")
        self._response = response
        self._chunks = Chunks() if response.chunked else None
        self._selector = selectors.DefaultSelector()
        self._selector.register(response, selectors.EVENT_READ)

    def readable(self, timeout_s: float) -> bool:
        """Whether `receive` would return at once, waiting at most timeout_s for that."""
        return bool(self._selector.select(timeout_s))

    def receive(self) -> bytes | None:
        """What has come, at most READ_BYTES; may be empty. None at the end. Raises OSError, ValueError."""
        data = self._response.fp.read1(READ_BYTES)
        if not data:
            return None
        return data if self._chunks is None else self._chunks.feed(data)

    def close(self) -> None:
        self._selector.close()
        self._response.close()


class Chunks:
    """HTTP/1.1's chunked coding (RFC 9112, 7.1) taken off, as bytes come in; the trailer is not read."""

    def __init__(self) -> None:
        self._left = 0
        self._between = b""

    def feed(self, data: bytes) -> bytes:
        """The content in these bytes; raises ValueError when they do not keep to the coding."""
        content = bytearray()
        while data:
            if self._left:
                content += data[: self._left]
                taken = min(self._left, len(data))
                self._left -= taken
                data = data[taken:]
                continue
            line, newline, data = (self._between + data).partition(b"\n")
            # the line break that ends the chunk before stands in front of the next length
            if newline and line.strip():
                self._left, self._between = int(line.partition(b";")[0], 16), b""
            elif not newline:
                self._between, data = line, b""
                if len(line) > _MOST_CHUNK_HEADER:
                    raise ValueError("the stream's chunks have no length")
            else:
                self._between = b""
        return bytes(content)


def open_http(url: str, settings: CameraSettings) -> HttpStream:
    """Ask a camera for its stream, with user and password (Basic, Digest) from the address; raises CameraError.

    Certificates are not checked, as cameras sign theirs themselves.
    """
    name, parts = redact(url), urlsplit(url)
    authority = parts.netloc.rpartition("@")[2]
    bare = urlunsplit((parts.scheme, authority, parts.path or "/", parts.query, ""))
    passwords = urllib.request.HTTPPasswordMgrWithDefaultRealm()
    if parts.username is not None:
        passwords.add_password(None, bare, unquote(parts.username), unquote(parts.password or ""))
    opener = urllib.request.build_opener(
        _Handler,
        _SecureHandler,
        urllib.request.HTTPBasicAuthHandler(passwords),
        urllib.request.HTTPDigestAuthHandler(passwords),
    )
    try:
        response = opener.open(bare, timeout=settings.open_timeout_ms / 1000)
    except HTTPError as error:
        raise CameraError(
            f"{name}: the camera answers {error.code}: {_REFUSED.get(error.code, error.reason)}",
            fix=with_proxy_advice("check address, user and password, and try the same address in a browser", url),
        ) from error
    except (URLError, HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        cause = getattr(reason, "strerror", None) or str(reason) or type(reason).__name__
        raise CameraError(
            f"{name}: no video within {settings.open_timeout_ms} ms: {authority} does not answer ({redact(cause)})",
            fix=with_proxy_advice("check address, cable and power, and try the same address in a browser", url),
        ) from error
    return HttpStream(response)


def _any_certificate() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context
