"""The change from one product to another in a running line: the other recipe is loaded and tried beside, then judges.

The poller's thread does all of it; the inspection is asked for nothing but the pool, between two frames. The recipe
before goes on until the swap, and goes on for good when the other cannot be used.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timezone

from edge.bundles.recipes import Recipe, RecipeBook
from edge.bundles.versions import SHORT
from edge.core.alarms import RECIPE, Alarm
from edge.core.counters import RunCounters
from edge.core.datatypes import Frame, Verdict, clean_identity
from edge.core.errors import ChallengeError, EdgeInspectError, UsageError
from edge.core.files.safe_file import stamp
from edge.inspection.hot_swap import try_on
from edge.inspection.inspector import Inspector
from edge.inspection.inspector_pool import InspectorPool
from edge.inspection.recipes.opening import FirstVerdict, Following, LoadedRecipe, Opening, manifest_of
from edge.monitoring.alarm_log import AlarmLog
from edge.plant.recipe_request import RecipeAnswer, RequestFile
from edge.preprocessing.regions import FieldOfView
from edge.records.recipe_changes import RecipeChange

log = logging.getLogger("edge.inspection.recipes")

# frames of the recipe before that are still with the model; one that hangs is not waited for
_DRAIN_S, _DRAIN_EVERY_S = 2.0, 0.001
PLC = "plc"
_TRY_ANOTHER = "the recipe before goes on; see `edge-inspect recipe list`, mend it and ask for it again"


@dataclass
class _Request:
    wanted: str | int
    asked_by: str
    key: str | None = None
    # verdicts of the run until then
    verdicts: int = 0
    asked_ns: int = field(default_factory=time.perf_counter_ns)
    utc: datetime = field(default_factory=lambda: datetime.now(timezone.utc))

    @property
    def shown(self) -> str:
        """What was asked for, on one line of bounded length: it may come from anywhere."""
        return clean_identity(str(self.wanted))

    @property
    def ms(self) -> float:
        return (time.perf_counter_ns() - self.asked_ns) / 1e6


@dataclass
class _Expected:
    """The first verdict of a recipe that was asked for."""

    recipe: str
    loaded: bool
    asked_ns: int
    before: int


class Recipes:
    """A job of the poller that keeps a pool at the recipe that was asked for last; also a sink, because a recipe is
    tried on the line's own frames.

    start: which the pool holds. keep_loaded: recipes that stay open, the one that judges included; while another is
    loaded there may be one more. wake: has the poller call at once. requests: what other processes ask. The counters
    say which recipe judges, whether a change is going on, and why the last one failed.
    """

    name = "recipes"

    def __init__(
        self,
        book: RecipeBook,
        start: LoadedRecipe,
        pool: InspectorPool,
        counters: RunCounters,
        alarms: AlarmLog,
        opening: Opening,
        following: Following,
        *,
        keep_loaded: int,
        wake: threading.Event,
        requests: RequestFile | None = None,
    ) -> None:
        self._book, self._pool, self._counters, self._alarms = book, pool, counters, alarms
        self._opening, self._following = opening, following
        self._keep_loaded, self._wake, self._files = keep_loaded, wake, requests
        self._lock = threading.Lock()
        self._waiting: list[_Request] = []
        self._active = start
        # the one that judged last stands last
        self._loaded: OrderedDict[str, LoadedRecipe] = OrderedDict({start.recipe.name: start})
        # also of those that were closed: a verdict may wait for its picture
        self._bundles = {start.recipe.name: start.bundle}
        self._watch = opening.watch(start.recipe, start.bundle)
        self._frame: Frame | None = None
        self._verdicts = 0
        self._expected: _Expected | None = None
        self._alarm: Alarm | None = None
        self._book_seen = stamp(book.path)
        self._told_of_file = self._checked = False
        self.first_verdict: FirstVerdict | None = None
        self._publish(start.recipe)

    @property
    def loaded(self) -> tuple[str, ...]:
        """Names of the recipes that are open; the one that judges is the last."""
        return tuple(self._loaded)

    def request(self, name_or_index: str | int, asked_by: str = PLC) -> None:
        """Ask for a recipe, from any thread; returns at once. A request that waits behind another replaces it."""
        self._ask(_Request(name_or_index, asked_by))

    def field_of_view(self, recipe: str) -> Callable[[int, int], FieldOfView | None] | None:
        """What parts of a recipe are seen through; None for one that has not judged."""
        bundle = self._bundles.get(recipe)
        return None if bundle is None else bundle.preprocess.field_of_view

    def write(self, frame: Frame, verdict: Verdict) -> None:
        """Remember the frame; returns at once."""
        self._verdicts += 1
        if frame.image is not None and frame.fault is None:
            self._frame = frame
        expected = self._expected
        if expected is not None and verdict.recipe == expected.recipe:
            self._expected = None
            ms = (time.perf_counter_ns() - expected.asked_ns) / 1e6
            self.first_verdict = FirstVerdict(
                expected.recipe, expected.loaded, self._verdicts - 1 - expected.before, ms
            )
        self._watch.write(frame, verdict)

    def close(self) -> None:
        """The pool stays open, for who made it; `close_idle` closes what does not judge."""

    def poll(self) -> None:
        """Do what was asked for; then follow the versions of the recipe that judges."""
        self._take_file()
        while (request := self._next()) is not None:
            self._change(request)
        self._watch.poll()
        self._pool.close_retired()
        self._look_at_file()
        if not self._checked:
            self._checked = True
            self._check_others()

    def end(self) -> None:
        """A candidate's trial that runs says that it ended, and who still waits is told."""
        self._watch.end()
        self._take_file()
        with self._lock:
            waiting, self._waiting = self._waiting, []
            self._counters.recipe_changing = False
        for request in waiting:
            self._end_request(request, self._active.recipe, request.shown, False, "the line has ended")

    def close_idle(self) -> None:
        """Close every recipe that does not judge; after the run."""
        for loaded in self._loaded.values():
            if loaded.inspectors != self._pool.inspectors and loaded is not self._active:
                _close(loaded.inspectors)
        self._loaded.clear()

    # requests

    def _ask(self, request: _Request) -> None:
        request.verdicts = self._verdicts
        with self._lock:
            self._waiting.append(request)
            self._counters.recipe_changing = True
        self._wake.set()

    def _take_file(self) -> None:
        if self._files is None:
            return
        try:
            asked = self._files.take()
        except OSError as error:
            log.warning("what is asked of the line cannot be read: %s", error)
            return
        if asked is not None:
            self._ask(_Request(asked.recipe, asked.asked_by, asked.key))

    def _next(self) -> _Request | None:
        """The newest request; those before it are refused, since nobody waits for them any more."""
        with self._lock:
            if not self._waiting:
                self._counters.recipe_changing = False
                return None
            *older, newest = self._waiting
            self._waiting.clear()
        for request in older:
            self._end_request(
                request, self._active.recipe, request.shown, False, "another recipe was asked for after it"
            )
        return newest

    def _end_request(
        self, request: _Request, before: Recipe, after: str, changed: bool, result: str, advice: str = ""
    ) -> None:
        ms = request.ms
        level = logging.WARNING if changed else logging.ERROR
        log.log(level, "recipe %s, asked for by %s: %s", after, request.asked_by, result)
        self._following.record(RecipeChange(request.utc, request.asked_by, before.name, after, changed, result, ms))
        if request.key is None or self._files is None:
            return
        try:
            self._files.answer(RecipeAnswer(request.key, changed, after, result, ms, advice))
        except OSError as error:
            log.warning("the answer cannot be written: %s", error)

    # the change

    def _change(self, request: _Request) -> None:
        after = request.shown
        try:
            recipe = self._book.find(request.wanted)
            after = recipe.name
            before = self._active
            if recipe is before.recipe:
                self._done()
                self._end_request(request, recipe, after, True, "it judges already")
                return
            other = self._ready(recipe, request)
        except EdgeInspectError as error:
            self._refuse(request, after, error.message, error.fix)
        # whatever a network's files do to its runtime: the recipe before is there, and goes on
        except Exception as error:  # noqa: BLE001
            self._refuse(request, after, f"{type(error).__name__}: {error}", _TRY_ANOTHER)
        else:
            self._swap(before, other, request)

    def _ready(self, recipe: Recipe, request: _Request) -> LoadedRecipe:
        """Loaded, allowed and tried on the last frame. Raises EdgeInspectError, and whatever a runtime raises."""
        was_loaded = recipe.name in self._loaded
        loaded = self._still_good(self._loaded[recipe.name]) if was_loaded else None
        fresh = loaded is None
        if loaded is None:
            seen = stamp(manifest_of(recipe))
            bundle = self._opening.bundle(recipe)
            self._make_room(1)
            loaded = self._opening.loaded(recipe, bundle, seen)
        try:
            self._require_ready(loaded)
            # the first run of a network allocates; one that was loaded before is only woken
            try_on(self._frame, loaded.inspectors, *(() if fresh else (1,)))
            self._require_no_parts()
        except BaseException:
            self._drop(loaded) if not fresh else _close(loaded.inspectors)
            raise
        self._expected = _Expected(recipe.name, not fresh, request.asked_ns, request.verdicts)
        return loaded

    def _still_good(self, loaded: LoadedRecipe) -> LoadedRecipe | None:
        """The recipe with what stands in its folder now; None where that must be loaded."""
        seen = stamp(manifest_of(loaded.recipe))
        if seen == loaded.seen:
            return loaded
        bundle = self._opening.bundle(loaded.recipe)
        if bundle.sha256 == loaded.bundle.sha256:
            return replace(loaded, seen=seen)
        self._drop(loaded)
        return None

    def _require_ready(self, loaded: LoadedRecipe) -> None:
        why = self._opening.not_ready(loaded.bundle.sha256, loaded.inspectors[0].backend.model_sha256)
        if why is not None:
            name = loaded.recipe.name
            raise ChallengeError(
                f"recipe {name} is not ready: {why}", fix=f"run `edge-inspect challenge --recipe {name} --data FOLDER`"
            )

    def _swap(self, before: LoadedRecipe, other: LoadedRecipe, request: _Request) -> None:
        self._watch.end(f"recipe {other.recipe.name} judges now")
        # the version may have changed while it judged
        left = replace(before, bundle=self._watch.live, inspectors=self._pool.inspectors)
        if left.bundle.sha256 != before.bundle.sha256:
            # whichever manifest that was: it is read again when the recipe comes back
            left = replace(left, seen=None)
        self._loaded[left.recipe.name] = left
        self._loaded[other.recipe.name] = other
        self._loaded.move_to_end(other.recipe.name)
        self._bundles[other.recipe.name] = other.bundle
        watch = self._opening.watch(other.recipe, other.bundle)
        self._following.product(other.recipe, other.bundle)
        self._pool.replace(other.inspectors, keep=True)
        self._active, self._watch = other, watch
        self._publish(other.recipe)
        self._wait_while(lambda: self._pool.in_use(left.inspectors), _DRAIN_S)
        self._counters.bundle_state = f"version {other.bundle.sha256[:SHORT]}"
        self._make_room(0)
        self._done()
        result = f"changed in {request.ms:.0f} ms, bundle version {other.bundle.sha256[:SHORT]}"
        self._end_request(request, left.recipe, other.recipe.name, True, result)

    def _require_no_parts(self) -> None:
        """Parts that were asked for under the recipe before are judged by it, or there is no change."""
        within_s = self._following.parts_take_s() + _DRAIN_S
        if self._wait_while(lambda: self._following.parts_wait() > 0, within_s):
            raise UsageError(
                f"parts that were asked for before had no verdict after {within_s:.1f} s: "
                f"{self._following.parts_wait()} wait",
                fix="see in the log whether inspection hangs, and ask for the recipe again",
            )

    def _wait_while(self, busy: Callable[[], bool], within_s: float) -> bool:
        """Until the last frame of the recipe before is judged; not for ever. Whether it is busy still."""
        until = time.monotonic() + within_s
        while busy():
            if time.monotonic() >= until:
                return True
            time.sleep(_DRAIN_EVERY_S)
        return False

    def _make_room(self, more: int) -> None:
        """Close what was not used for longest, so that with `more` no more than keep_loaded stay. Never what judges."""
        for name in [name for name in self._loaded if name != self._active.recipe.name]:
            if len(self._loaded) + more <= self._keep_loaded:
                return
            self._drop(self._loaded[name])

    def _drop(self, loaded: LoadedRecipe) -> None:
        self._loaded.pop(loaded.recipe.name, None)
        self._pool.retire(loaded.inspectors)
        self._pool.close_retired()

    def _done(self) -> None:
        self._counters.recipe_error = ""
        if self._alarm is not None:
            self._alarms.end(self._alarm)
            self._alarm = None

    def _refuse(self, request: _Request, after: str, why: str, fix: str) -> None:
        self._counters.recipe_error = why
        what = f"the change to recipe {after} failed, {self._active.recipe.name} goes on: {why}"
        if self._alarm is not None and self._alarm.what != what:
            self._alarms.end(self._alarm)
            self._alarm = None
        if self._alarm is None:
            self._alarm = self._alarms.begin(RECIPE, what, fix)
        goes_on = f"{self._active.recipe.name} goes on, and a PLC sees the line not ready until a request succeeds"
        self._end_request(request, self._active.recipe, after, False, why, f"{fix}; {goes_on}")

    def _publish(self, recipe: Recipe) -> None:
        self._counters.recipe_index, self._counters.recipe_name = recipe.index, recipe.name

    # the file

    def _look_at_file(self) -> None:
        """The line keeps what it read at the start: its records say by which recipes the run judged."""
        if not self._told_of_file and stamp(self._book.path) != self._book_seen:
            self._told_of_file = True
            log.warning(
                "%s was changed; the line keeps what it read at its start until it is restarted", self._book.path
            )

    def _check_others(self) -> None:
        """Say at the start which recipes cannot be used."""
        for recipe in self._book.recipes:
            if recipe is self._active.recipe:
                continue
            try:
                self._opening.bundle(recipe)
            except EdgeInspectError as error:
                where = f"{self._book.path}, line {self._book.line(recipe)}"
                log.error("recipe %s cannot be used (%s): %s", recipe.name, where, error)


def _close(inspectors: Sequence[Inspector]) -> None:
    for inspector in inspectors:
        with suppress(Exception):
            inspector.backend.close()
