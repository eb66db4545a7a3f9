"""Judge an archive again: which shards there are, who judges them, and what came of it."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from edge.backends import GPU_BACKENDS, usable_cores
from edge.bundles.bundle import ModelBundle
from edge.core.config import Settings
from edge.core.errors import RecordError, UsageError
from edge.core.files.file_lock import file_lock
from edge.core.progress import progress_bar, say
from edge.fleet.archive.archive import Archive, folder_of, open_archive
from edge.fleet.archive.judge import Judging
from edge.fleet.archive.recorded import Skipped
from edge.fleet.archive.results import judged_by
from edge.fleet.archive.work import ShardDone, Wanted, job_of, judge_shards

_LOCK = "lock"


@dataclass(frozen=True)
class Request:
    """workers: None for as many as there are cores. ray: the address of a cluster, empty for this machine alone, None
    for no Ray. product: the only one wanted. since, until: days, in UTC. pictures: see `open_archive`."""

    archive: Path
    out: Path
    pictures: Path | None = None
    workers: int | None = None
    ray: str | None = None
    product: str | None = None
    since: str | None = None
    until: str | None = None


@dataclass
class Reinspection:
    """What was done. judged: pictures, in `seconds`; kept: results of before. skipped, unseen: see `ShardDone`."""

    archive: Archive
    bundle: ModelBundle
    wanted: Wanted
    judged: int = 0
    kept: int = 0
    seconds: float = 0.0
    skipped: Counter[Skipped] = field(default_factory=Counter)
    unseen: Counter[float | None] = field(default_factory=Counter)

    def add(self, done: ShardDone) -> None:
        self.judged += done.judged
        self.kept += done.kept
        self.skipped += done.skipped
        self.unseen += done.unseen


@contextmanager
def reinspected(request: Request, settings: Settings) -> Iterator[Reinspection]:
    """Judge what is not judged yet; every shard is on disk as soon as it is whole. Raises EdgeInspectError.

    Inside, no other run writes there: what a report says and what is on disk are the same.
    """
    _refuse_inside(request)
    pictures = None if request.pictures is None else request.pictures.absolute()
    request = replace(request, archive=request.archive.absolute(), out=request.out.absolute(), pictures=pictures)
    judging, bundle = Judging.by(settings)
    wanted = Wanted(request.out, bundle.sha256, judged_by(judging, bundle), request.product)
    archive = open_archive(request.archive, request.pictures, request.since, request.until)
    for text in archive.unusable:
        say(f"left out: {text}")
    made = Reinspection(archive, bundle, wanted)
    total = sum(shard.verdicts for shard in archive.shards)
    with _alone_in(wanted):
        wanted.results.remove_leftovers()
        started = time.perf_counter()
        with progress_bar("judging again") as advance:
            for done in _done_by(request, judging, archive, wanted, _Shown(advance, max(1, total))):
                made.add(done)
        made.seconds = time.perf_counter() - started
        yield made


def _done_by(
    request: Request, judging: Judging, archive: Archive, wanted: Wanted, shown: _Shown
) -> Iterator[ShardDone]:
    if request.ray is not None:
        from edge.fleet.archive.cluster import judge_on_cluster

        yield from judge_on_cluster(request.ray, request.workers, judging, archive.shards, wanted, shown.seen)
        return
    on_gpu = judging.settings.inspection.backend in GPU_BACKENDS
    judges = judging.open_judges(1 if on_gpu else request.workers or usable_cores())
    try:
        jobs = (job_of(number, shard, wanted) for number, shard in enumerate(archive.shards))
        yield from judge_shards(jobs, judges, wanted, shown.seen)
    finally:
        for judge in judges:
            judge.close()


class _Shown:
    """Verdicts done on the bar, and the rate of pictures beside them."""

    def __init__(self, advance: Callable[..., None], total: int) -> None:
        self._advance, self._total, self._done = advance, total, 0
        self._started, self._judged = time.perf_counter(), 0

    def seen(self, verdicts: int, judged: int) -> None:
        self._done, self._judged = self._done + verdicts, self._judged + judged
        rate = self._judged / max(1e-9, time.perf_counter() - self._started)
        # an archive that grows has more than were counted
        self._advance(min(self._done, self._total), self._total, f"{rate:.1f} pictures/s")


@contextmanager
def _alone_in(wanted: Wanted) -> Iterator[None]:
    """No other process writes these results meanwhile."""
    folder = wanted.results.folder
    with ExitStack() as stack:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            stack.enter_context(
                file_lock(folder / _LOCK, lambda: say(f"another reinspect works in {folder}: waiting until it ends"))
            )
        except OSError as error:
            raise RecordError(
                f"{folder} cannot be written to: {error.strerror or error}", fix="give another --out, or mend the disk"
            ) from error
        yield


def _refuse_inside(request: Request) -> None:
    root = folder_of(request.archive.resolve())
    out = request.out.resolve()
    if out.is_relative_to(root):
        raise UsageError(
            f"--out {request.out} lies in the archive: the results would be taken for a part of it",
            fix="give a folder beside the archive",
        )
