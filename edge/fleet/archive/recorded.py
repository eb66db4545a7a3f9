"""What an archive holds of a verdict, and what comes of it when its picture is judged again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Protocol

from edge.core.datatypes import Decision, Reason
from edge.review.labels import Label

# what such a picture shows is not the part that the verdict is about, or only a piece of it
_NOT_OF_THE_PART = frozenset(
    reason.value
    for reason in (
        Reason.NO_FRAME, Reason.FROZEN, Reason.STALE, Reason.OVERRUN, Reason.INCOMPLETE, Reason.MISSED_FRAME,
        Reason.UNDECODABLE,
    )
)  # fmt: skip


class Outcome(str, Enum):
    """What came of a picture. All but JUDGED say why there is no new verdict."""

    JUDGED = "judged"
    PRUNED = "pruned"
    MISSING = "missing"
    DAMAGED = "damaged"
    UNREADABLE = "unreadable"
    NOT_WRITTEN = "not written"
    WAITING = "waiting"


# of these the next run may find the picture: it is on its way, or somebody brings the file back
TRIED_AGAIN = frozenset({Outcome.MISSING, Outcome.DAMAGED, Outcome.UNREADABLE, Outcome.WAITING})


class Skipped(str, Enum):
    """Why a verdict of the archive is not in the results: there is no picture that one bundle could judge."""

    NO_PART = "looks without a part"
    NOT_KEPT = "without a picture (record.keep_ok_share keeps some)"
    OTHER_PRODUCT = "of another product"
    SEVERAL_CAMERAS = "of several cameras"


@dataclass(frozen=True)
class Recorded:
    """A verdict as the archive has it.

    run_key and verdict_id name it in all databases that there are. product: the recipe, else the name of the bundle.
    source: what the line looked at. picture: relative to the folder of the records; None where there is none (any
    more). picture_state: as `ImageState`. regions: as `regions_text` writes them.
    sample_p: see `VerdictRecord`. of_several: the picture shows what several cameras saw, side by side.
    """

    line: str
    product: str
    recipe: str
    part_number: str
    lot: str
    run_key: str
    verdict_id: int
    number: str
    utc: str
    source: str
    decision: str
    reason: str
    score: float | None
    threshold: float
    bundle_sha256: str
    picture_state: str
    picture: str | None
    picture_sha256: str | None
    regions: str = "[]"
    sample_p: float | None = None
    of_several: bool = False

    @property
    def day(self) -> str:
        """In UTC: an archive of several sites has no local day."""
        return self.utc[:10]

    @property
    def key(self) -> tuple[str, int]:
        return self.run_key, self.verdict_id

    def skipped(self, product: str | None = None) -> Skipped | None:
        """Why it needs no result; product: the only one wanted, None for all."""
        if product is not None and self.product != product:
            return Skipped.OTHER_PRODUCT
        if self.reason in _NOT_OF_THE_PART or (self.decision == Decision.INVALID and self.picture_state == "none"):
            return Skipped.NO_PART
        if self.of_several:
            return Skipped.SEVERAL_CAMERAS
        return Skipped.NOT_KEPT if self.picture_state == "none" else None


@dataclass(frozen=True)
class Result:
    """A recorded verdict, and the new one: empty unless the outcome is JUDGED, but for `detail`, which says why not."""

    recorded: Recorded
    outcome: Outcome
    decision: str = ""
    reason: str = ""
    score: float | None = None
    threshold: float | None = None
    review: bool = False
    detail: str = ""
    regions: str = "[]"

    @property
    def flip(self) -> str:
        """`OK to NG`, and so on; empty where the decision is the same, or where there is no new one."""
        before, now = self.recorded.decision, self.decision
        return f"{before} to {now}" if self.outcome is Outcome.JUDGED and before != now else ""


class Shard(Protocol):
    """A piece of the archive that is judged, written and skipped as a whole; the archive alone says which there are.

    name: where its result goes, a relative path without an end. day: in UTC; empty where the archive does not say.
    """

    @property
    def name(self) -> str: ...

    @property
    def day(self) -> str: ...

    @property
    def verdicts(self) -> int:
        """About how many; for the progress bar."""

    def recorded(self) -> list[Recorded]:
        """Its verdicts as they are now, by row id. Raises RecordError."""

    def pictures(self, recorded: Recorded) -> Iterator[Path]:
        """Where its picture may lie, the likeliest place first."""

    def labels(self) -> dict[tuple[str, int], Label]:
        """What people said of verdicts, at least of those of this shard, by `Recorded.key`. Raises RecordError."""
