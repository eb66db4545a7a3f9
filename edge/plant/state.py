"""The line's state for other programs: one immutable snapshot, made ten times a second beside the inspection."""

from __future__ import annotations

import os
import threading
import time
from bisect import bisect_left
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone

from edge.core.alarms import Alarm
from edge.core.counters import RunCounters
from edge.core.datatypes import STAGES, Decision, Frame, Part, Reason, StageTimes, Verdict
from edge.core.files.text_names import storable
from edge.monitoring.sink import Filed

SNAPSHOT_EVERY_S = 0.1
# upper bounds of the classes of a stage's times; longer ones belong to a last class without a bound
BUCKETS_S = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
_NEWEST_KEPT = 20
# verdicts that wait for the next snapshot; minutes of the fastest line
_MOST_WAITING = 65536
_CLOSE_S = 0.5


@dataclass(frozen=True)
class LineInfo:
    """What does not change in a run, but for the product, which is the recipe's. backend, precision: of the version
    that the run, or the recipe, began with.
    """

    name: str
    source: str
    product: str
    backend: str
    precision: str


@dataclass(frozen=True)
class PublishedVerdict:
    """What is told of a verdict, without its map. number: its name in the records; None while it has none.

    part_number, lot: empty where they are not known. trigger: the count of the trigger that asked for this part.
    """

    number: str | None
    utc: datetime
    decision: Decision
    reason: Reason
    detail: str
    score: float | None
    threshold: float
    review: bool
    total_ms: float
    part_number: str
    lot: str
    trigger: int | None
    recipe: str
    bundle_sha256: str
    model_sha256: str


@dataclass(frozen=True)
class VerdictCount:
    """How many verdicts of a run were this."""

    decision: Decision
    reason: Reason
    count: int


@dataclass(frozen=True)
class StageHistogram:
    """The times of a stage, of inspected parts only. counts: of BUCKETS_S, and of what is longer; not cumulative."""

    stage: str
    counts: tuple[int, ...]
    sum_s: float


@dataclass(frozen=True)
class LineCounts:
    """Counts since the start of the run; each is the one of `RunCounters` with this name."""

    frames: int
    ok: int
    review: int
    ng: int
    invalid: int
    dropped: int
    reconnects: int
    stalls: int
    recorded: int
    records_lost: int
    alarms_lost: int
    images_skipped: int
    missed_triggers: int


@dataclass(frozen=True)
class RecipeState:
    """Each is the one of `RunCounters` with this name, after `recipe_`."""

    index: int
    name: str
    changing: bool
    error: str


@dataclass(frozen=True)
class LineState:
    """A line at one moment.

    monotonic_s: the moment on the clock that all processes of a machine share (`time.monotonic`). beat_age_s: since
    inspection last came round; None before it began. running: False in the last state of a run. bundle_sha256,
    model_sha256: what gave the newest verdict; empty before the first. newest: verdicts, the newest last. alarms: those
    that stand.
    """

    info: LineInfo
    pid: int
    started: datetime
    utc: datetime
    monotonic_s: float
    running: bool
    beat_age_s: float | None
    counts: LineCounts
    camera_state: str
    record_state: str
    ready_state: str
    bundle_state: str
    recipe: RecipeState
    bundle_sha256: str
    model_sha256: str
    newest: tuple[PublishedVerdict, ...]
    verdicts: tuple[VerdictCount, ...]
    stages: tuple[StageHistogram, ...]
    alarms: tuple[Alarm, ...]


class LineStateKeeper:
    """A sink. `state` is the newest snapshot; any thread may read it, and it never changes.

    `write` only remembers the verdict: counting is done in a thread of its own. filed: where the last verdict is kept;
    asked after the recorder has it.
    """

    def __init__(
        self,
        info: LineInfo,
        counters: RunCounters,
        filed: Callable[[], Filed | None] = lambda: None,
        every_s: float = SNAPSHOT_EVERY_S,
    ) -> None:
        # replaced as a whole by whoever changes the product
        self.info = info
        self._counters, self._filed, self._every_s = counters, filed, every_s
        self._started = datetime.now(timezone.utc)
        self._waiting: deque[tuple[PublishedVerdict, StageTimes]] = deque(maxlen=_MOST_WAITING)
        self._newest: deque[PublishedVerdict] = deque(maxlen=_NEWEST_KEPT)
        self._verdicts: Counter[tuple[Decision, Reason]] = Counter()
        self._classes = {stage: [0] * (len(BUCKETS_S) + 1) for stage in STAGES}
        self._sums_s = dict.fromkeys(STAGES, 0.0)
        self.state = self._snapshot(running=True)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._work, name="line state", daemon=True)
        self._thread.start()

    def write(self, frame: Frame, verdict: Verdict) -> None:
        filed, part = self._filed(), frame.part or Part()
        published = PublishedVerdict(
            None if filed is None else filed.number, frame.utc, verdict.decision, verdict.reason,
            storable(verdict.detail), verdict.score, verdict.threshold, verdict.review, verdict.times.total,
            part.number, part.lot, part.trigger, verdict.recipe, verdict.bundle_sha256, verdict.model_sha256,
        )  # fmt: skip
        self._waiting.append((published, verdict.times))

    def close(self) -> None:
        """The last snapshot has every verdict, and says that the run is over."""
        self._stop.set()
        self._thread.join(_CLOSE_S)

    def _work(self) -> None:
        while not self._stop.wait(self._every_s):
            self._count()
            self.state = self._snapshot(running=True)
        self._count()
        self.state = self._snapshot(running=False)

    def _count(self) -> None:
        while self._waiting:
            verdict, times = self._waiting.popleft()
            self._newest.append(verdict)
            self._verdicts[verdict.decision, verdict.reason] += 1
            if verdict.decision is not Decision.INVALID:
                for stage in STAGES:
                    seconds = getattr(times, stage) / 1000
                    self._classes[stage][bisect_left(BUCKETS_S, seconds)] += 1
                    self._sums_s[stage] += seconds

    def _snapshot(self, *, running: bool) -> LineState:
        counters, newest = self._counters, self._newest[-1] if self._newest else None
        return LineState(
            info=self.info,
            pid=os.getpid(),
            started=self._started,
            utc=datetime.now(timezone.utc),
            monotonic_s=time.monotonic(),
            running=running,
            beat_age_s=counters.beat_age_s(),
            counts=LineCounts(**{name: getattr(counters, name) for name in LineCounts.__dataclass_fields__}),
            camera_state=counters.camera_text,
            record_state=counters.record_state,
            ready_state=counters.ready_state,
            bundle_state=counters.bundle_state,
            recipe=RecipeState(
                counters.recipe_index, counters.recipe_name, counters.recipe_changing, storable(counters.recipe_error)
            ),
            bundle_sha256="" if newest is None else newest.bundle_sha256,
            model_sha256="" if newest is None else newest.model_sha256,
            newest=tuple(self._newest),
            verdicts=tuple(VerdictCount(*words, count) for words, count in sorted(self._verdicts.items())),
            stages=tuple(StageHistogram(stage, tuple(self._classes[stage]), self._sums_s[stage]) for stage in STAGES),
            alarms=tuple(counters.alarms.standing()),
        )
