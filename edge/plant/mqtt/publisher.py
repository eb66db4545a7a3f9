"""Publishes what a line records, from the records themselves: while the broker is away, they keep what it has not got.

Every recorded verdict arrives at least once. The cursor in review.sqlite stands behind what the broker has confirmed: a
publisher that was killed repeats a few verdicts and leaves none out. A broker that is killed takes along what it had
confirmed and not yet passed on, so after every break of the connection the last seconds are published once more.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.core.counters import worth_a_line
from edge.core.errors import RecordError
from edge.plant.mqtt.broker import Broker
from edge.plant.mqtt.messages import (
    OFFLINE,
    ONLINE,
    alarm_message,
    counts_message,
    info_message,
    recipe_message,
    topic_of,
    verdict_message,
)
from edge.plant.mqtt.recipe_command import RecipeCommand
from edge.plant.status_file import is_live, read_status
from edge.records.alarms import recorded_alarms
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore
from edge.review.database import Cursor, ReviewDatabase, is_of, newest_cursor, over_alarms

log = logging.getLogger("edge.plant.mqtt")

# messages that the broker has not confirmed yet
MOST_SENT = 200
_POLL_S = 0.2
_STATUS_EVERY_S = 0.5
COUNTS_EVERY_S = 10.0
_SAVE_EVERY_S = 1.0
_CLOSE_S = 2.0
# before the last confirmation of a connection that broke
REPEATED_S = 5.0
VERDICTS, ALARMS = "mqtt", "mqtt-alarms"


@dataclass(frozen=True)
class PublishedLine:
    """Whose records these are. run_directory: where the line keeps status.json."""

    site: str
    name: str
    records: Path
    run_directory: Path

    def topic(self, kind: str) -> str:
        return topic_of(self.site, self.name, kind)


@dataclass
class _Sent:
    """A message on its way. Once it and all before it have arrived, the cursor of this name may stand there."""

    number: int
    name: str = ""
    cursor: Cursor | None = None


class Publisher:
    """Used from one thread. from_beginning: where it has never published before, start with the oldest record instead
    of what is recorded from now on. Raises RecordError where review.sqlite cannot be used at the start.

    recipe: what takes requests for a recipe, whose answers are published; None: none are taken.
    """

    def __init__(
        self,
        line: PublishedLine,
        broker: Broker,
        review: ReviewDatabase,
        *,
        from_beginning: bool = False,
        recipe: RecipeCommand | None = None,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._line, self._broker, self._review, self._now_s = line, broker, review, now_s
        self.verdicts = 0
        self._recipe = recipe
        self._sent: deque[_Sent] = deque()
        self._arrived: dict[str, Cursor] = {}
        self._read = self._start(from_beginning)
        # (when, row id): the confirmations of the last REPEATED_S, after the newest one before; rows that are repeated
        self._confirmed: deque[tuple[float, int]] = deque([(-math.inf, self._read[VERDICTS].verdict_id)])
        self._repeat_after = self._repeat_up_to = 0
        self._alarms: dict[int, bytes] = {}
        self._sources: dict[int, tuple[str, str]] = {}
        # the retained messages as the broker has them, and of which connection
        self._told: dict[str, bytes] = {}
        self._connection = 0
        self._next_status_s = self._next_counts_s = self._next_save_s = 0.0
        self._failures = 0

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set; then a clean end is told."""
        while not stop.is_set():
            if not self.step():
                self._broker.wait(_POLL_S)
        self._end()

    def step(self) -> bool:
        """One round; whether there is more to send at once."""
        try:
            self._note_arrived()
            if not self._broker.connected:
                return False
            if self._connection != self._broker.connections:
                self._connection = self._broker.connections
                self._begin_connection()
            self._tell_status()
            for answer in self._recipe.answers() if self._recipe is not None else ():
                self._send("recipe", recipe_message(answer))
            more = self._send_records()
            self._failures = 0
            return more
        except RecordError as error:
            self._failures += 1
            if worth_a_line(self._failures):
                log.warning("not published (%d times): %s", self._failures, error.message)
            return False

    def _start(self, from_beginning: bool) -> dict[str, Cursor]:
        read = {name: self._review.cursor(name) for name in (VERDICTS, ALARMS)}
        if read[VERDICTS] is None and not from_beginning and self._recorded():
            with RecordStore(self._line.records) as store:
                read = {VERDICTS: newest_cursor(store), ALARMS: over_alarms(store)}
        start = {name: cursor or Cursor() for name, cursor in read.items()}
        # now, so that later starts go on from here, also if nothing is recorded in this one
        for name, cursor in start.items():
            self._review.save_cursor(name, cursor)
        return start

    def _recorded(self) -> bool:
        return (self._line.records / DATABASE_NAME).is_file()

    # what has arrived

    def _note_arrived(self) -> None:
        while self._sent and self._broker.arrived(self._sent[0].number):
            sent = self._sent.popleft()
            if sent.cursor is not None:
                self._arrived[sent.name] = sent.cursor
                if sent.name == VERDICTS:
                    self._confirmed.append((self._now_s(), sent.cursor.verdict_id))
        while len(self._confirmed) > 2 and self._confirmed[1][0] < self._confirmed[-1][0] - REPEATED_S:
            self._confirmed.popleft()
        if self._arrived and (not self._sent or self._now_s() >= self._next_save_s):
            self._next_save_s = self._now_s() + _SAVE_EVERY_S
            for name, cursor in self._arrived.items():
                self._review.save_cursor(name, cursor)
            self._arrived.clear()

    def _send(self, kind: str, payload: bytes, name: str = "", cursor: Cursor | None = None) -> None:
        self._sent.append(_Sent(self._broker.publish(self._line.topic(kind), payload), name, cursor))

    def _begin_connection(self) -> None:
        """What the broker may have lost, or changed by telling the will, is told again."""
        self._told.clear()
        self._alarms.clear()
        self._next_status_s = 0.0
        self._repeat_after, self._repeat_up_to = self._confirmed[0][1], self._confirmed[-1][1]

    # the state of the line

    def _tell_status(self) -> None:
        now_s = self._now_s()
        if now_s < self._next_status_s:
            return
        self._next_status_s = now_s + _STATUS_EVERY_S
        status = read_status(self._line.run_directory)
        live = is_live(status)
        self._tell("status", ONLINE if live else OFFLINE)
        if status is not None:
            self._tell("info", info_message(status))
        if status is not None and live and now_s >= self._next_counts_s:
            self._next_counts_s = now_s + COUNTS_EVERY_S
            self._send("counts", counts_message(status))

    def _tell(self, kind: str, payload: bytes) -> None:
        if self._told.get(kind) != payload:
            self._told[kind] = payload
            self._sent.append(_Sent(self._broker.publish(self._line.topic(kind), payload, retain=True)))

    # the records

    def _send_records(self) -> bool:
        room = MOST_SENT - len(self._sent)
        if room <= 0 or not self._recorded():
            return False
        # opened anew each time: another database may stand there by now
        with RecordStore(self._line.records) as store:
            if not all(is_of(cursor, store) for cursor in self._read.values()):
                self._begin_anew()
            self._send_alarms(store)
            room -= self._repeat_verdicts(store, room)
            return room > 0 and self._send_verdicts(store, room)

    def _begin_anew(self) -> None:
        log.warning("other records stand in %s than before: all of them are published", self._line.records)
        self._read = {VERDICTS: Cursor(), ALARMS: Cursor()}
        self._alarms.clear()
        self._sources.clear()
        self._arrived.clear()
        self._confirmed = deque([(-math.inf, 0)])
        self._repeat_after = self._repeat_up_to = 0
        for sent in self._sent:
            sent.cursor = None

    def _repeat_verdicts(self, store: RecordStore, room: int) -> int:
        """How many were sent."""
        limits = self._repeat_after, self._repeat_up_to, room
        records = store.verdicts("WHERE id > ? AND id <= ? ORDER BY id LIMIT ?", limits)
        for record in records:
            self._send("verdict", verdict_message(record, self._run(store, record.run_id)[0]))
        self._repeat_after = records[-1].id if records else self._repeat_up_to
        return len(records)

    def _send_verdicts(self, store: RecordStore, room: int) -> bool:
        records = store.verdicts("WHERE id > ? ORDER BY id LIMIT ?", (self._read[VERDICTS].verdict_id, room))
        for record in records:
            source, run_key = self._run(store, record.run_id)
            cursor = self._read[VERDICTS] = Cursor(record.id, run_key)
            self._send("verdict", verdict_message(record, source), VERDICTS, cursor)
            self.verdicts += 1
        return len(records) == room

    def _run(self, store: RecordStore, run_id: int) -> tuple[str, str]:
        """(source, key)"""
        if run_id not in self._sources:
            run = store.run(run_id)
            self._sources[run_id] = run.info.source, run.key
        return self._sources[run_id]

    def _send_alarms(self, store: RecordStore) -> None:
        """Those that are new, or in another state than they were told in.

        The cursor stands before the oldest alarm that is not over: what is not over may still change.
        """
        records = recorded_alarms(store, "id > ?", (self._read[ALARMS].verdict_id,))
        if not records:
            return
        open_runs = {run_id for (run_id,) in store.query("SELECT id FROM runs WHERE ended_utc IS NULL")}
        told = {record.id: alarm_message(record, record.run_id not in open_runs) for record in records}
        changed = [number for number, payload in told.items() if self._alarms.get(number) != payload]
        self._alarms = told
        if not changed:
            return
        # of what was read, and no second look: what changes in between is told in the next round
        standing = [each.id for each in records if each.alarm.ended is None and each.run_id in open_runs]
        done = min(standing) - 1 if standing else max(told)
        self._read[ALARMS] = Cursor(done, self._run(store, records[-1].run_id)[1])
        for number in changed:
            self._send("alarm", told[number], ALARMS, self._read[ALARMS] if number == changed[-1] else None)

    def _end(self) -> None:
        if self._broker.connected:
            self._tell("status", OFFLINE)
        give_up_s = self._now_s() + _CLOSE_S
        while self._sent and self._broker.connected and self._now_s() < give_up_s:
            self._broker.wait(0.05)
            self.settle()
        self.settle()

    def settle(self) -> None:
        """Note what has arrived, and where to go on the next time."""
        self._next_save_s = 0.0
        try:
            self._note_arrived()
        except RecordError as error:
            log.warning("how far was published could not be kept, and is repeated: %s", error.message)
