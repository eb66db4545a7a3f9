"""Which parts people are asked to look at, in which order, and which of those looked at are a random sample.

Every judged part whose picture was drawn has a random place in the queue of its group. Those with the lowest places are
looked at first, so at any time those looked at are a random sample, over days of much and of little work alike.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from functools import cached_property
from itertools import islice
from typing import Any

from edge.core.datatypes import Part
from edge.records.report import condition
from edge.records.store import RecordStore, VerdictRecord
from edge.review.database import Review, VerdictKey
from edge.review.labels import Label

_BITS = (1 << 64) - 1


class Group(str, Enum):
    """OK: accepted, of which some are drawn. BAND: accepted in the unsure band; all are drawn, as of NG."""

    OK = "ok"
    BAND = "band"
    NG = "ng"


# 300 without an escape say at most 1 %; a share of rejects needs no more than 100 to be known within ten percent
WANTED = {Group.OK: 300, Group.BAND: 100, Group.NG: 100}


@dataclass(frozen=True)
class Scope:
    """Verdicts with since <= utc < until, of these runs (None: all), of this number and lot where not empty."""

    since: datetime | None = None
    until: datetime | None = None
    runs: tuple[int, ...] | None = None
    part: Part = field(default_factory=Part)

    def condition(self) -> tuple[str, list[Any]]:
        """WHERE with its values."""
        return condition(self.since, self.until, self.runs, self.part)


@dataclass(frozen=True)
class Drawn:
    """A part whose picture was drawn. place: random, 0..1; the lowest is looked at first. utc: ISO 8601.

    review: what a person said of it; None where nobody did.
    """

    key: VerdictKey
    group: Group
    sample_p: float
    utc: str
    has_picture: bool
    review: Review | None

    @cached_property
    def place(self) -> float:
        # times the probability: parts of a time in which fewer were drawn are asked for as often as all others
        return random_place(self.key.verdict_id) * self.sample_p


def random_place(verdict_id: int) -> float:
    """A number in 0..1 that has nothing to do with the part, and is the same each time it is asked for.

    The finaliser of splitmix64: Steele, Lea and Flood, Fast splittable pseudorandom number generators, OOPSLA 2014.
    """
    mixed = (verdict_id + 1) * 0x9E3779B97F4A7C15 & _BITS
    mixed = (mixed ^ mixed >> 30) * 0xBF58476D1CE4E5B9 & _BITS
    mixed = (mixed ^ mixed >> 27) * 0x94D049BB133111EB & _BITS
    return (mixed ^ mixed >> 31) / (_BITS + 1)


def drawn_parts(store: RecordStore, labels: dict[VerdictKey, Review], scope: Scope) -> list[Drawn]:
    """The parts of the scope that were drawn, and have a picture or a label; raises RecordError."""
    keys = {run.id: run.key for run in store.runs()}
    where, values = scope.condition()
    found = {}
    # each by an index of its own: of a year of verdicts, these are few
    for which, more in (
        ("decision = 'OK' AND image IS NOT NULL", []),
        ("decision <> 'OK' AND decision = 'NG'", []),
        ("id IN (SELECT value FROM json_each(?))", [json.dumps([key.verdict_id for key in labels])]),
    ):
        rows = store.query(
            "SELECT id, run_id, decision, review, sample_p, utc, image IS NOT NULL FROM verdicts "
            f"{where} AND {which} AND sample_p > 0 AND image_state <> 'none'",
            [*values, *more],
        )
        for verdict_id, run_id, decision, band, sample_p, utc, has_picture in rows:
            key = VerdictKey(keys[run_id], verdict_id)
            found[verdict_id] = Drawn(key, group_of(decision, band), sample_p, utc, bool(has_picture), labels.get(key))
    return list(found.values())


def group_of(decision: str, band: bool) -> Group:
    """decision: OK or NG. band: the verdict is marked for review."""
    if decision == "NG":
        return Group.NG
    return Group.BAND if band else Group.OK


def looked_at(drawn: Sequence[Drawn]) -> Iterator[Drawn]:
    """Those with a label that are a random sample of their group.

    A part that a person looked up counts only once the queue has come so far: whoever looks for bad parts finds them.
    """
    reached = dict.fromkeys(Group, -1.0)
    for each in drawn:
        if each.review is not None and each.review.asked:
            reached[each.group] = max(reached[each.group], each.place)
    for each in drawn:
        if each.review is not None and each.place <= reached[each.group]:
            yield each


def queue(drawn: Sequence[Drawn]) -> Iterator[Drawn]:
    """Those to be looked at, the next one first. The groups are mixed at random: their order tells no verdict."""
    waiting = {
        group: sorted(
            (each for each in drawn if each.group is group and each.review is None and each.has_picture),
            key=lambda each: each.place, reverse=True,
        )
        for group in Group
    }  # fmt: skip
    done = {group: sum(each.group is group for each in looked_at(drawn)) for group in Group}
    while any(waiting.values()):
        open_groups = [group for group in Group if waiting[group]]
        # as much as is missing of each; where nothing is, as much as is wanted
        missing = {group: max(WANTED[group] - done[group], 0) for group in open_groups}
        shares = missing if any(missing.values()) else {group: WANTED[group] for group in open_groups}
        chosen = _chosen(shares, random_place(sum(done.values())))
        done[chosen] += 1
        yield waiting[chosen].pop()


def _chosen(shares: dict[Group, int], at: float) -> Group:
    """The group in whose share of the whole `at` falls, 0..1."""
    left = at * sum(shares.values())
    for group, share in shares.items():
        left -= share
        if left < 0:
            return group
    return next(reversed(shares))


def next_parts(store: RecordStore, drawn: Sequence[Drawn], limit: int) -> list[VerdictRecord]:
    """The verdicts of the next parts in the queue; raises RecordError."""
    made: list[VerdictRecord] = []
    coming = queue(drawn)
    while len(made) < limit and (ids := [each.key.verdict_id for each in islice(coming, limit)]):
        found = {verdict.id: verdict for verdict in store.verdicts(f"WHERE id IN ({', '.join('?' * len(ids))})", ids)}
        # retention may have taken a picture meanwhile
        made += [found[each] for each in ids if each in found and found[each].image is not None]
    return made[:limit]


def is_counted(review: Review) -> bool:
    """Whether the person was sure."""
    return review.label is not Label.UNSURE
