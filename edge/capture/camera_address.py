"""Addresses of network cameras, before the network is used: unclear ones are refused, the password is put in."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path
from urllib.parse import quote, urlsplit

from edge.capture.streams.proxy import bypass_proxy
from edge.core.config import CameraSettings
from edge.core.errors import CameraError
from edge.core.files.password_file import read_password
from edge.core.redact import redact

log = logging.getLogger(__name__)

PASSWORD_VARIABLE = "EDGE_INSPECT_CAMERA_PASSWORD"
_ENCODE = "in user and password write %40 for @, %2F for /, %23 for #, %3F for ?, %3A for :, %20 for a blank, %25 for %"
_ADDRESS = re.compile(r"[\w+.-]+://[^\s\"']*")


def address_to_open(spec: str, settings: CameraSettings) -> str:
    """What a source names, with the camera's password; files, devices and `demo` stay as they are.

    An address with a user and without a password gets that of PASSWORD_VARIABLE, else of camera.password_file, which
    is read each time. No proxy is asked for a camera of the local network. Raises CameraError for an address whose
    parts are not clear, ConfigError for a useless file.
    """
    if "://" not in spec or spec.startswith("file://"):
        return spec
    if " ! " in spec:
        for address in _ADDRESS.findall(spec):
            _refuse_unclear(address)
            bypass_proxy(address)
        return spec
    _refuse_unclear(spec)
    bypass_proxy(spec)
    return _with_password(spec, settings)


def _refuse_unclear(address: str) -> None:
    """A sign of a password that has another meaning would make its tail the name of a host, and that be looked up."""
    _, _, rest = _parts(address)
    # no camera knows a #: what follows it would not even be sent; nor can a request hold a blank
    for sign, name, code in (("@", "an @", "%40"), ("#", "a #", "%23"), (" ", "a blank", "%20")):
        if sign in rest:
            raise CameraError(
                f"{redact(address)}: {name} after the host, or in a password: it is not clear where that ends",
                fix=f"{_ENCODE}; {name} in path and query is {code}, too",
            )
    try:
        parts = urlsplit(address)
        _ = parts.hostname, parts.port
    except ValueError:
        raise CameraError(
            f"{redact(address)}: host and port are not clear: what follows the last : before the path is not a port",
            fix=f"write rtsp://USER:PASSWORD@HOST:PORT/PATH; {_ENCODE}",
        ) from None


def _parts(address: str) -> tuple[str, str, str]:
    """(rtsp://, user:password@host:port, /path?query)."""
    scheme, sign, after = address.partition("://")
    end = re.search(r"[/?#]", after)
    place = len(after) if end is None else end.start()
    return scheme + sign, after[:place], after[place:]


def _with_password(address: str, settings: CameraSettings) -> str:
    scheme, authority, rest = _parts(address)
    user, sign, host = authority.rpartition("@")
    if ":" in user:
        return address
    password = _password(settings)
    if password is None:
        return address
    if not user:
        log.warning("%s names no user, so the camera's password is not used; write rtsp://USER@HOST", redact(address))
        return address
    return f"{scheme}{user}:{quote(password, safe='')}{sign}{host}{rest}"


def _password(settings: CameraSettings) -> str | None:
    if password := os.environ.get(PASSWORD_VARIABLE):
        return password
    file = settings.password_file
    return None if file is None else read_password(Path(file), "camera.password_file", "camera")
