"""Work on what was judged, in a thread beside the inspection."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Generic, TypeVar

from edge.core.alarms import MONITORING, Alarm
from edge.core.counters import worth_a_line
from edge.monitoring.alarm_log import AlarmLog

log = logging.getLogger("edge.monitoring")

T = TypeVar("T")

# items that may wait; one item more is left out
MOST_WAITING = 256
# failures in a row after which the work ends
MOST_FAILURES = 100


class BackgroundWorker(Generic[T]):
    """Gives one item after another to `take`, in a thread of its own, so that no verdict waits for the work.

    name: of the work, for its thread and in messages. failed: called with each error that `take` raises; the next item
    is taken nevertheless, unless MOST_FAILURES come in a row. alarms: an alarm stands while the work is too slow, and
    from its end to the end of the run; items are left out then, and no memory is taken for them.
    """

    def __init__(
        self, name: str, take: Callable[[T], None], failed: Callable[[Exception], None], alarms: AlarmLog
    ) -> None:
        self._name, self._take, self._failed, self._alarms = name, take, failed, alarms
        self._queue: queue.Queue[T | None] = queue.Queue(MOST_WAITING)
        self._behind: Alarm | None = None
        self._closing = self._ended = False
        self._thread = threading.Thread(target=self._work, name=name, daemon=True)
        self._thread.start()

    @property
    def waiting(self) -> int:
        """Items that were put and not yet taken."""
        return self._queue.qsize()

    def put(self, item: T) -> None:
        """Returns at once. Where the queue is full, or the work has ended, the item is left out."""
        if self._ended:
            return
        try:
            self._queue.put_nowait(item)
        except queue.Full:
            if self._behind is None:
                what = (
                    f"the {self._name} is {MOST_WAITING} parts behind and leaves out newer ones: it is slow, or hangs"
                )
                self._behind = self._alarms.begin(MONITORING, what, "find out what takes the processor; else restart")

    def close(self, timeout_s: float) -> None:
        """Take what waits, for so long at most."""
        self._closing = True
        # where it is full, the thread ends after the items that wait
        with suppress(queue.Full):
            self._queue.put_nowait(None)
        self._thread.join(timeout_s)

    def _work(self) -> None:
        failures = in_a_row = 0
        while not (self._closing and self._queue.empty()) and (item := self._queue.get()) is not None:
            try:
                self._take(item)
                in_a_row = 0
            except Exception as error:
                failures, in_a_row = failures + 1, in_a_row + 1
                self._failed(error)
                if worth_a_line(failures):
                    log.exception("the %s failed %d times; please report it", self._name, failures)
                if in_a_row == MOST_FAILURES:
                    self._end(error)
                    return
            if self._behind is not None and self._queue.empty():
                self._alarms.end(self._behind)
                self._behind = None

    def _end(self, error: Exception) -> None:
        self._ended = True
        what = f"the {self._name} ended after {MOST_FAILURES} failures in a row, inspection goes on: {error!r}"
        self._alarms.begin(MONITORING, what, "restart edge-inspect, and report what the log says")
        # what still waits would never be taken
        while not self._queue.empty():
            self._queue.get_nowait()
