"""What a service manager is told: that the line is ready, that it lives, that it ends (sd_notify, without a library).

Source: systemd's sd_notify(3) and sd_watchdog_enabled(3): datagrams to the socket named by NOTIFY_SOCKET.
"""

from __future__ import annotations

import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

log = logging.getLogger("edge.service")

_STATUS_EVERY_S = 1.0
# loading a network, and waiting for a device that is not there yet
_START_S = 300


class ServiceManager:
    """Does nothing where no service manager asks to be told. Never raises, never waits.

    restart_after_s: inspection that has not come round for so long is given up: the watchdog is fed no more, and the
    service manager ends this process and starts another. Until then the line says INVALID, which is better than nothing
    from a line that is being started.
    """

    def __init__(
        self,
        restart_after_s: float,
        environment: Mapping[str, str] = os.environ,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._restart_after_s, self._now_s = restart_after_s, now_s
        address = environment.get("NOTIFY_SOCKET", "")
        # @ stands for the zero byte that begins an abstract address
        self._address = f"\0{address[1:]}" if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if address else None
        if self._socket is not None:
            self._socket.setblocking(False)
        self._watchdog_us = _watchdog_us(environment)
        self._every_s = min(_STATUS_EVERY_S, self._watchdog_us / 4e6) if self._watchdog_us else _STATUS_EVERY_S
        self._next_s = 0.0
        self._given_up = False

    def ready(self) -> None:
        """Model and camera answer: inspection begins."""
        # as it was before `starting_again`
        self._send(f"READY=1\nWATCHDOG_USEC={self._watchdog_us}" if self._watchdog_us else "READY=1")

    def alive(self, beat_age_s: float | None, status: Callable[[], str]) -> None:
        """To be called several times a second. beat_age_s: since inspection last came round; status: a line of text."""
        if self._socket is None or self._now_s() < self._next_s:
            return
        self._next_s = self._now_s() + self._every_s
        if beat_age_s is None or beat_age_s < self._restart_after_s:
            self._given_up = False
            self._send(f"WATCHDOG=1\nSTATUS={status()}")
            return
        if not self._given_up:
            self._given_up = True
            log.error("inspection has not come round for %.0f s: the service manager may restart the line", beat_age_s)
        self._send(f"STATUS=hangs for {beat_age_s:.0f} s, is to be restarted")

    def stopping(self) -> None:
        """Inspection is over; what waits is still to be written."""
        self._send("STOPPING=1")

    def starting_again(self) -> None:
        """This process becomes another one, which is to be given the time of a start: it is no stop of the service."""
        longer = f"WATCHDOG_USEC={_START_S}000000\n" if self._watchdog_us else ""
        self._send(f"{longer}STATUS=starting again for its device")

    def _send(self, message: str) -> None:
        if self._socket is None:
            return
        try:
            self._socket.sendto(message.encode(), self._address)
        # a manager that does not listen must not hold the line up
        except OSError as error:
            log.debug("the service manager was not told %r: %s", message, error)


def _watchdog_us(environment: Mapping[str, str]) -> int:
    """How long the service manager waits for a sign of life; 0 where it does not wait for one of this process."""
    microseconds, process = environment.get("WATCHDOG_USEC", ""), environment.get("WATCHDOG_PID")
    if not microseconds.isdecimal() or process not in (None, str(os.getpid())):
        return 0
    return int(microseconds)
