"""What waits for the disk: bounded, shared by the inspecting thread and the record writer."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from edge.core.alarms import Alarm
from edge.core.counters import RunCounters
from edge.core.datatypes import U8, Decision, Frame, Reason, Verdict
from edge.records.recipe_changes import RecipeChange
from edge.records.writer.database import ImageValues, RowValues
from edge.records.writer.pictures import StoredPicture

# alarms whose newest state waits for the disk; beyond that the oldest are lost
MOST_ALARMS = 1000
# changes of the recipe that wait for it; the same
MOST_RECIPE_CHANGES = 1000


@dataclass(eq=False)
class Entry:
    """One verdict on its way to the disk.

    frame, verdict: held only while their picture is to be written. row_id: set once the row is committed; settled: once
    the row is committed with all it will ever say about its picture.
    """

    row: RowValues
    queued_ns: int
    frame: Frame | None = None
    verdict: Verdict | None = None
    stored: StoredPicture | None = None
    skipped: bool = False
    lost: bool = False
    row_id: int | None = None
    settled: bool = False

    def image_values(self) -> ImageValues:
        """What its row says about the picture now."""
        if self.stored is not None:
            return ImageValues("stored", self.stored)
        if self.skipped:
            return ImageValues("skipped")
        return ImageValues("waiting" if self.frame is not None else "none")

    def let_go_of_frame(self) -> None:
        self.frame = self.verdict = None


class RecordQueue:
    """Rows and alarms not yet committed, and pictures not yet written; all keep their order.

    At most max_pictures pictures wait, later ones are skipped. At most max_rows rows and MOST_ALARMS alarms wait, of
    more the oldest are lost. The counters count both.
    """

    def __init__(self, max_rows: int, max_pictures: int, counters: RunCounters) -> None:
        self._max_rows = max_rows
        self._max_pictures = max_pictures
        # the counters of skips and losses have two writing threads, so this lock covers them too
        self._counters = counters
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        # who waited in vain is not asked to wait again before something moved
        self._stuck = False
        self._news = threading.Event()
        self._rows: deque[Entry] = deque()
        self._in_flight: Sequence[Entry] = ()
        self._pictures: deque[Entry] = deque()
        self._discarded: list[StoredPicture] = []
        self._alarms: dict[int, Alarm] = {}
        self._recipe_changes: deque[RecipeChange] = deque(maxlen=MOST_RECIPE_CHANGES)

    def put(self, entry: Entry, patience_s: float = 0.0) -> None:
        """Add the newest entry, waiting that long for its picture's place; wakes the writer if it may be idle."""
        with self._lock:
            if entry.frame is not None:
                if patience_s and not self._stuck:
                    self._stuck = not self._room.wait_for(lambda: len(self._pictures) < self._max_pictures, patience_s)
                if len(self._pictures) < self._max_pictures:
                    self._pictures.append(entry)
                    self._news.set()
                else:
                    self._skip(entry)
            if not self._rows:
                self._news.set()
            self._rows.append(entry)
            self._lose_surplus()

    def put_alarm(self, alarm: Alarm) -> None:
        """Add an alarm, or its newer state; wakes the writer."""
        with self._lock:
            self._alarms[alarm.number] = alarm
            if len(self._alarms) > MOST_ALARMS:
                del self._alarms[next(iter(self._alarms))]
                self._counters.alarms_lost += 1
        self._news.set()

    def alarms(self) -> list[Alarm]:
        """Those that wait; answer with `alarms_committed`."""
        with self._lock:
            return list(self._alarms.values())

    def alarms_committed(self, alarms: Sequence[Alarm]) -> None:
        """Note that these states are on record; a newer state of one goes on waiting."""
        with self._lock:
            for alarm in alarms:
                if self._alarms.get(alarm.number) is alarm:
                    del self._alarms[alarm.number]

    def put_recipe_change(self, change: RecipeChange) -> None:
        """Add one; wakes the writer."""
        with self._lock:
            self._recipe_changes.append(change)
        self._news.set()

    def recipe_changes(self) -> list[RecipeChange]:
        """Those that wait, oldest first; answer with `recipe_changes_committed`."""
        with self._lock:
            return list(self._recipe_changes)

    def recipe_changes_committed(self, changes: Sequence[RecipeChange]) -> None:
        """Note that these are on record."""
        with self._lock:
            for change in changes:
                # a full queue may have lost it meanwhile
                if self._recipe_changes and self._recipe_changes[0] is change:
                    self._recipe_changes.popleft()

    def notes_wait(self) -> bool:
        """Whether an alarm or a change of the recipe waits."""
        with self._lock:
            return bool(self._alarms or self._recipe_changes)

    def wake(self) -> None:
        self._news.set()

    def wait(self, seconds: float) -> None:
        """Sleep until `seconds` passed or there is news."""
        if seconds > 0:
            self._news.wait(seconds)
        self._news.clear()

    def waiting(self) -> tuple[int, int]:
        """(rows, pictures) that wait."""
        with self._lock:
            return len(self._rows) + len(self._in_flight), len(self._pictures)

    def oldest_row_ns(self) -> int | None:
        with self._lock:
            return self._rows[0].queued_ns if self._rows else None

    def take_rows(self, limit: int) -> Sequence[Entry]:
        """The oldest rows, to be committed; answer with `rows_committed` or `put_rows_back`."""
        with self._lock:
            self._in_flight = [self._rows.popleft() for _ in range(min(limit, len(self._rows)))]
            return self._in_flight

    def rows_committed(self, ids: Sequence[int | None]) -> list[Entry]:
        """Note the ids of the rows taken, None where no database takes one and it is lost; those committed."""
        with self._lock:
            for entry, row_id in zip(self._in_flight, ids, strict=True):
                if row_id is None:
                    self._lose(entry)
                entry.row_id = row_id
                entry.settled = entry.frame is None
            committed = [entry for entry in self._in_flight if not entry.lost]
            self._in_flight = ()
            return committed

    def put_rows_back(self) -> None:
        with self._lock:
            self._rows.extendleft(reversed(self._in_flight))
            self._in_flight = ()
            self._lose_surplus()

    def next_picture(self) -> Entry | None:
        """The oldest picture not yet written; stays in the queue until `picture_written` or `skip_picture`."""
        with self._lock:
            return self._pictures[0] if self._pictures else None

    def picture_written(self, entry: Entry, stored: StoredPicture) -> None:
        with self._lock:
            self._take_picture(entry)
            if entry.lost:
                self._discarded.append(stored)
            else:
                entry.stored = stored
            entry.let_go_of_frame()

    def skip_picture(self, entry: Entry) -> None:
        with self._lock:
            self._take_picture(entry)
            self._skip(entry)

    def skip_pictures_of_committed_rows(self) -> None:
        """For when those rows are out of reach."""
        with self._lock:
            for entry in [entry for entry in self._pictures if entry.row_id is not None]:
                self._pictures.remove(entry)
                self._skip(entry)

    def forget_files(self, is_gone: Callable[[str], bool]) -> None:
        """Take pictures off rows that still wait, where their files are gone."""
        with self._lock:
            for entry in self._rows:
                if entry.stored is not None and is_gone(entry.stored.image):
                    entry.stored = None
                    self._skip(entry)

    def drop_stored(self, entry: Entry) -> None:
        """The same for one entry, whose row is committed."""
        with self._lock:
            entry.stored = None
            self._skip(entry)

    def skip_all_pictures(self) -> list[Entry]:
        """Give up every waiting picture; the entries."""
        with self._lock:
            entries = list(self._pictures)
            self._pictures.clear()
            for entry in entries:
                self._skip(entry)
            return entries

    def lose_all_rows(self) -> None:
        with self._lock:
            while self._rows:
                self._lose_oldest()

    def take_discarded(self) -> list[StoredPicture]:
        """Pictures on disk whose rows were lost: their files belong to nobody."""
        with self._lock:
            discarded, self._discarded = self._discarded, []
            return discarded

    def _lose_surplus(self) -> None:
        while self._rows and len(self._rows) + len(self._in_flight) > self._max_rows:
            self._lose_oldest()

    def _lose_oldest(self) -> None:
        self._lose(self._rows.popleft())

    def _lose(self, entry: Entry) -> None:
        entry.lost = True
        self._counters.records_lost += 1
        self._take_picture(entry)
        if entry.stored is not None:
            self._discarded.append(entry.stored)

    def _take_picture(self, entry: Entry) -> None:
        if entry.frame is not None and entry in self._pictures:
            self._pictures.remove(entry)
            self._stuck = False
            self._room.notify()

    def _skip(self, entry: Entry) -> None:
        entry.skipped = True
        entry.let_go_of_frame()
        self._counters.images_skipped += 1


