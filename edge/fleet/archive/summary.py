"""What changed between the recorded verdicts and the new ones: counts, words, and the flips worth a look."""

from __future__ import annotations

import heapq
import itertools
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edge.core.datatypes import Decision
from edge.core.errors import RecordError
from edge.fleet.archive.recorded import Outcome, Result, Shard, Skipped
from edge.fleet.archive.results import Results
from edge.metrics import rate_interval
from edge.review.estimates import Estimate, Stratum, escape_estimate
from edge.review.labels import Label

OK, NG, INVALID = (decision.value for decision in (Decision.OK, Decision.NG, Decision.INVALID))
# as `Result.flip` has them; what a person looks at first comes first
FLIPS = tuple(
    f"{before} to {now}"
    for before, now in ((OK, NG), (NG, OK), (OK, INVALID), (NG, INVALID), (INVALID, OK), (INVALID, NG))
)
_DEFECTIVE = {Label.CONFIRM: True, Label.ESCAPE: True, Label.FALSE_REJECT: False, Label.OK_CONFIRMED: False}
# flips of each kind whose pictures are shown
SHOWN = 24


@dataclass(frozen=True)
class Group:
    """Verdicts that are counted together."""

    line: str
    product: str
    day: str


@dataclass(frozen=True)
class Flip:
    """A flip with the shard that its picture is found by, and what people said of the part."""

    shard: Shard
    result: Result
    label: Label | None

    @property
    def margin(self) -> float:
        """How far the new score is from its threshold, as a share of that; 0 where there is no score."""
        score, threshold = self.result.score, self.result.threshold
        return abs(score - threshold) / threshold if score is not None and threshold else 0.0


@dataclass
class Summary:
    """Counts, and the flips to be shown.

    groups: (recorded decision, new decision, or the outcome where there is none) of each group. labelled: (defective,
    recorded decision, new decision) of parts that people said something of. accepted: of parts recorded as OK,
    (`sample_p`, new decision or outcome; empty: picture not kept). wrong_size: how many pictures do not fit the
    bundle's region, by the words. flips: of each kind, labelled ones and the clearest first.
    """

    groups: dict[Group, Counter[tuple[str, str]]] = field(default_factory=dict)
    labelled: Counter[tuple[bool, str, str]] = field(default_factory=Counter)
    accepted: Counter[tuple[float | None, str]] = field(default_factory=Counter)
    skipped: Counter[Skipped] = field(default_factory=Counter)
    wrong_size: Counter[str] = field(default_factory=Counter)
    flips: dict[str, list[Flip]] = field(default_factory=dict)

    @property
    def total(self) -> Counter[tuple[str, str]]:
        return sum(self.groups.values(), Counter[tuple[str, str]]())

    def by(self, *names: str) -> dict[tuple[str, ...], Counter[tuple[str, str]]]:
        """The counts by some of the fields of a group, in order."""
        found: dict[tuple[str, ...], Counter[tuple[str, str]]] = {}
        for group, counts in self.groups.items():
            found.setdefault(tuple(getattr(group, name) for name in names), Counter()).update(counts)
        return dict(sorted(found.items()))

    def lines(self) -> list[str]:
        """What a person reads, a sentence each."""
        return [*self.change_lines(), *self.labelled_lines()]

    def change_lines(self) -> list[str]:
        """How many verdicts changed, how many pictures were not judged, and why."""
        counts, outcomes = self.total, {each.value for each in Outcome}
        new = Counter({pair: count for pair, count in counts.items() if pair[1] not in outcomes})
        changed = flipped(new)
        made = [f"{new.total()} pictures judged again; {changed} verdicts changed ({_share(changed, new.total())})"]
        for before in (OK, NG, INVALID):
            of_these = sum(count for (old, _), count in new.items() if old == before)
            changes = [
                f"{new[before, now]} became {now} ({_share(new[before, now], of_these)})"
                for now in (OK, NG, INVALID)
                if now != before and new[before, now]
            ]
            if of_these:
                made.append(f"{of_these} were {before}: {', '.join(changes) or 'all stay so'}")
        made += self._rejects_lines()
        without = sum((Counter({now: count}) for (_, now), count in counts.items() if now in outcomes), Counter[str]())
        if without:
            told = ", ".join(f"{count} {name}" for name, count in without.most_common())
            made.append(f"{without.total()} pictures could not be judged: {told}")
        if self.skipped:
            told = ", ".join(f"{count} {why.value}" for why, count in self.skipped.most_common())
            made.append(f"{self.skipped.total()} verdicts were left out: {told}")
        if self.wrong_size:
            detail, count = self.wrong_size.most_common(1)[0]
            made.append(f"{self.wrong_size.total()} pictures do not fit the bundle, such as {count} times: {detail}")
        return made

    def new_rejects(self) -> Estimate:
        """The share of all parts recorded as OK that would be NG now, also of those whose picture was not kept."""
        strata = []
        for probability in dict.fromkeys(each for each, _ in self.accepted):
            news = {new: count for (each, new), count in self.accepted.items() if each == probability}
            looked_at = sum(news.get(new, 0) for new in (OK, NG, INVALID))
            strata.append(Stratum(sum(news.values()), looked_at, news.get(NG, 0)))
        return escape_estimate(strata)

    def _rejects_lines(self) -> list[str]:
        """Nothing where all of them were judged: then their share is no estimate."""
        rejects = self.new_rejects()
        if rejects.looked_at == rejects.parts:
            return []
        if rejects.value is None:
            return [f"what it would reject of {rejects.parts} OK parts is not known: none of their pictures is there"]
        return [
            f"of all {rejects.parts} OK parts about {rejects.value:.2%} would be NG "
            f"(95 % interval {rejects.low:.2%} to {rejects.high:.2%}), as the {rejects.looked_at} with a picture say"
        ]

    def labelled_lines(self) -> list[str]:
        """Whether the new bundle is right, where people said what the parts are."""
        made, rights = [], Counter[str]()
        for defective, right, kind in ((True, NG, "defective"), (False, OK, "good")):
            of_kind = {pair[1:]: count for pair, count in self.labelled.items() if pair[0] is defective}
            count = sum(of_kind.values())
            if not count:
                continue
            before = sum(number for (old, _), number in of_kind.items() if old == right)
            now = sum(number for (_, new), number in of_kind.items() if new == right)
            mended = sum(number for (old, new), number in of_kind.items() if old != right and new == right)
            broken = sum(number for (old, new), number in of_kind.items() if old == right and new != right)
            interval = rate_interval(now, count)
            rights.update(before=before, now=now, parts=count)
            made.append(
                f"of {count} parts labelled {kind} the recorded verdict was right on {before}, the new one is on {now} "
                f"({_share(now, count)}; 95 % interval {interval.low:.1%} to {interval.high:.1%}): "
                f"{mended} newly right, {broken} newly wrong"
            )
        if not made:
            return []
        more = rights["now"] - rights["before"]
        better = "as often as" if more == 0 else "more often than" if more > 0 else "less often than"
        times = f": {rights['now']} times instead of {rights['before']}" if more else ""
        words = f"on {rights['parts']} labelled parts the new bundle is right {better} the recorded verdicts{times}"
        made.insert(0, words)
        made.append(
            "labelled parts are no random sample: people label what is NG, close or conspicuous, "
            "so the shares hold for such parts"
        )
        return made

    @property
    def is_worse(self) -> bool:
        """Whether the new bundle is wrong on more labelled parts than the recorded verdicts were."""
        wrong = Counter[str]()
        for (defective, old, new), count in self.labelled.items():
            right = NG if defective else OK
            wrong.update(before=count * (old != right), now=count * (new != right))
        return wrong["now"] > wrong["before"]

    def as_json(self) -> dict[str, Any]:
        """The same for programs."""
        groups = sorted(self.groups.items(), key=lambda item: tuple(vars(item[0]).values()))
        return {
            "counts": [
                {**vars(group), "recorded": old, "now": new, "verdicts": count}
                for group, counts in groups
                for (old, new), count in sorted(counts.items())
            ],
            "labelled": [
                {"defective": defective, "recorded": old, "now": new, "parts": n}
                for (defective, old, new), n in sorted(self.labelled.items())
            ],
            "new_rejects": asdict(self.new_rejects()),
            "skipped": {why.value: count for why, count in self.skipped.items()},
        }


