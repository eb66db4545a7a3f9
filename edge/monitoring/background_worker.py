"""Work on what was judged, in a thread beside the inspection."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger("edge.monitoring")

T = TypeVar("T")

# failures in a row after which the work ends; until then each is one thing less that was looked at
MOST_FAILURES = 100


class BackgroundWorker(Generic[T]):
    """Gives one thing after another to `take`, in a thread of its own, so that no verdict waits for it.

    name: of the work, for its thread and in messages. failed: told each error that `take` raises. A bug there must be
    seen, and must take neither the inspection along nor, unless MOST_FAILURES come in a row, the work itself.
    """

    def __init__(self, name: str, take: Callable[[T], None], failed: Callable[[Exception], None]) -> None:
        self._name, self._take, self._failed = name, take, failed
        self._failures = 0
        self._queue: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Things that were put and not yet taken."""
        return self._queue.qsize()

    def put(self, item: T) -> None:
        """Returns at once; once the work has ended nothing is kept."""
        if self._thread.is_alive():
            self._queue.put(item)

    def close(self, timeout_s: float) -> None:
        """Take what waits, for so long at most."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            try:
                self._take(item)
                self._failures = 0
            except Exception as error:
                self._failures += 1
                self._failed(error)
                if self._failures in (1, 10):
                    log.exception("the %s failed %d times in a row; please report it", self._name, self._failures)
                if self._failures == MOST_FAILURES:
                    log.error("the %s ends after %d failures in a row, inspection continues", self._name, MOST_FAILURES)
                    return