class RepeatedPicture:
    """The last INVALID picture that was written, for verdicts with the same reason and the same pixels.

    A frozen camera shows one picture thousands of times; it is stored once, and the rows share it. OK and NG verdicts
    never share: there each row is a part of its own, and its overlay differs. Nor do parts of different numbers.
    """

    def __init__(self) -> None:
        self._owner: Entry | None = None
        self._image: U8 | None = None
        self._reason: Reason | None = None
        self._part = ("", "")

    def find(self, frame: Frame, verdict: Verdict) -> StoredPicture | None:
        """The same picture on disk, with size 0 as it is counted already; None when it must be written.

        Only a picture whose own row is committed is shared: otherwise losing that row would take it from the others.
        """
        if self._owner is None or not self._owner.settled or self._owner.stored is None or self._image is None:
            return None
        if verdict.decision is not Decision.INVALID or verdict.reason is not self._reason or frame.image is None:
            return None
        if _identity(frame) != self._part:
            return None
        return replace(self._owner.stored, size_bytes=0) if np.array_equal(self._image, frame.image) else None

    def note(self, owner: Entry, frame: Frame, verdict: Verdict) -> None:
        """Remember a picture that was just written for `owner`."""
        if verdict.decision is Decision.INVALID:
            self._owner, self._image, self._reason = owner, frame.image, verdict.reason
            self._part = _identity(frame)

    def forget(self) -> None:
        """For when the file may be gone."""
        self._owner = self._image = self._reason = None


def _identity(frame: Frame) -> tuple[str, str]:
    return ("", "") if frame.part is None else (frame.part.number, frame.part.lot)
