"""What a line's records say of one version of its bundle: how many parts it rejects, and how many it cannot judge."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from edge.core.datatypes import Decision
from edge.core.errors import RecordError
from edge.metrics import Interval, rate_interval
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore
from edge.review.database import REVIEW_NAME, Review, ReviewDatabase, VerdictKey
from edge.review.estimates import Stratum, overkill_estimate
from edge.review.labels import Label
from edge.review.sample import is_counted

log = logging.getLogger("edge.fleet.channel")

# so many verdicts on each side tell 1 % from 3 %, and no less: days of a line differ by more than chance does
PARTS = 1000
# rows that are looked through for them; an hour of a fast line
_ROWS = 50_000


# more would be nobody's figures: an interval of a million rejects takes memory and time
_Count = Annotated[int, Field(ge=0, le=PARTS)]


class Figures(BaseModel):
    """Counts of verdicts. parts: all of them. looked_at: rejects that people were asked about and were sure of;
    false_rejects: those of them that are good.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    parts: _Count = 0
    ng: _Count = 0
    invalid: _Count = 0
    looked_at: _Count = 0
    false_rejects: _Count = 0

    def rates(self) -> dict[str, Interval]:
        """The 95 % intervals of those rates that something is known of, by what they are called."""
        found = {"INVALID": (self.invalid, self.parts), "rejects": (self.ng, self.parts - self.invalid)}
        rates = {name: rate_interval(*counts) for name, counts in found.items() if 0 <= counts[0] <= counts[1] != 0}
        if "rejects" in rates and 0 <= self.false_rejects <= self.looked_at <= self.ng and self.looked_at:
            inspected, stratum = self.parts - self.invalid, Stratum(self.ng, self.looked_at, self.false_rejects)
            overkill = overkill_estimate(inspected, stratum)
            if overkill.low is not None and overkill.high is not None:
                rates["overkill"] = Interval(overkill.low, overkill.high)
        return rates


def left_interval(before: Figures, after: Figures) -> list[str]:
    """In words, each rate whose interval now lies above the one from before; empty: none."""
    was, now = before.rates(), after.rates()
    return [
        f"{name} {now[name].low:.1%} or more, before {was[name].high:.1%} or less"
        for name in now
        if name in was and now[name].low > was[name].high
    ]


def newest_row(records: Path | None) -> int:
    """The number of the newest verdict; 0 without records that can be read."""
    try:
        if records is None or not (records / DATABASE_NAME).is_file():
            return 0
        with RecordStore(records, migrate_older=False) as store:
            return int(store.query("SELECT ifnull(max(id), 0) FROM verdicts")[0][0])
    except (OSError, RecordError) as error:
        log.warning("the newest verdict is not known: %s", error)
        return 0


def figures_of(records: Path | None, bundle_sha256: str, after_row: int = 0) -> Figures:
    """Of the newest PARTS verdicts by this version after a row. Without records that can be read: no parts."""
    try:
        if records is None or not (records / DATABASE_NAME).is_file():
            return Figures()
        with RecordStore(records, migrate_older=False) as store:
            rows = store.query(
                "SELECT v.id, r.key, v.decision FROM verdicts v JOIN runs r ON r.id = v.run_id "
                "WHERE v.id > max(?, (SELECT max(id) FROM verdicts) - ?) AND v.bundle_sha256 = ? "
                "ORDER BY v.id DESC LIMIT ?",
                (after_row, _ROWS, bundle_sha256, PARTS),
            )
        rejected = {VerdictKey(key, number) for number, key, decision in rows if decision == Decision.NG.value}
        said = [review for key, review in _labels(records, rejected).items() if key in rejected]
    except (OSError, RecordError) as error:
        log.warning("no figures can be reported: %s", error)
        return Figures()
    sure = [review for review in said if review.asked and is_counted(review)]
    return Figures(
        parts=len(rows),
        ng=len(rejected),
        invalid=sum(decision == Decision.INVALID.value for _, _, decision in rows),
        looked_at=len(sure),
        false_rejects=sum(review.label is Label.FALSE_REJECT for review in sure),
    )


def _labels(records: Path, keys: set[VerdictKey]) -> dict[VerdictKey, Review]:
    if not keys or not (records / REVIEW_NAME).is_file():
        return {}
    with ReviewDatabase(records) as review:
        return review.labels([key.verdict_id for key in keys])
