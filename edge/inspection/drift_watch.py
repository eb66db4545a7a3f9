"""What the drift monitor of a line compares parts with: each version's calibration, by the recipe that judges."""

from __future__ import annotations

import logging
from pathlib import Path

from edge.bundles.bundle import ModelBundle
from edge.bundles.recipes import Recipe, RecipeBook
from edge.bundles.versions import find_version
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.errors import BundleError
from edge.inspection.inspectors import golden_comparison, precision_and_calibration
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.drift_monitor import DriftMonitor, WatchedBundle


def drift_monitor(
    bundle: ModelBundle,
    settings: Settings,
    counters: RunCounters,
    alarms: AlarmLog,
    recipes: RecipeBook | None = None,
) -> DriftMonitor:
    """The watch on drift and bursts; parts of each version are compared with what that version was calibrated on.

    bundle: what the line begins with, by recipes.start where there are recipes.
    """

    def watched(version: ModelBundle, recipe: Recipe | None) -> WatchedBundle:
        own = settings if recipe is None else recipe.applied_to(settings)
        _, calibration = precision_and_calibration(version, own, recipe)
        golden = golden_comparison(version, calibration, own)
        scores = calibration.scores if golden is None else golden.scores(calibration.scores)
        return WatchedBundle(version.preprocess, version.drift_reference(), scores, calibration.threshold)

    def bundle_of(sha256: str, name: str) -> WatchedBundle | None:
        recipe = start if recipes is None else recipes.find(name)
        if sha256 == bundle.sha256 and recipe is start:
            return first
        try:
            path = bundle.path if recipe is None else Path(recipe.bundle)
            return watched(find_version(path, sha256), recipe)
        except BundleError as error:
            logging.getLogger("edge.monitoring.drift").warning(
                "nothing to compare version %s with: %s", sha256[:12], error
            )
            return None

    # here, so that a damaged bundle is refused before the first part
    start = None if recipes is None else recipes.start
    first = watched(bundle, start)
    return DriftMonitor(settings.drift, settings.burst, bundle_of, counters, alarms)
