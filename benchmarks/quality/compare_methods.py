"""Every method trained on the same good parts and measured on the same test pictures, beside what needs no network."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.quality.accuracy import bundle_figures, predict_with_bundle, prediction_of
from benchmarks.quality.baselines import Fitting, baselines_for, evaluate_baseline
from benchmarks.quality.comparison import NETWORK, Contender, Recommendation, artificial_auroc, recommend
from benchmarks.quality.comparison_page import comparison_page
from benchmarks.quality.labelled import SeenPictures, list_test_pictures
from benchmarks.quality.predictions import Prediction
from calibration.threshold import same_budget
from edge.backends import open_backend
from edge.bundles.bundle import MANIFEST, ModelBundle, load_bundle
from edge.capture.images.image_reader import ImageReader
from edge.core.config import Settings
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.progress import progress_bar, say, working
from edge.preprocessing.normal_samples import NormalSample, read_normal_samples
from edge.preprocessing.preprocess import Preprocess

PAGE, RESULT = "compare.html", "compare.json"
_ARTIFICIAL = 96

# method, seed, where → the bundle, made as `edge-inspect train` makes it
TrainMethod = Callable[[str, int, Path], object]
# good parts, how they are inspected, how many, seed → the same with artificial defects
DrawDefects = Callable[[Sequence[U8], Preprocess, int, int], Iterable[U8]]


@dataclass(frozen=True)
class ComparisonRequest:
    """data: an MVTec-style folder with test pictures. out: where bundles and results go. false_reject: a share, 0..1;
    None: what the good parts support.

    methods: their names. steps: of the optimiser; None: the variant's own.
    """

    data: Path
    out: Path
    methods: Sequence[str]
    variant: str
    seeds: Sequence[int]
    false_reject: float | None
    steps: int | None = None


@dataclass(frozen=True)
class MethodComparison:
    contenders: list[Contender]
    recommendation: Recommendation
    result: dict[str, Any]


def compare_methods(
    request: ComparisonRequest, settings: Settings, reader: ImageReader, train: TrainMethod, draw: DrawDefects
) -> MethodComparison:
    """Train, calibrate and measure each method, write the page and the figures, and recommend one or none.

    A bundle that an earlier call made of the same parts is used again. Raises UsageError and BundleError.
    """
    # what can be known now must not fail after hours of training
    list_test_pictures(request.data, reader)
    with working(f"reading the pictures of good parts in {request.data}"):
        normals = list(read_normal_samples(request.data, reader))
    bundles = {
        method: [_bundle_of(request, method, seed, normals, train) for seed in request.seeds]
        for method in request.methods
    }
    bench = _Bench(request, settings, reader, normals, [bundle for made in bundles.values() for bundle in made], draw)
    contenders = [bench.network(method, made) for method, made in bundles.items()] + bench.baselines()
    recommendation = recommend(contenders)
    result = {
        "data": request.data.name,
        "variant": request.variant,
        "seeds": list(request.seeds),
        "recommendation": recommendation.as_json(),
        "detectors": [contender.as_json() for contender in contenders],
    }
    write_atomic(request.out / RESULT, (json.dumps(result, indent=1) + "\n").encode())
    html = comparison_page(request.data.name, request.variant, contenders, recommendation)
    write_atomic(request.out / PAGE, html.encode())
    return MethodComparison(contenders, recommendation, result)


def _bundle_of(
    request: ComparisonRequest, method: str, seed: int, normals: Sequence[NormalSample], train: TrainMethod
) -> ModelBundle:
    """The bundle of one method and seed: the one made before, or made now."""
    steps = "" if request.steps is None else f"-steps{request.steps}"
    path = request.out / "bundles" / f"{method}-{request.variant}-seed{seed}{steps}"
    if not (path / MANIFEST).exists():
        train(method, seed, path)
        return load_bundle(path)
    bundle = load_bundle(path)
    training, calibration = bundle.manifest.training, bundle.calibration("int8")
    asked = calibration.false_reject_budget if calibration.budget_asked else None
    known = {part.sha256 for part in normals}
    trained_on = set(bundle.manifest.trained_on)
    same_parts = len(trained_on) + training.n_heldout == len(known) and trained_on <= known
    if not same_parts or not _same_budget(asked, request.false_reject):
        raise UsageError(
            f"{path} was made from other good parts, or for another false-reject budget",
            fix="remove it, or give another --out",
        )
    say(f"{path.name}: made before, used again")
    return bundle


def _same_budget(one: float | None, other: float | None) -> bool:
    return one is other is None or (one is not None and other is not None and same_budget(one, other))


@dataclass(frozen=True)
class _Trial:
    """Held-out good parts and artificial defects on them: the same for every detector that held the same parts out."""

    normals: list[U8]
    defective: list[U8]


class _Bench:
    """Measures detectors on the same test pictures and the same artificial defects."""

    def __init__(
        self,
        request: ComparisonRequest,
        settings: Settings,
        reader: ImageReader,
        normals: Sequence[NormalSample],
        bundles: Sequence[ModelBundle],
        draw: DrawDefects,
    ) -> None:
        self._request, self._settings, self._reader, self._draw = request, settings, reader, draw
        self._normals = normals
        self._preprocess = bundles[0].preprocess
        # what any of them has seen counts for none
        self._weak_on = {sha256 for bundle in bundles for sha256 in bundle.manifest.weak_on}
        self._trials: dict[tuple[str, ...], _Trial] = {}
        self._trained_on = {bundle.manifest.training.seed: bundle.manifest.trained_on for bundle in bundles}

    def network(self, method: str, bundles: Sequence[ModelBundle]) -> Contender:
        """The INT8 network of each seed's bundle, through the backend that will run."""
        inspection = self._settings.inspection
        figures, artificial, predictions_of_seeds = [], [], []
        for bundle in bundles:
            backend = open_backend(bundle, inspection.backend, "int8", inspection.threads)

            def detector(image: U8, _: U8 | None, bundle: ModelBundle = bundle, backend: Any = backend) -> Prediction:
                return prediction_of(bundle, backend, image)

            with progress_bar(f"measuring {method}, seed {bundle.manifest.training.seed}") as advance:
                seen = SeenPictures(bundle.manifest.trained_on, self._weak_on)
                predictions = predict_with_bundle(bundle, backend, self._request.data, advance, seen, self._reader)
            figures.append(bundle_figures(bundle, backend, predictions, bundle.calibration("int8")))
            trial = self._trial(bundle.manifest.trained_on)
            artificial.append(artificial_auroc(detector, trial.normals, trial.defective))
            predictions_of_seeds.append(predictions)
            backend.close()
        return Contender(method, NETWORK, tuple(figures), tuple(artificial), predictions_of_seeds[0])

    def baselines(self) -> list[Contender]:
        """Every detector without a network that the data allows, on the first seed's split."""
        fitting = Fitting(self._request.false_reject, self._request.seeds[0])
        pictures = [part.picture for part in self._normals]
        seen = SeenPictures({part.sha256 for part in self._normals}, self._weak_on)
        trial = self._trial(self._trained_on[fitting.seed])
        contenders = []
        found = baselines_for(self._request.data, self._preprocess)
        for done, baseline in enumerate(found, 1):
            with working(f"measuring without a network: {baseline.name}"):
                predictions, figures = evaluate_baseline(
                    baseline, pictures, self._request.data, self._preprocess, fitting, seen, reader=self._reader
                )
            say(f"measured without a network: {baseline.name} ({done}/{len(found)})")
            artificial: tuple[float, ...] = ()
            if not baseline.needs_reference:
                artificial = (artificial_auroc(baseline.score, trial.normals, trial.defective),)
            contenders.append(Contender(baseline.name, baseline.group, (figures,), artificial, predictions))
        return contenders

    def _trial(self, trained_on: tuple[str, ...]) -> _Trial:
        key = tuple(sorted(trained_on))
        if key not in self._trials:
            normals = [part.picture for part in self._normals if part.sha256 not in set(trained_on)]
            count = max(_ARTIFICIAL, len(normals))
            drawn = self._draw(normals, self._preprocess, count, self._request.seeds[0])
            self._trials[key] = _Trial(normals, list(drawn))
        return self._trials[key]
