"""Ctrl-C, a service manager's stop, a terminal that closes: what they ask of a running inspection."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

# a hand that presses Ctrl-C twice at once means one stop
_QUICK_HAND_S = 0.5


def stop_signals() -> list[signal.Signals]:
    """Those that end a command: SIGINT, SIGTERM and, unless `nohup` had it ignored, SIGHUP."""
    numbers = [signal.SIGINT, signal.SIGTERM]
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        numbers.append(signal.SIGHUP)
    return numbers


class StopRequests:
    """stop: set by the first signal. give_up: set by a second one, or by the first after `saving` was called: what is
    still to be written is not waited for. After that Ctrl-C is the usual one, which raises."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.give_up = threading.Event()
        self._first_s: float | None = None
        self._saving = False

    @property
    def interrupted(self) -> bool:
        """Whether a signal came."""
        return self._first_s is not None

    def saving(self) -> None:
        """From now on nothing is inspected, only written."""
        self._saving = True

    def note(self, number: int, frame: FrameType | None) -> None:
        """The handler of the signals."""
        now_s = time.monotonic()
        if self._first_s is None:
            self._first_s, gives_up = now_s, self._saving
        else:
            gives_up = now_s - self._first_s > _QUICK_HAND_S
        self.stop.set()
        if gives_up:
            self.give_up.set()
            signal.signal(signal.SIGINT, signal.default_int_handler)


@contextmanager
def unwrapped_ctrl_c() -> Iterator[None]:
    """Raise KeyboardInterrupt itself: Python before 3.12 wraps one that comes while a class is made in a RuntimeError.

    Every import makes classes, so a Ctrl-C while a library is loaded would end in a traceback.
    """
    try:
        yield
    except RuntimeError as error:
        if isinstance(error.__cause__, KeyboardInterrupt):
            raise error.__cause__ from None
        raise


@contextmanager
def stop_requests() -> Iterator[StopRequests]:
    """Let signals ask instead of raising."""
    requests = StopRequests()
    before = {number: signal.signal(number, requests.note) for number in stop_signals()}
    try:
        yield requests
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
