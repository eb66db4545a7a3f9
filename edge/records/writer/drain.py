"""What a stop waits for: everything that is still to be written, as long as it becomes less."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from edge.records.writer.disk_errors import RecordState
from edge.records.writer.queue import RecordQueue

_POLL_S = 0.01
# a stop waits for a disk or a lock that does nothing; a large picture on a slow, busy machine takes a few seconds
_STILL_S = 15.0
_TELL_FIRST_S, _TELL_EVERY_S = 0.5, 2.0


def wait_until_written(
    queue: RecordQueue,
    state: RecordState,
    writer: threading.Thread,
    give_up: threading.Event,
    tell: Callable[[str], None],
    spare_rows: int,
) -> str:
    """Why something is left, empty when nothing is or the disk refuses, which `state` tells.

    tell: called every two seconds with what is left. spare_rows: so many are left to who closes.
    """
    left, moved_s = queue.waiting(), time.monotonic()
    told_s = moved_s + _TELL_FIRST_S - _TELL_EVERY_S
    while writer.is_alive() and not state.refused:
        if left[0] <= spare_rows and not left[1] and not state.passing:
            return ""
        now_s = time.monotonic()
        if give_up.is_set():
            return "given up, as asked"
        if now_s - moved_s > _STILL_S:
            return f"nothing could be written for {_STILL_S:.0f} s"
        if now_s - told_s >= _TELL_EVERY_S:
            told_s = now_s
            tell(state.left(*left))
        # no wait on the event: its lock is not to be held when a signal sets it in this thread
        time.sleep(_POLL_S)
        before, left = left, queue.waiting()
        if left != before:
            moved_s = now_s
    return ""
