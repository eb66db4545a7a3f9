"""Proxies that the environment names, and cameras of the local network, which no proxy can reach."""

from __future__ import annotations

import ipaddress
import os
from urllib.parse import urlsplit

from edge.core.redact import redact

_VARIABLES = ("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
_LOCAL_ENDS = (".local", ".localdomain", ".lan", ".internal", ".home.arpa")


def bypass_proxy(address: str) -> None:
    """Keep FFmpeg and others in this process from asking a proxy for a camera of the local network.

    They take http_proxy for every address that no_proxy does not name. Looks nothing up.
    """
    host = _host(address)
    if host is None or not _is_local(host) or not _proxies() or _is_excluded(host):
        return
    kept = _excluded()
    os.environ["no_proxy"] = f"{kept},{host}" if kept else host


def proxy_advice(address: str) -> str:
    """A sentence about the proxy for the message that a camera does not answer; empty where none is set."""
    host, proxies = _host(address), _proxies()
    if host is None or not proxies:
        return ""
    named = ", ".join(f"{name}={redact(value)}" for name, value in proxies.items())
    if _is_excluded(host):
        return f"the environment sets {named}, which is not used for {host}"
    return f"the environment sets {named}: if the camera is on the local network, set no_proxy={host}"


def with_proxy_advice(fix: str, address: str) -> str:
    """What to do when a camera does not answer, and the advice about the proxy where one is set."""
    return "; ".join(filter(None, [fix, proxy_advice(address)]))


def _proxies() -> dict[str, str]:
    return {name: value for name in _VARIABLES if (value := os.environ.get(name))}


def _excluded() -> str:
    return os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""


def _is_excluded(host: str) -> bool:
    """As FFmpeg and curl read the list: names of hosts, and ends of names."""
    entries = [entry.lstrip(".") for entry in _excluded().replace(",", " ").split()]
    return any(entry in ("*", host) or host.endswith(f".{entry}") for entry in entries)


def _host(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None


def _is_local(host: str) -> bool:
    try:
        # loopback and link-local addresses are private, too
        return ipaddress.ip_address(host).is_private
    except ValueError:
        return "." not in host or host.endswith(_LOCAL_ENDS)
