"""One shard: what is to be done for it, and its results. The same on one machine and on a cluster."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from queue import SimpleQueue
from threading import local

from edge.core.datatypes import Decision
from edge.fleet.archive.judge import Judge
from edge.fleet.archive.recorded import Recorded, Result, Shard, Skipped
from edge.fleet.archive.results import Results, ShardKey, inputs_of, is_finished, reusable

# pictures that wait for each thread, so that none is idle at the end of a shard
_AHEAD = 4


@dataclass(frozen=True)
class ShardDone:
    """judged: pictures that were judged now; kept: results of an earlier run. skipped: verdicts without a result.

    unseen: OK verdicts whose picture was not kept, by the probability with which it was to be (`sample_p`).
    """

    number: int
    judged: int
    kept: int
    skipped: Counter[Skipped]
    unseen: Counter[float | None]


@dataclass(frozen=True)
class Wanted:
    """What every shard is judged for. judged_by: see `ShardKey`. product: the only one wanted; None: all."""

    out: Path
    bundle_sha256: str
    judged_by: str
    product: str | None

    @property
    def results(self) -> Results:
        return Results(self.out, self.bundle_sha256, self.product)


@dataclass
class Job:
    """A shard in work. results: in the order of `verdicts`; None where a picture is to be judged."""

    number: int
    shard: Shard
    key: ShardKey
    verdicts: list[Recorded]
    skipped: Counter[Skipped]
    unseen: Counter[float | None]
    results: list[Result | None]
    finished: bool
    kept: int = 0
    left: int = field(init=False)

    def __post_init__(self) -> None:
        self.left = self.results.count(None)

    def settle(self, place: int, result: Result) -> bool:
        """Take one result; whether it was the last one."""
        self.results[place] = result
        self.left -= 1
        return self.left == 0

    def end(self, wanted: Wanted) -> ShardDone:
        """Write what is new. Raises RecordError."""
        if not self.finished:
            wanted.results.write(self.shard, self.key, [each for each in self.results if each is not None])
        return ShardDone(self.number, len(self.results) - self.kept, self.kept, self.skipped, self.unseen)


def job_of(number: int, shard: Shard, wanted: Wanted) -> Job:
    """What is left to be done for a shard; `number` is its place among all. Raises RecordError."""
    skipped, unseen, verdicts = Counter[Skipped](), Counter[float | None](), []
    for each in shard.recorded():
        why = each.skipped(wanted.product)
        if why is None:
            verdicts.append(each)
        else:
            skipped[why] += 1
            unseen[each.sample_p] += why is Skipped.NOT_KEPT and each.decision == Decision.OK
    key = ShardKey(wanted.judged_by, inputs_of(verdicts))
    found = wanted.results.read(shard)
    if found is not None and is_finished(found, key):
        return Job(number, shard, key, verdicts, skipped, unseen, list(found[1]), True, len(found[1]))
    earlier = reusable(found, key)
    results = [
        replace(before, recorded=each) if (before := earlier.get((*each.key, each.picture_sha256))) else None
        for each in verdicts
    ]
    return Job(number, shard, key, verdicts, skipped, unseen, results, False, len(results) - results.count(None))


# verdicts that were done with since the last call, and how many of them were judged
Seen = Callable[[int, int], None]


def judge_shards(jobs: Iterable[Job], judges: Sequence[Judge], wanted: Wanted, seen: Seen) -> Iterator[ShardDone]:
    """Judge with one thread for each judge; shards are written in order, each as soon as it is whole.

    Few pictures are in work at a time, of one shard or two: whoever stops it loses no more. Raises RecordError.
    """
    free: SimpleQueue[Judge] = SimpleQueue()
    for judge in judges:
        free.put(judge)
    own = local()

    def take() -> None:
        # a backend is always called by the same thread
        own.judge = free.get()

    def judged(job: Job, place: int) -> Result:
        result: Result = own.judge.judge(job.shard, job.verdicts[place])
        return result

    waiting: deque[tuple[Job, int, Future[Result]]] = deque()
    pool = ThreadPoolExecutor(len(judges), "reinspect", take)

    def settled() -> Iterator[ShardDone]:
        job, place, future = waiting.popleft()
        seen(1, 1)
        if job.settle(place, future.result()):
            yield job.end(wanted)

    try:
        for job in jobs:
            seen(job.kept + job.skipped.total(), 0)
            if job.left == 0:
                # in order, so that what is written is what the bar says
                while waiting:
                    yield from settled()
                yield job.end(wanted)
            for place, result in enumerate(job.results):
                if result is None:
                    while len(waiting) >= _AHEAD * len(judges):
                        yield from settled()
                    waiting.append((job, place, pool.submit(judged, job, place)))
        while waiting:
            yield from settled()
    finally:
        pool.shutdown(cancel_futures=True)
