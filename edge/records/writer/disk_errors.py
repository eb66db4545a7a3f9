"""Why the disk or the database refuses, in plain words; and where a damaged database is kept."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import sqlite3
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from edge.core.alarms import RECORDS, Alarm
from edge.core.counters import RunCounters
from edge.core.errors import EdgeInspectError, ForeignRecords
from edge.monitoring.alarm_log import AlarmLog
from edge.records.writer.pictures import NoRoomForPictures

logger = logging.getLogger("edge.records.store")

_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EACCES, errno.EPERM}
# of SQLite, for a file that is no database, a page that is torn, and tables that are not ours
_DAMAGED = ("malformed", "not a database", "no such table", "no such column", "has no column")
# kinds of DiskError that end by themselves
_PASSING = {"locked", "damaged", "deleted", "unexpected"}

_HANGS = "hangs"
# an alarm is over when the disk has taken everything for so long
_CALM_S = 10.0
_ADVICE = "see to the disk; what waits in memory is recorded when it can, and lost when the program ends before"


@dataclass(frozen=True)
class DiskError:
    """kind: changes when the cause does, so that each cause is logged once. text: for a person."""

    kind: str
    text: str


def disk_error_of(error: Exception, directory: Path) -> DiskError:
    """Name the cause of an error met while writing below `directory`."""
    text = str(error)
    if isinstance(error, EdgeInspectError) and not is_damaged(error):
        return DiskError("refused", error.message)
    number = error.errno if isinstance(error, OSError) else None
    free_mb = _free_mb(directory)
    if isinstance(error, NoRoomForPictures):
        return DiskError("disk full", f"disk full but for verdicts: {directory} has {free_mb} MB free, make room")
    if number in _FULL or "disk is full" in text or ("disk I/O error" in text and free_mb == 0):
        return DiskError("disk full", f"disk full: {directory} has {free_mb} MB free, make room")
    if number == errno.EROFS or "readonly database" in text or _is_read_only(directory):
        return DiskError("read-only", f"read-only: {directory} cannot be written")
    if number in _REFUSED or (directory.is_dir() and not os.access(directory, os.W_OK)):
        return DiskError("no permission", f"no permission to write {directory}")
    if "is locked" in text or "is busy" in text:
        return DiskError("locked", f"locked: another program holds the records in {directory}")
    if is_damaged(error):
        return DiskError("damaged", f"damaged: the database in {directory} will be kept under another name")
    if not isinstance(error, (OSError, sqlite3.Error)):
        return DiskError("unexpected", f"an unexpected error: {type(error).__name__}: {error}")
    if directory.exists() and not directory.is_dir():
        return DiskError("not a directory", f"not a directory: {directory} is a file")
    return DiskError("cannot write", f"cannot write {directory}: {text}")


def _is_read_only(directory: Path) -> bool:
    """SQLite only says `unable to open database file` there."""
    try:
        return bool(os.statvfs(directory).f_flag & os.ST_RDONLY)
    except (OSError, AttributeError):
        # not there, or Windows
        return False


def _free_mb(directory: Path) -> int:
    """Free space in whole MB; of the nearest parent while the directory does not exist."""
    for place in (directory, *directory.absolute().parents):
        try:
            return shutil.disk_usage(place).free // 1_000_000
        except OSError:
            continue
    return 0


class RecordState:
    """How recording stands, in the counters; each change of cause is logged once, and an alarm stands meanwhile."""

    def __init__(self, counters: RunCounters, alarms: AlarmLog) -> None:
        self.rows: DiskError | None = None
        self.pictures: DiskError | None = None
        self._counters = counters
        self._logged_kind: str | None = None
        self._alarms = alarms
        self._alarm: Alarm | None = None
        self._good_since_s: float | None = None
        counters.record_state = "opening"

    def publish(self, is_open: bool, waiting_rows: int, waiting_pictures: int) -> None:
        if self.rows is not None:
            kind, state = self.rows.kind, f"{self.rows.text}; {waiting_rows} verdicts waiting"
        elif self.pictures is not None:
            kind = f"pictures: {self.pictures.kind}"
            state = f"{self.pictures.text}; {waiting_pictures} pictures waiting, verdicts are recorded"
        else:
            kind = state = "recording" if is_open else "opening"
        self._counters.record_state, self._counters.verdicts_wait = state, self.rows is not None
        disk_error = self.rows or self.pictures
        if disk_error is not None and disk_error.kind not in _PASSING:
            self._begin(disk_error.text)
        elif kind == "recording":
            self._end_after_a_while()
        if kind in (self._logged_kind, "opening"):
            return
        if kind != "recording":
            logger.warning("%s; inspection continues", state)
        elif self._logged_kind is not None:
            logger.warning("recording again; %d verdicts lost so far", self._counters.records_lost)
        self._logged_kind = kind

    def hangs(self, seconds: float, waiting_rows: int) -> None:
        """The oldest verdict has waited for the disk so long, and there was no error; called while `publish` is not."""
        what = f"the disk hangs: a verdict has waited for {seconds:.0f} s"
        self._counters.record_state, self._counters.verdicts_wait = f"{what}; {waiting_rows} verdicts waiting", True
        if self._logged_kind != _HANGS:
            self._logged_kind = _HANGS
            self._begin(what)
            logger.warning("%s; inspection continues", self._counters.record_state)

    def _begin(self, why: str) -> None:
        self._good_since_s = None
        if self._alarm is None:
            self._alarm = self._alarms.begin(RECORDS, f"verdicts or pictures are not on record: {why}", _ADVICE)

    def _end_after_a_while(self) -> None:
        """A disk with room for one more picture takes it, and is full again: that is one alarm."""
        if self._alarm is None:
            return
        now_s = time.monotonic()
        if self._good_since_s is None:
            self._good_since_s = now_s
        elif now_s - self._good_since_s >= _CALM_S:
            self._alarms.end(self._alarm)
            self._alarm = None

    @property
    def passing(self) -> bool:
        """Verdicts cannot be written now, and soon may be."""
        return self.rows is not None and self.rows.kind in _PASSING

    @property
    def refused(self) -> bool:
        """The disk takes nothing, and waiting alone will not help."""
        return any(
            disk_error is not None and disk_error.kind not in _PASSING for disk_error in (self.rows, self.pictures)
        )

    def left(self, waiting_rows: int, waiting_pictures: int) -> str:
        """What a stop waits for, in words."""
        if self.rows is not None:
            return f"{waiting_rows} verdicts and {waiting_pictures} pictures ({self.rows.text})"
        return f"{waiting_pictures} pictures"

    def publish_end(self, unsaved_rows: int, unsaved_pictures: int, reason: str) -> None:
        """The last word: what could not be saved, and why."""
        if not unsaved_rows and not unsaved_pictures:
            self._counters.record_state = "closed"
            return
        disk_error = self.rows or self.pictures
        cause = disk_error.text if disk_error is not None else reason
        state = f"closed: {unsaved_rows} verdicts and {unsaved_pictures} pictures not saved ({cause})"
        self._counters.record_state = state
        logger.error(state)


def is_damaged(error: Exception) -> bool:
    """Whether a database that answers like this will never take another verdict."""
    text = str(error)
    return isinstance(error, ForeignRecords) or (
        isinstance(error, sqlite3.DatabaseError) and any(words in text for words in _DAMAGED)
    )


def set_aside(database: Path, now: datetime) -> Path:
    """Rename a database with its log and index, none of it changed; where it is now. Raises OSError."""
    kept = database.with_name(f"{database.name}.damaged-{now:%Y%m%dT%H%M%SZ}")
    again = 1
    while os.path.lexists(kept):
        again += 1
        kept = database.with_name(f"{database.name}.damaged-{now:%Y%m%dT%H%M%SZ}-{again}")
    # the database last: after a power cut here it is still found damaged, and set aside again
    for end in ("-wal", "-shm", ""):
        part = database.with_name(database.name + end)
        if os.path.lexists(part):
            part.rename(kept.with_name(kept.name + end))
    return kept
