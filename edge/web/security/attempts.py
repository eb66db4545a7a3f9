"""How often somebody may try a token."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

WINDOW_S = 60.0
# of one address; and of all, since each costs time and memory of the machine that inspects
MOST_FROM_ONE, MOST = 5, 30


class Attempts:
    """Counts attempts that failed in the last minute; from any thread."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._lock = threading.Lock()
        self._failed: deque[tuple[float, str]] = deque()

    def wait_s(self, address: str) -> float:
        """How long this address must wait for its next attempt; 0: not at all."""
        with self._lock:
            now = self._now_s()
            while self._failed and now - self._failed[0][0] >= WINDOW_S:
                self._failed.popleft()
            own = [at for at, who in self._failed if who == address]
            full = [at for at, _ in self._failed]
            waits = [kept[-most] + WINDOW_S - now for kept, most in ((own, MOST_FROM_ONE), (full, MOST))
                     if len(kept) >= most]  # fmt: skip
        return max(waits, default=0.0)

    def failed(self, address: str) -> None:
        """This address has brought a wrong token."""
        with self._lock:
            self._failed.append((self._now_s(), address))
