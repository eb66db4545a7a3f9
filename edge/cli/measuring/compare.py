"""compare: every method trained on the same parts, beside what works without a network."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from edge.backends import open_backend
from edge.bundles.bundle import MANIFEST, ModelBundle, load_bundle
from edge.cli.image_readers import reader_of
from edge.cli.making import train as make_bundle
from edge.cli.parser import parse
from edge.core.config import Settings
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.progress import progress_bar, say, working
from edge.preprocessing.normal_samples import NormalSample, read_normal_samples
from edge.system.extras import needs

PAGE, RESULT = "compare.html", "compare.json"
_ARTIFICIAL = 96


@dataclass(frozen=True)
class _Trial:
    """A held-out set and artificial defects on it: the same for every detector that held the same parts out."""

    normals: list[U8]
    defective: list[U8]


def compare(options: argparse.Namespace, settings: Settings) -> int:
    """Train, calibrate and measure each method; write the page and the figures; recommend one."""
    needs("benchmarks.quality.comparison_plots", "train")
    comparison = needs("benchmarks.quality.comparison", "train")
    page = needs("benchmarks.quality.comparison_page", "train")
    # what can be known now must not fail after hours of training
    needs("benchmarks.quality.labelled", "train").list_test_pictures(options.data, reader_of(options, settings))
    methods = _methods(options.methods, options.variant)
    settings = make_bundle.on_the_processor(settings)
    with working(f"reading the pictures of good parts in {options.data}"):
        parts = list(read_normal_samples(options.data, reader_of(options, settings)))
    bundles = {
        method: [_bundle_of(options, settings, method, seed, parts) for seed in options.seeds] for method in methods
    }
    bench = _Bench(options, settings, parts, [bundle for made in bundles.values() for bundle in made])
    contenders = [bench.network(method, made) for method, made in bundles.items()]
    contenders += bench.baselines()
    recommendation = comparison.recommend(contenders)
    result = {
        "data": options.data.name,
        "variant": options.variant,
        "seeds": options.seeds,
        "recommendation": recommendation.as_json(),
        "detectors": [contender.as_json() for contender in contenders],
    }
    write_atomic(options.out / RESULT, (json.dumps(result, indent=1) + "\n").encode())
    html = page.comparison_page(options.data.name, options.variant, contenders, recommendation)
    write_atomic(options.out / PAGE, html.encode())
    print(json.dumps(result, indent=1) if options.json else page.comparison_text(contenders, recommendation))
    say(f"tables, maps and curves: {options.out / PAGE}")
    return 0


def _methods(wanted: str, variant: str) -> list[str]:
    """Names of registered methods that have the variant; raises UsageError for a name that is not registered."""
    registry = needs("training.methods", "train")
    if wanted != "all":
        names = wanted.split(",")
        for name in names:
            registry.find_method(name, variant)
        return names
    names = [name for name, method in registry.METHODS.items() if variant in method.variants]
    if not names:
        raise UsageError(f"no method has the variant {variant!r}", fix="choose tiny or edge")
    return names


def _bundle_of(
    options: argparse.Namespace, settings: Settings, method: str, seed: int, parts: Sequence[NormalSample]
) -> ModelBundle:
    """The bundle of one method and seed: the one made before, or made now as `edge-inspect train` makes it."""
    steps = "" if options.steps is None else f"-steps{options.steps}"
    path = options.out / "bundles" / f"{method}-{options.variant}-seed{seed}{steps}"
    if not (path / MANIFEST).exists():
        arguments = ["--data", options.data, "--out", path, "--method", method, "--variant", options.variant]
        arguments += ["--seed", seed, "--product", options.data.name, "--false-reject", options.false_reject]
        arguments += [] if options.steps is None else ["--steps", options.steps]
        asked = parse(["train", *map(str, arguments)])
        asked.reader = reader_of(options, settings)
        make_bundle.train(asked, settings)
        return load_bundle(path)
    bundle = load_bundle(path)
    training, budget = bundle.manifest.training, bundle.calibration("int8").false_reject_budget
    known = {part.sha256 for part in parts}
    trained_on = set(bundle.manifest.trained_on)
    same_parts = len(trained_on) + training.n_heldout == len(known) and trained_on <= known
    if not same_parts or abs(budget - options.false_reject / 100) > 1e-9:
        raise UsageError(
            f"{path} was made from other good parts, or for another false-reject budget",
            fix="remove it, or give another --out",
        )
    say(f"{path.name}: made before, used again")
    return bundle


class _Bench:
    """Measures detectors on the same test pictures and the same artificial defects."""

    def __init__(
        self,
        options: argparse.Namespace,
        settings: Settings,
        parts: Sequence[NormalSample],
        bundles: Sequence[ModelBundle],
    ) -> None:
        self._options, self._settings, self._parts = options, settings, parts
        self._preprocess = bundles[0].preprocess
        self._reader = reader_of(options, settings)
        # what any of them has seen counts for none
        self._weak_on = {sha256 for bundle in bundles for sha256 in bundle.manifest.weak_on}
        self._trials: dict[tuple[str, ...], _Trial] = {}
        self._trained_on = {bundle.manifest.training.seed: bundle.manifest.trained_on for bundle in bundles}
        self._comparison = needs("benchmarks.quality.comparison", "train")
        self._labelled = needs("benchmarks.quality.labelled", "train")

    def network(self, method: str, bundles: Sequence[ModelBundle]) -> Any:
        """The INT8 network of each seed's bundle, through the backend that will run."""
        accuracy = needs("benchmarks.quality.accuracy", "train")
        inspection = self._settings.inspection
        figures, artificial, observations = [], [], []
        for bundle in bundles:
            backend = open_backend(bundle, inspection.backend, "int8", inspection.threads)

            def detector(image: U8, _: U8 | None, bundle: ModelBundle = bundle, backend: Any = backend) -> Any:
                return accuracy.reading_of(bundle, backend, image)

            with progress_bar(f"measuring {method}, seed {bundle.manifest.training.seed}") as advance:
                observed = accuracy.observe_bundle(
                    bundle, backend, self._options.data, advance, self._seen(bundle), self._reader
                )
            calibration = bundle.calibration("int8")
            budget = calibration.false_reject_budget
            figures.append(accuracy.bundle_figures(bundle, backend, observed, calibration.threshold, budget))
            trial = self._trial(bundle.manifest.trained_on)
            artificial.append(self._comparison.artificial_auroc(detector, trial.normals, trial.defective))
            observations.append(observed)
            backend.close()
        group = self._comparison.NETWORK
        return self._comparison.Contender(method, group, tuple(figures), tuple(artificial), observations[0])

    def baselines(self) -> list[Any]:
        """Every detector without a network that the data allows, on the first seed's split."""
        package = needs("benchmarks.quality.baselines", "train")
        fitting = package.Fitting(self._options.false_reject / 100, self._options.seeds[0])
        normals = [part.picture for part in self._parts]
        contenders = []
        trial = self._trial(self._trained_on[fitting.seed])
        found = package.baselines_for(self._options.data, self._preprocess)
        for done, baseline in enumerate(found, 1):
            with working(f"measuring without a network: {baseline.name}"):
                observed, figures = package.evaluate_baseline(
                    baseline,
                    normals,
                    self._options.data,
                    self._preprocess,
                    fitting,
                    self._seen(None),
                    reader=self._reader,
                )
            say(f"measured without a network: {baseline.name} ({done}/{len(found)})")
            if baseline.needs_reference:
                artificial: tuple[float, ...] = ()
            else:
                auroc = self._comparison.artificial_auroc(baseline.score, trial.normals, trial.defective)
                artificial = (auroc,)
            contender = self._comparison.Contender(baseline.name, baseline.group, (figures,), artificial, observed)
            contenders.append(contender)
        return contenders

    def _seen(self, bundle: ModelBundle | None) -> Any:
        trained_on = {part.sha256 for part in self._parts} if bundle is None else bundle.manifest.trained_on
        return self._labelled.SeenPictures(trained_on, self._weak_on)

    def _trial(self, trained_on: tuple[str, ...]) -> _Trial:
        """Held-out parts, and artificial defects on them."""
        key = tuple(sorted(trained_on))
        if key not in self._trials:
            normals = [part.picture for part in self._parts if part.sha256 not in set(trained_on)]
            make = needs("training.defects.defective_pictures", "train").defective_pictures
            count = max(_ARTIFICIAL, len(normals))
            self._trials[key] = _Trial(normals, list(make(normals, self._preprocess, count, self._options.seeds[0])))
        return self._trials[key]