def summarised(
    shards: Sequence[Shard],
    results: Results,
    skipped: Counter[Skipped],
    unseen: Counter[float | None],
    each_flip: Callable[[Flip], None] = lambda flip: None,
) -> Summary:
    """Read the results of these shards. skipped, unseen: as in `ShardDone`. each_flip: called with every one.

    Raises RecordError where results are gone.
    """
    made = Summary(skipped=skipped)
    made.accepted.update({(probability, ""): count for probability, count in unseen.items()})
    clearest: dict[str, list[tuple[bool, float, int, Flip]]] = {}
    order = itertools.count()
    for shard in shards:
        labels = shard.labels()
        for result in _results_of(shard, results):
            _count(made, result, labels)
            if result.flip:
                flip = Flip(shard, result, labels.get(result.recorded.key))
                each_flip(flip)
                kept = clearest.setdefault(result.flip, [])
                # a label says most; of equals the earliest
                entry = (flip.label is not None, flip.margin, -next(order), flip)
                (heapq.heappush if len(kept) < SHOWN else heapq.heappushpop)(kept, entry)
    for kind in FLIPS:
        if kind in clearest:
            made.flips[kind] = [entry[-1] for entry in sorted(clearest[kind], reverse=True)]
    return made


def _results_of(shard: Shard, results: Results) -> Iterator[Result]:
    found = results.read(shard)
    if found is None:
        raise RecordError(
            f"{results.path(shard)} is gone, or damaged, since it was written",
            fix="give the same command again: what is missing is judged anew",
        )
    yield from found[1]


def _count(made: Summary, result: Result, labels: Mapping[tuple[str, int], Label]) -> None:
    recorded = result.recorded
    new = result.decision if result.outcome is Outcome.JUDGED else result.outcome.value
    if recorded.decision == OK:
        made.accepted[recorded.sample_p, new] += 1
    group = Group(recorded.line, recorded.product, recorded.day)
    made.groups.setdefault(group, Counter())[recorded.decision, new] += 1
    if result.outcome is not Outcome.JUDGED:
        return
    if result.reason == "wrong_size":
        made.wrong_size[result.detail] += 1
    defective = _DEFECTIVE.get(labels[recorded.key]) if recorded.key in labels else None
    if defective is not None:
        made.labelled[defective, recorded.decision, new] += 1


def flipped(counts: Mapping[tuple[str, str], int]) -> int:
    """How many verdicts changed."""
    return sum(count for (old, new), count in counts.items() if f"{old} to {new}" in FLIPS)


def judged(counts: Mapping[tuple[str, str], int]) -> int:
    """How many have a new verdict."""
    return sum(count for (_, new), count in counts.items() if new in (OK, NG, INVALID))


def _share(count: int, total: int) -> str:
    return f"{count / total:.2%}" if total else "none"
