"""What a person should look at: drift, rejects in a burst, a line not ready, records, a clock. No verdict changes."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

BURST = "burst"
NOT_READY = "not ready"
RECORDS = "records"
CLOCK = "clock"


@dataclass(frozen=True)
class Alarm:
    """One thing that is wrong with the line, however many parts it touches.

    number: counts the alarms of a run. kind: a cause of monitoring/drift/causes.py, or one of those above. what,
    advice: for a person. size: in `unit`, with its sign. since: when it began, raised: when it was noticed, ended:
    None while it lasts. first_frame, last_frame: the frames it touches; last_frame is None while it lasts.
    """

    number: int
    kind: str
    what: str
    advice: str
    size: float
    unit: str
    since: datetime
    raised: datetime
    first_frame: int
    ended: datetime | None = None
    last_frame: int | None = None

    def text(self) -> str:
        """One line, times in the local zone."""
        since = f"{self.since.astimezone():%H:%M%z}"
        if self.ended is not None:
            return f"over at {self.ended.astimezone():%H:%M%z}: {self.what}, since {since}"
        return f"{self.what} since {since}: {self.advice}"


class AlarmBoard:
    """The alarms of a run, newest state of each; any thread may write and read."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._alarms: dict[int, Alarm] = {}
        self._numbers = 0

    def new_number(self) -> int:
        """For the next alarm of the run."""
        with self._lock:
            self._numbers += 1
            return self._numbers

    def put(self, alarm: Alarm) -> None:
        """Show an alarm, or its new state."""
        with self._lock:
            self._alarms[alarm.number] = alarm

    def all(self) -> list[Alarm]:
        """Oldest first."""
        with self._lock:
            return list(self._alarms.values())

    def standing(self) -> list[Alarm]:
        """Those that are not over."""
        return [alarm for alarm in self.all() if alarm.ended is None]
