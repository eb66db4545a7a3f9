"""A frozen camera shows one picture thousands of times; it is stored once, and the rows share it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from edge.core.datatypes import U8, Decision, Frame, Reason, Verdict
from edge.records.writer.pictures import StoredPicture
from edge.records.writer.queue import Entry


class RepeatedPicture:
    """The last INVALID picture that was written, for verdicts with the same reason and the same pixels.

    OK and NG verdicts never share: there each row is a part of its own, and its overlay differs.
    """

    def __init__(self) -> None:
        self._owner: Entry | None = None
        self._image: U8 | None = None
        self._reason: Reason | None = None

    def find(self, frame: Frame, verdict: Verdict) -> StoredPicture | None:
        """The same picture on disk, with size 0 as it is counted already; None when it must be written.

        Only a picture whose own row is committed is shared: otherwise losing that row would take it from the others.
        """
        if self._owner is None or not self._owner.settled or self._owner.stored is None or self._image is None:
            return None
        if verdict.decision is not Decision.INVALID or verdict.reason is not self._reason or frame.image is None:
            return None
        return replace(self._owner.stored, size_bytes=0) if np.array_equal(self._image, frame.image) else None

    def note(self, owner: Entry, frame: Frame, verdict: Verdict) -> None:
        """Remember a picture that was just written for `owner`."""
        if verdict.decision is Decision.INVALID:
            self._owner, self._image, self._reason = owner, frame.image, verdict.reason

    def forget(self) -> None:
        """For when the file may be gone."""
        self._owner = self._image = self._reason = None
