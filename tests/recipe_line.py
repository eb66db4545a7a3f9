"""A loop that judges by recipes of small real bundles, until `end`; put together as edge/inspection/line.py does."""

import shutil
import threading

import yaml

from edge.bundles.recipes import recipe_book
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.manifest import PreprocessSpec
from edge.inspection.loop import run_loop
from edge.inspection.recipes.change import Recipes
from edge.inspection.recipes.opening import Following, LoadedRecipe, Opening, first_pool
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.poller import Poller
from tests.fakes import WAIT_S, ListSink, eventually
from tests.running_line import EndlessParts
from tests.small_bundle import blur_network, make_bundle

# the two products: another field size, another region of interest, another network, another name
PLATE, GEAR = "plate", "gear"


def make_gear(path):
    region = PreprocessSpec(rectangle=(8, 4, 48, 40))
    return make_bundle(path, model=blur_network(48), size=48, product="gear wheel", preprocess=region)


def write_recipes(folder, **recipes):
    """folder/recipes.yaml with recipes of these names, numbered from 1; each a dictionary of its other keys."""
    values = {number: {"name": name, **keys} for number, (name, keys) in enumerate(recipes.items(), 1)}
    path = folder / "recipes.yaml"
    path.write_text(yaml.safe_dump(values, sort_keys=False))
    return path


def two_products(folder, plate, gear):
    """Copies of the two bundles and a recipes.yaml that names them; its path."""
    for source, name in ((plate, PLATE), (gear, GEAR)):
        shutil.copytree(source, folder / name)
    return write_recipes(folder, plate={"bundle": str(folder / PLATE)}, gear={"bundle": str(folder / GEAR)})


class CountingOpening(Opening):
    """count: how many recipes were loaded after the first."""

    count = 0

    def loaded(self, recipe, bundle, seen):
        self.count += 1
        return super().loaded(recipe, bundle, seen)


class RecipeLine:
    """changes: what was recorded of requests. products: who was told of which product."""

    def __init__(
        self,
        file,
        threads=1,
        live=True,
        pause_s=0.001,
        inspection=None,
        not_ready=None,
        parts_wait=lambda: 0,
        **recipes,
    ):
        settings = Settings.model_validate(
            {
                "freshness": {"max_age_ms": 30_000},
                "inspection": {"deadline_ms": 30_000, "threads": 1, **(inspection or {})},
                "recipes": {"file": str(file), **recipes},
            }
        )
        self.counters, self.sink, self.changes, self.products = RunCounters(), ListSink(), [], []
        self.supply, self._stop = EndlessParts(live, pause_s), threading.Event()
        book = recipe_book(settings)
        own = book.start.applied_to(settings)
        bundle, seen, self.pool = first_pool(own, threads, book.start)
        wake = threading.Event()
        alarms = AlarmLog(self.counters, lambda alarm: None)
        opening = CountingOpening(settings, self.pool, self.counters, not_ready or (lambda *hashes: None))
        self._opening = opening
        self.recipes = Recipes(
            book,
            LoadedRecipe(book.start, bundle, self.pool.inspectors, seen),
            self.pool,
            self.counters,
            alarms,
            opening,
            Following(
                parts_wait, lambda: 0.0, lambda recipe, version: self.products.append(recipe.name), self.changes.append
            ),
            keep_loaded=settings.recipes.keep_loaded,
            wake=wake,
        )
        self.poller = Poller([self.recipes], alarms, wake=wake)
        self._thread = threading.Thread(
            target=run_loop,
            args=(self.supply, self.pool, [self.sink, self.recipes], settings, self.counters),
            kwargs={"stop": self._stop},
            daemon=True,
        )
        self._thread.start()
        assert self.sink.wait_until(lambda verdicts: len(verdicts) > 5)

    @property
    def opened(self):
        return self._opening.count

    def use(self, recipe):
        """Ask, and wait until the change is over; whether it judges by it then."""
        before = len(self.changes)
        self.recipes.request(recipe)
        assert eventually(lambda: len(self.changes) > before and not self.counters.recipe_changing)
        return self.changes[-1].changed

    def judges_by(self, recipe):
        return self.sink.wait_until(lambda verdicts: verdicts[-1].recipe == recipe)

    def goes_on(self):
        """It has judged ten more frames."""
        count = len(self.sink.verdicts) + 10
        return self.sink.wait_until(lambda verdicts: len(verdicts) >= count)

    def end(self):
        if not self.supply.stopped:
            self.supply.stopped = True
            self._thread.join(WAIT_S)
            assert not self._thread.is_alive()
            self.poller.close()
            assert not self.poller.busy
            self.pool.close_retired()
            self.recipes.close_idle()
            for inspector in self.pool.inspectors:
                inspector.backend.close()
        return self.sink.verdicts
