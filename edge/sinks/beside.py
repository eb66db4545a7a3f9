"""Work on what was judged, in a thread beside the inspection."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

log = logging.getLogger("edge.sinks")

T = TypeVar("T")


class Beside(Generic[T]):
    """Gives one thing after another to `take`, in a thread of its own, so that no verdict waits for it.

    name: of the work, for its thread and in messages. failed: told what ended it, if `take` raises: a bug there must be
    seen, and must not take the inspection along.
    """

    def __init__(self, name: str, take: Callable[[T], None], failed: Callable[[Exception], None]) -> None:
        self._name, self._take, self._failed = name, take, failed
        self._queue: queue.SimpleQueue[T | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Things that were put and not yet taken."""
        return self._queue.qsize()

    def put(self, item: T) -> None:
        """Returns at once."""
        self._queue.put(item)

    def close(self, timeout_s: float) -> None:
        """Take what waits, for so long at most."""
        self._queue.put(None)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        try:
            while (item := self._queue.get()) is not None:
                self._take(item)
        except Exception as error:
            self._failed(error)
            log.exception("the %s stopped by an unexpected error, inspection continues; please report it", self._name)
