"""What a person should look at: drift, rejects in a burst, a line not ready, monitoring, records, a clock, a recipe.

An alarm changes no verdict.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from datetime import datetime

BURST = "burst"
NOT_READY = "not ready"
MONITORING = "monitoring"
RECORDS = "records"
CLOCK = "clock"
RECIPE = "recipe"

# alarms of a run that are kept in memory; older ones are on record
MOST_KEPT = 200


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
    """The newest MOST_KEPT alarms of a run, each in its newest state; any thread may write and read.

    left_out: how many older ones are not kept any more. Alarms that are over go first.
    """

    def __init__(self) -> None:
        self.left_out = 0
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
            if len(self._alarms) > MOST_KEPT:
                over = (number for number, kept in self._alarms.items() if kept.ended is not None)
                del self._alarms[next(over, next(iter(self._alarms)))]
                self.left_out += 1

    def all(self) -> list[Alarm]:
        """Oldest first."""
        with self._lock:
            return list(self._alarms.values())

    def standing(self) -> list[Alarm]:
        """Those that are not over."""
        return [alarm for alarm in self.all() if alarm.ended is None]
