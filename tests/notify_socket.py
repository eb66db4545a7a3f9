"""The socket on which a service manager listens, for tests of what it is told."""

from __future__ import annotations

import socket
import threading
from pathlib import Path

_ASKS = b"what was told?"


class NotifySocket:
    """messages: what was told so far, one a datagram. A thread takes them: the kernel holds a few only."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "notify"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._messages: list[str] = []
        self._asked = threading.Semaphore(0)
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while message := self._socket.recv(65536):
            if message == _ASKS:
                self._asked.release()
            else:
                self._messages.append(message.decode())
        self._socket.close()

    @property
    def environment(self) -> dict[str, str]:
        return {"NOTIFY_SOCKET": str(self.path), "WATCHDOG_USEC": "200000"}

    @property
    def messages(self) -> list[str]:
        # after all that was told before
        self._tell(_ASKS)
        self._asked.acquire()
        return list(self._messages)

    @property
    def fed(self) -> int:
        """How often the watchdog was fed."""
        return sum(message.startswith("WATCHDOG=1") for message in self.messages)

    def close(self) -> None:
        # an empty datagram ends the thread, which closes the socket
        self._tell(b"")

    def _tell(self, message: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as teller:
            teller.sendto(message, str(self.path))
