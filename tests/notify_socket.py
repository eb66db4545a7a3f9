"""The socket on which a service manager listens, for tests of what it is told."""

from __future__ import annotations

import socket
from pathlib import Path


class NotifySocket:
    """messages: what was told so far, one a datagram."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.setblocking(False)
        self._messages: list[str] = []

    @property
    def environment(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": "200000"}

    @property
    def messages(self) -> list[str]:
        while True:
            try:
                self._messages.append(self._socket.recv(65536).decode())
            except BlockingIOError:
                return self._messages

    @property
    def fed(self) -> int:
        """How often the watchdog was fed."""
        return sum(message.startswith("WATCHDOG=1") for message in self.messages)

    def close(self) -> None:
        self._socket.close()
