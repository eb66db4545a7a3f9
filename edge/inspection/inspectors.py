"""From settings to the inspectors of a run: the bundle that may run with them, its backends and its thresholds."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args

from edge.backends import GPU_BACKENDS, open_backends, target_of, usable_cores
from edge.backends.golden import GoldenComparison, golden_pictures
from edge.bundles.bundle import CPU, ModelBundle, calibration_key, load_bundle
from edge.bundles.calibration import Calibration
from edge.bundles.recipes import Recipe, RecipeBook, recipe_book
from edge.bundles.signature import trusted_bundle
from edge.bundles.versions import kept_versions
from edge.capture.images.image_reader import line_reader
from edge.capture.sources import names_files
from edge.core.config import RoiSettings, Settings
from edge.core.errors import CalibrationMismatch, RecordError, UsageError
from edge.core.files.text_names import path_of_stored
from edge.core.manifest import Precision
from edge.inspection.inspector import Inspector
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore, RunInfo, RunRecord, VerdictRecord
from edge.samples import sample_bundle

log = logging.getLogger("edge.inspection")

# each holds buffers of its own; beyond a few, reading the pictures is what limits the rate
MOST_INSPECTORS = 4
# key of a run's recorded settings: the recipes that it knew
_RECIPES = "recipe_book"


def bundle_path(settings: Settings) -> Path:
    """The bundle of the settings, else that of the recipe that a line begins with, else the shipped one.

    Raises UsageError for a group, whose cameras may have a bundle each.
    """
    if settings.inspection.bundle:
        return Path(settings.inspection.bundle)
    if settings.group.cameras:
        raise UsageError(
            f"which bundle is meant? The settings have a group of cameras ({', '.join(settings.group.names)})",
            fix=f"add --only {settings.group.names[0]}, or the name of another camera",
        )
    book = line_recipes(settings)
    return sample_bundle() if book is None else Path(book.start.bundle)


def line_recipes(settings: Settings) -> RecipeBook | None:
    """The recipes of the settings, None where they name none. Unless recipes.start says otherwise, a line begins with
    the one that judged last: after a restart, or a power cut, the same product lies there.

    Raises ConfigError.
    """
    book = recipe_book(settings)
    if book is None or settings.recipes.start is not None:
        return book
    last = _recipe_of_the_newest_verdict(settings)
    return replace(book, start=next((each for each in book.recipes if each.name == last), book.start))


def _recipe_of_the_newest_verdict(settings: Settings) -> str | None:
    directory = settings.record.directory
    if directory is None or not (Path(directory) / DATABASE_NAME).is_file():
        return None
    try:
        with RecordStore(Path(directory)) as store:
            rows = store.query("SELECT recipe FROM verdicts ORDER BY id DESC LIMIT 1")
    except RecordError as error:
        log.warning("which recipe judged last cannot be read: %s", error.message)
        return None
    return rows[0][0] if rows else None


def public_key(settings: Settings) -> Path | None:
    """The key that must have signed the bundle; None where anybody may have made it."""
    signed_by = settings.inspection.signed_by
    return None if signed_by is None else Path(signed_by)


def live_bundle(settings: Settings) -> ModelBundle:
    """The bundle as it is now, if it may run with these settings; raises BundleError and CalibrationMismatch."""
    bundle = trusted_bundle(bundle_path(settings), public_key(settings))
    _refuse_other_preprocessing(bundle, settings)
    return bundle


def inspectors_for(camera: str, settings: Settings) -> int:
    """How many pictures are inspected at the same time: one of a live or paced source, for the shortest wait; files
    as fast as they go, with one core for each picture. A GPU is one."""
    paced = not names_files(camera) or settings.camera.fps is not None
    if paced or settings.inspection.backend in GPU_BACKENDS:
        return 1
    return min(MOST_INSPECTORS, settings.inspection.threads or usable_cores())


def make_inspector(bundle: ModelBundle, settings: Settings) -> Inspector:
    """Open the backend and take the thresholds that were fitted on it."""
    return make_inspectors(bundle, settings, 1)[0]


def make_inspectors(
    bundle: ModelBundle, settings: Settings, count: int, recipe: Recipe | None = None
) -> list[Inspector]:
    """Inspectors for `count` threads, which share the processor's cores.

    recipe: which they judge by, when `settings` are those of a line that does.
    """
    inspection = settings.inspection
    precision, calibration = precision_and_calibration(bundle, settings, recipe)
    backends = open_backends(
        bundle, inspection.backend, precision, inspection.threads, count,
        uncalibrated=inspection.uncalibrated, engines=inspection.engines_folder,
        # what differs from a golden picture needs a map to stand in
        maps=bundle.manifest.golden is not None,
        keep_warm_s=inspection.keep_warm_s,
    )  # fmt: skip
    caveat, running = "", backends[0].model_sha256
    if running != calibration.model_sha256:
        caveat = f"UNCALIBRATED: statistics are of model {calibration.model_sha256[:12]}, this is {running[:12]}"
    return [
        Inspector(
            backend, bundle.preprocess, calibration.threshold, calibration.pixel_threshold, bundle.sha256, caveat,
            calibration.review_threshold, calibration.certain_threshold,
            golden_comparison(bundle, calibration, settings), "" if recipe is None else recipe.name,
        )
        for backend in backends
    ]  # fmt: skip


def golden_comparison(
    bundle: ModelBundle, calibration: Calibration, settings: Settings, default: Path | None = None
) -> GoldenComparison | None:
    """What compares frames with golden pictures, for one thread; None where the bundle compares with none.

    default: a folder of golden pictures where the settings name none. Raises UsageError where there is nothing to
    compare with, or nothing has been fitted to compare by, and CalibrationMismatch.
    """
    reference, spec = settings.inspection.reference, bundle.manifest.golden
    if spec is None:
        if reference is not None:
            raise UsageError(
                f"{bundle.path} does not compare with golden pictures: nothing says how much good parts differ",
                fix="run `edge-inspect golden --bundle BUNDLE --data GOOD --reference REFERENCE` first, or leave "
                "inspection.reference (--reference) out",
            )
        return None
    given = default if reference is None else Path(reference)
    pictures = golden_pictures(bundle, given, line_reader(settings))
    return GoldenComparison(pictures, spec, bundle.preprocess, calibration.threshold, calibration.pixel_threshold)


def precision_and_calibration(
    bundle: ModelBundle, settings: Settings, recipe: Recipe | None = None
) -> tuple[str, Calibration]:
    """What runs with these settings, and the statistics that it is judged by; with the thresholds of the recipe."""
    inspection = settings.inspection
    target = target_of(inspection.backend)
    precision = bundle.precision(inspection.precision, target)
    calibration = bundle.calibration(precision, target=target, uncalibrated=inspection.uncalibrated)
    return precision, calibration if recipe is None else _thresholds_of(recipe, calibration)


def _thresholds_of(recipe: Recipe, calibration: Calibration) -> Calibration:
    threshold, review = recipe.threshold, calibration.review_threshold
    if threshold is not None:
        # what the held-out parts say of `close` belongs to the bundle's own threshold
        calibration = replace(calibration, threshold=threshold, certain_threshold=None, set_by_hand=True)
    band = review if recipe.review and review is not None and review < calibration.threshold else None
    return replace(calibration, review_threshold=band)


def recorded_inspector(run: RunRecord, recorded: VerdictRecord, settings: Settings, backend: str | None) -> Inspector:
    """The inspector that gave a recorded verdict; backend: None for the recorded one.

    While its version of the bundle is kept, that one; else the live one, which the comparison then refuses by name.
    """
    recipe = _recorded_recipe(run, recorded)
    settings = settings if recipe is None else _of_recipe(recipe, settings)
    path = Path(settings.inspection.bundle or path_of_stored(run.info.bundle_path))
    bundle = load_bundle(path)
    if bundle.sha256 != recorded.bundle_sha256:
        kept = (version.bundle for version in kept_versions(path))
        bundle = next((each for each in kept if each.sha256 == recorded.bundle_sha256), bundle)
    backend = backend or run.info.backend
    target = target_of(backend)
    # a version that was switched to during the run may have run in another precision than the one it began with
    names = (name for name in get_args(Precision) if _model(bundle, name, target) == recorded.model_sha256)
    chosen = {"precision": next(names, run.info.precision), "backend": backend}
    inspection = settings.inspection.model_copy(update=chosen)
    return make_inspectors(bundle, settings.model_copy(update={"inspection": inspection}), 1, recipe)[0]


def _recorded_recipe(run: RunRecord, recorded: VerdictRecord) -> Recipe | None:
    """As the run knew it; None for a verdict that was judged by none."""
    known = json.loads(run.info.config).get(_RECIPES, []) if recorded.recipe else []
    return next((Recipe.model_validate(each) for each in known if each["name"] == recorded.recipe), None)


def _of_recipe(recipe: Recipe, settings: Settings) -> Settings:
    """The recipe's, with the bundle and the golden pictures that the command names in place of the recipe's."""
    given = {key: value for key in ("bundle", "reference") if (value := getattr(settings.inspection, key)) is not None}
    return recipe.model_copy(update=given).applied_to(settings)


def run_info(
    bundle: ModelBundle, inspector: Inspector, source: str, settings: Settings, recipes: Sequence[Recipe] = ()
) -> RunInfo:
    """What the records say of this run. recipes: by which it may judge; kept with the settings, for replay."""
    config = json.loads(settings.record_json())
    if recipes:
        config[_RECIPES] = [{**recipe.model_dump(), "bundle": str(Path(recipe.bundle).resolve())} for recipe in recipes]
    return RunInfo(
        source=source,
        bundle_path=str(bundle.path.resolve()),
        bundle_sha256=bundle.sha256,
        model_sha256=inspector.backend.model_sha256,
        backend=inspector.backend.name,
        precision=bundle.precision(settings.inspection.precision, target_of(settings.inspection.backend)),
        threshold=inspector.threshold,
        pixel_threshold=inspector.pixel_threshold,
        preprocess_sha256=bundle.preprocess.sha256,
        config=json.dumps(config),
    )


def _model(bundle: ModelBundle, precision: str, target: str) -> str | None:
    key = f"model_{precision}" if target == CPU else calibration_key(precision, target)
    return bundle.model_sha256(precision, target) if key in bundle.manifest.files else None


def _refuse_other_preprocessing(bundle: ModelBundle, settings: Settings) -> None:
    """Raise CalibrationMismatch when the settings ask for another region or alignment than the bundle's."""
    spec, region, mode = bundle.manifest.preprocess, settings.roi.as_tuples, settings.align.mode
    if settings.roi != RoiSettings() and region != (spec.rectangle, spec.polygon):
        raise CalibrationMismatch(
            f"the settings ask for roi rectangle {region[0]}, polygon {region[1]}; {bundle.path} is calibrated for "
            f"rectangle {spec.rectangle}, polygon {spec.polygon}",
            fix="run `edge-inspect calibrate` with these settings, or remove `roi` from them to use the bundle's",
        )
    made_for = "none" if spec.align is None else spec.align.mode
    if mode is not None and mode != made_for:
        raise CalibrationMismatch(
            f"the settings ask for align mode {mode}; {bundle.path} is calibrated for {made_for}",
            fix="run `edge-inspect calibrate --align MODE`, or remove `align` from the settings to use the bundle's",
        )
