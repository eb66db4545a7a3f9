"""Shards on a cluster, by Ray Data: each worker judges whole shards, and writes them where all machines see them."""

from __future__ import annotations

import json
import logging
import os
import secrets
import socket
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from edge.backends import usable_cores
from edge.core.errors import ClusterError, EdgeInspectError, MissingDependency, UsageError, install_extra
from edge.fleet.archive.judge import Judging
from edge.fleet.archive.recorded import Shard, Skipped
from edge.fleet.archive.work import Seen, ShardDone, Wanted, job_of, judge_shards

_MOST_BLOCKS = 20_000
_ANSWERS_S = 5.0


class _Worker:
    """Judges one shard after the other in a process of its own; Ray starts it anew when it dies."""

    def __init__(self, judging: Judging, shards: Sequence[Shard], wanted: Wanted) -> None:
        self._shards, self._wanted = shards, wanted
        self._error: EdgeInspectError | None = None
        try:
            self._judges = judging.open_judges(1)
        # told with the first shard: what is raised here Ray would try again and again
        except EdgeInspectError as error:
            self._error = error

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        made: dict[str, list[Any]] = {
            "number": [],
            "judged": [],
            "kept": [],
            "skipped": [],
            "unseen": [],
            "error": [],
            "fix": [],
        }
        for number in batch["number"]:
            done, error = ShardDone(int(number), 0, 0, Counter(), Counter()), self._error
            if error is None:
                try:
                    done = self._judged(int(number))
                except EdgeInspectError as found:
                    error = found
            made["number"].append(done.number)
            made["judged"].append(done.judged)
            made["kept"].append(done.kept)
            made["skipped"].append([done.skipped[why] for why in Skipped])
            made["unseen"].append(json.dumps(list(done.unseen.items())))
            # as text: an error of ours cannot be sent
            made["error"].append("" if error is None else error.message)
            made["fix"].append("" if error is None else error.fix)
        return made

    def _judged(self, number: int) -> ShardDone:
        jobs = [job_of(number, self._shards[number], self._wanted)]
        (done,) = judge_shards(jobs, self._judges, self._wanted, lambda verdicts, judged: None)
        return done


def judge_on_cluster(
    address: str, workers: int | None, judging: Judging, shards: Sequence[Shard], wanted: Wanted, seen: Seen
) -> Iterator[ShardDone]:
    """Judge on the cluster at `address`; empty: on one that is started on this machine, and stopped again.

    workers: None for all processors but one. A worker that dies is replaced, and its shard is judged again. Archive,
    bundle and results must have the same paths on all machines. Raises EdgeInspectError.
    """
    if not shards:
        return
    _set_environment(own=not address)
    try:
        import ray
        import ray.data
        from ray.exceptions import RayError
    except ImportError as error:
        raise MissingDependency(f"Ray Data cannot be imported: {error}", fix=install_extra("fleet")) from error
    ray.data.DataContext.get_current().enable_progress_bars = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    try:
        _start(ray, address, workers)
        count = min(_workers(ray, workers), len(shards))
        numbers = ray.data.from_items(
            [{"number": number} for number in range(len(shards))], override_num_blocks=min(len(shards), _MOST_BLOCKS)
        )
        done = numbers.map_batches(
            _Worker,
            fn_constructor_args=(judging, list(shards), wanted),
            batch_size=1,
            compute=ray.data.ActorPoolStrategy(size=count),
            num_cpus=1,
        )
        for row in done.iter_rows():
            if row["error"]:
                raise ClusterError(row["error"], fix=row["fix"])
            skipped = Counter({why: int(number) for why, number in zip(Skipped, row["skipped"], strict=True) if number})
            unseen = Counter(dict(json.loads(row["unseen"])))
            seen(row["judged"] + row["kept"] + skipped.total(), row["judged"])
            yield ShardDone(int(row["number"]), int(row["judged"]), int(row["kept"]), skipped, unseen)
    except (RayError, ConnectionError, TimeoutError) as error:
        raise ClusterError(
            f"Ray gave up: {_last_line(error)}",
            fix="see that its machines run and have memory, and that RAY_AUTH_MODE and token are the cluster's; then "
            "give the same command again: finished shards are kept",
        ) from error
    finally:
        ray.shutdown()


def _set_environment(own: bool) -> None:
    """Before Ray is imported, which reads it then. own: of a cluster that ends with this process."""
    # nothing is told to anybody outside
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    if own:
        # else Ray leaves a token in the home folder that every user of the machine can read
        os.environ.setdefault("RAY_AUTH_MODE", "token")
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _start(ray: Any, address: str, workers: int | None) -> None:
    if address:
        _refuse_silent(address)
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        return
    # Ray Data reads with one processor itself: a pool of actors as large as the processors waits for ever
    ray.init(
        num_cpus=max(2, usable_cores(), (workers or 0) + 1),
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
    )


def _refuse_silent(address: str) -> None:
    """Ray itself tries for minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not port.isdecimal():
        return
    try:
        socket.create_connection((host, int(port)), _ANSWERS_S).close()
    except OSError as error:
        raise ClusterError(
            f"nothing answers at {address}: {error.strerror or error}",
            fix="start Ray there with `ray start --head`, and give the address that it prints, such as 10.0.0.5:6379",
        ) from error


def _workers(ray: Any, wanted: int | None) -> int:
    there = int(ray.cluster_resources().get("CPU", 0))
    if there < 2 or (wanted is not None and wanted > there - 1):
        raise UsageError(
            f"the cluster has {there} processors, and one of them must be left for reading",
            fix=f"give --workers {max(1, there - 1)}, or more machines",
        )
    return wanted or there - 1


def _last_line(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1] if lines else type(error).__name__
