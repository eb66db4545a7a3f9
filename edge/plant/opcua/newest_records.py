"""The newest verdicts of a line's records, and how far each user has been told of them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

from edge.records.schema import DATABASE_NAME, explained
from edge.records.store import RecordStore, VerdictRecord
from edge.review.database import Cursor, ReviewDatabase, is_of

# a client that was away for longer finds what is older in the records, and a gap in the sequence
MOST_KEPT = 1000
_AT_ONCE = 200


@dataclass(frozen=True)
class KeptVerdict:
    """record: without regions. run_key: of its run, by which another database in the records' place is noticed."""

    record: VerdictRecord
    run_key: str

    @property
    def sequence(self) -> int:
        """Counts up by one in one database of records."""
        return self.record.id

    @property
    def cursor(self) -> Cursor:
        return Cursor(self.record.id, self.run_key)


class NewestRecords:
    """Used in one thread at a time. kept: the oldest first, at most MOST_KEPT."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._keys: dict[int, str] = {}
        self.kept: deque[KeptVerdict] = deque(maxlen=MOST_KEPT)

    @property
    def newest(self) -> Cursor:
        return self.kept[-1].cursor if self.kept else Cursor()

    def read(self) -> tuple[list[KeptVerdict], bool]:
        """(new verdicts, whether another database stands there than before); raises RecordError."""
        path = self._directory / DATABASE_NAME
        with explained(path):
            if not path.is_file():
                return [], False
        # opened anew each time: another database may stand there by now
        with RecordStore(self._directory) as store:
            anew = not is_of(self.newest, store)
            if anew:
                self.kept.clear()
                self._keys.clear()
            after, most = self.newest.verdict_id, _AT_ONCE
            if not self.kept:
                # whole at once: a user who comes meanwhile is told nothing that was there before
                most = MOST_KEPT
                ((newest,),) = store.query("SELECT ifnull(max(id), 0) FROM verdicts")
                after = max(0, newest - MOST_KEPT)
            records = store.verdicts("WHERE id > ? ORDER BY id LIMIT ?", (after, most))
            new = [KeptVerdict(replace(each, regions=(), parts=()), self._key(store, each.run_id)) for each in records]
        self.kept.extend(new)
        return new, anew

    def _key(self, store: RecordStore, run_id: int) -> str:
        if run_id not in self._keys:
            self._keys[run_id] = store.run(run_id).key
        return self._keys[run_id]

    def cursor_of(self, user: str) -> Cursor:
        """Up to where the user has been told; from now on where it never was. Raises RecordError."""
        if not self.kept:
            return Cursor()
        with ReviewDatabase(self._directory) as review, RecordStore(self._directory) as store:
            found = review.cursor(_name(user))
            if found is None:
                review.save_cursor(_name(user), self.newest)
                return self.newest
            return found if is_of(found, store) else Cursor()

    def save(self, cursors: dict[str, Cursor]) -> None:
        """By user; raises RecordError."""
        with ReviewDatabase(self._directory) as review:
            for user, cursor in cursors.items():
                review.save_cursor(_name(user), cursor)


def _name(user: str) -> str:
    return f"opcua:{user}"
