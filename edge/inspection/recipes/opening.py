"""How a line opens a recipe: its bundle, its inspectors, what follows its versions; and who is told of a change."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.bundles.bundle import MANIFEST, ModelBundle
from edge.bundles.recipes import Recipe
from edge.bundles.signature import require_signature
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.files.safe_file import Stamp, stamp
from edge.inspection.hot_swap import HotSwap, ReplacedPool
from edge.inspection.inspector import Inspector
from edge.inspection.inspector_pool import InspectorPool
from edge.inspection.inspectors import bundle_path, live_bundle, make_inspectors, public_key
from edge.records.recipe_changes import RecipeChange


@dataclass(frozen=True)
class LoadedRecipe:
    """A recipe whose inspectors are open. seen: its manifest, when the bundle was read."""

    recipe: Recipe
    bundle: ModelBundle
    inspectors: tuple[Inspector, ...]
    seen: Stamp


@dataclass(frozen=True)
class FirstVerdict:
    """How long it took from a request to the first verdict by the new recipe, and how many verdicts came before it.

    loaded: whether the recipe was in memory when it was asked for.
    """

    recipe: str
    loaded: bool
    frames: int
    ms: float


@dataclass(frozen=True)
class Following:
    """Who is told. product: before the first frame of a recipe, with its live bundle; record: of each request.

    parts_wait: how many parts were asked for, of the product before, that have no verdict yet. parts_take_s: how long
    that takes at the most.
    """

    parts_wait: Callable[[], int] = lambda: 0
    parts_take_s: Callable[[], float] = lambda: 0.0
    product: Callable[[Recipe, ModelBundle], None] = lambda recipe, bundle: None
    record: Callable[[RecipeChange], None] = lambda change: None


class Opening:
    """Opens recipes for a pool, with a line's settings. All of it raises EdgeInspectError.

    not_ready: hashes of bundle and model → why a line must not judge with them, None when it may.
    """

    def __init__(
        self,
        settings: Settings,
        pool: InspectorPool,
        counters: RunCounters,
        not_ready: Callable[[str, str], str | None] = lambda bundle, model: None,
    ) -> None:
        self._settings, self._pool, self._counters = settings, pool, counters
        self.not_ready = not_ready

    def bundle(self, recipe: Recipe) -> ModelBundle:
        """What its folder holds, if it may run."""
        return live_bundle(recipe.applied_to(self._settings))

    def loaded(self, recipe: Recipe, bundle: ModelBundle, seen: Stamp) -> LoadedRecipe:
        """As many inspectors as the pool has."""
        settings, count = recipe.applied_to(self._settings), len(self._pool.inspectors)
        return LoadedRecipe(recipe, bundle, tuple(make_inspectors(bundle, settings, count, recipe)), seen)

    def watch(self, recipe: Recipe, bundle: ModelBundle) -> HotSwap:
        """What follows the versions of its bundle while it judges."""
        return version_watch(recipe.applied_to(self._settings), bundle, self._pool, self._counters, recipe)


def version_watch(
    settings: Settings, bundle: ModelBundle, pool: ReplacedPool, counters: RunCounters, recipe: Recipe | None = None
) -> HotSwap:
    """What keeps a pool at the live version of a bundle. recipe: by which it is judged, when `settings` are its own."""
    key = public_key(settings)

    def trust(version: ModelBundle) -> None:
        if key is not None:
            require_signature(version, key)

    return HotSwap(
        bundle,
        pool,
        counters,
        load=lambda: live_bundle(settings),
        trust=trust,
        open_inspectors=lambda version, count: make_inspectors(version, settings, count, recipe),
    )


def first_pool(settings: Settings, count: int, recipe: Recipe | None) -> tuple[ModelBundle, Stamp, InspectorPool]:
    """What a line begins with: its bundle, that bundle's manifest, and the pool. settings: of the recipe, if any.

    Raises BundleError and CalibrationMismatch.
    """
    seen = stamp(bundle_path(settings) / MANIFEST)
    bundle = live_bundle(settings)
    return bundle, seen, InspectorPool(make_inspectors(bundle, settings, count, recipe))


def manifest_of(recipe: Recipe) -> Path:
    return Path(recipe.bundle) / MANIFEST
