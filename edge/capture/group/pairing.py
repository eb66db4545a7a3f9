"""Which pictures of cameras that one pulse triggers show the same part. Pure: no camera, no clock.

The n-th picture of one camera need not show the part of another's n-th: a camera that was away has counted nothing
meanwhile. So pictures belong together by their time: within `apart_ns` of the first of them. A picture that a camera
counted and that never came (a gap in its frame numbers) stands for a part, too, and takes no other picture's place.

A picture that is missing and that no gap explains may still come, late, among those of the next part. From then on
nothing is believed (`doubt`), until no camera has shown anything for `patience_ns`: what is late has come by then.
Two cameras that err at the same part, one late by the time between two parts and the other without a gap in its
numbers, cannot be told from two that are right.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Head:
    """The oldest of a camera's pictures that belongs to no part yet.

    at_ns: when it was taken. gap: it never came; at_ns is then that of the camera's next picture.
    """

    at_ns: int
    gap: bool = False


@dataclass(frozen=True)
class Part:
    """taken: the cameras whose heads are of this part. unexplained: those that show nothing of it, without a gap.

    doubt: the pictures may be of different parts. late: it is no part, but what was left of one that has its verdict.
    """

    taken: tuple[bool, ...]
    unexplained: tuple[bool, ...]
    doubt: bool = False
    late: bool = False


class Pairing:
    """Decides about the heads of `cameras` cameras, again and again."""

    def __init__(self, cameras: int, apart_ns: int, patience_ns: int) -> None:
        self._apart_ns, self._patience_ns = apart_ns, patience_ns
        # parts that each camera did not show, and that no gap explains: whose pictures may still come, and which a gap
        # may still explain, since it is told with the camera's next picture
        self._owed, self._open = [0] * cameras, [0] * cameras
        self._newest_ns: int | None = None

    def decide(self, heads: Sequence[Head | None], now_ns: int, lost: Sequence[bool]) -> Part | None:
        """The next part, None while pictures of it may still come. lost: cameras that nothing comes from now.

        Whoever calls takes the heads of the part away, and calls again with those that follow.
        """
        pictures = [head.at_ns for head in heads if head is not None and not head.gap]
        gaps = [head.at_ns for head in heads if head is not None and head.gap]
        if not pictures and not gaps:
            return None
        first_ns = min(pictures or gaps)
        waiting = any(head is None and not away for head, away in zip(heads, lost, strict=True))
        if waiting and now_ns < first_ns + self._patience_ns:
            return None
        self._forgive(first_ns)
        explained = self._explained(heads)
        if explained is not None:
            return explained
        last_ns = first_ns + self._apart_ns
        # a gap before a picture of this very time is of an earlier part, of which no camera has a picture
        earlier = [head is not None and head.gap and head.at_ns <= last_ns for head in heads]
        if pictures and any(earlier):
            # whose picture of it comes now is late: when its pulse was is not known
            self._see(last_ns)
            return self._given_up(heads, tuple(earlier), lost)
        taken = tuple(head is not None and (head.gap or head.at_ns <= last_ns) for head in heads)
        if pictures:
            # the latest of them: of this pulse nothing comes when patience has passed since then
            self._see(max(at_ns for at_ns in pictures if at_ns <= last_ns))
        if sum(taken) == 1 and pictures and self._owed[taken.index(True)]:
            self._owed[taken.index(True)] -= 1
            return Part(taken, (False,) * len(heads), late=True)
        return self._given_up(heads, taken, lost)

    def _given_up(self, heads: Sequence[Head | None], taken: tuple[bool, ...], lost: Sequence[bool]) -> Part:
        """The part of these heads; what the other cameras did not show of it they owe."""
        doubt = any(self._owed)
        for camera, (head, is_taken) in enumerate(zip(heads, taken, strict=True)):
            if not is_taken:
                # of one that is lost nothing can come late: what it had sent is taken
                self._owed[camera] += not (lost[camera] and head is None)
                self._open[camera] += 1
            elif not doubt and head is not None and not head.gap:
                self._open[camera] = 0
        return Part(taken, tuple(not is_taken for is_taken in taken), doubt)

    def _explained(self, heads: Sequence[Head | None]) -> Part | None:
        """A gap that came after its part had been given up for this camera: it explains it, and is no part."""
        for camera, head in enumerate(heads):
            if head is not None and head.gap and self._open[camera]:
                self._open[camera] -= 1
                self._owed[camera] = max(0, self._owed[camera] - 1)
                taken = tuple(each == camera for each in range(len(heads)))
                return Part(taken, (False,) * len(heads), late=True)
        return None

    def _forgive(self, first_ns: int) -> None:
        if self._newest_ns is not None and first_ns - self._newest_ns >= self._patience_ns:
            self._owed = [0] * len(self._owed)

    def _see(self, at_ns: int) -> None:
        self._newest_ns = at_ns if self._newest_ns is None else max(self._newest_ns, at_ns)
