"""The end of `teach`: what was made, what it finds, and what would make it better, for whoever runs the line."""

from __future__ import annotations

import argparse
import itertools
import json
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edge.backends import open_backend
from edge.bundles.bundle import ModelBundle
from edge.bundles.threshold_report import share_text, statement
from edge.cli.teach.sample_folder import SampleFolder
from edge.core.config import Settings
from edge.core.latency import StageClock
from edge.core.progress import say
from edge.core.redact import redact
from edge.inspection.synthetic_defects import KINDS, synthetic_defects
from edge.preprocessing.normal_samples import read_normal_samples

# defects that are drawn, in percent of the inspected area: small, middling, large
_AREAS_PERCENT = (0.5, 2.0, 8.0)
# of the parts that it has not seen
_LOOKED_AT = 8
# share of middling defects, and image AUROC on subtler ones, below which a person must know
_FEW, _LITTLE = 0.5, 0.8
_ENOUGH_SAMPLES = 60


@dataclass(frozen=True)
class Finds:
    """What was found of defects drawn on parts that it has not seen.

    found: size in percent of the inspected area → found, drawn. auroc: of the gate's subtler defects; None: not known.
    """

    found: dict[float, tuple[int, int]]
    auroc: float | None

    def share(self, percent: float) -> float:
        hits, drawn = self.found[percent]
        return hits / drawn if drawn else 0.0

    @property
    def little(self) -> str:
        """In a few words what is poor about it; empty when it is good."""
        _, middling, large = _AREAS_PERCENT
        if self.share(large) < _FEW:
            return "finds hardly any defects"
        if self.share(middling) < _FEW or (self.auroc is not None and self.auroc < _LITTLE):
            return "finds large, plain defects only; faint ones pass"
        return ""

    def text(self) -> str:
        sizes = [f"{hits} of {drawn} of {percent:g} %" for percent, (hits, drawn) in self.found.items()]
        return f"of plain defects drawn on parts it has not seen: {', '.join(sizes)} of the picture"


def finds(bundle: ModelBundle, data: Path, settings: Settings) -> Finds:
    """Judge defects of three sizes, drawn on parts that were not trained on, with the threshold that will run."""
    precision = bundle.precision("auto")
    threshold, seen = bundle.calibration(precision).threshold, set(bundle.manifest.trained_on)
    unseen = itertools.islice(
        (part.picture for part in read_normal_samples(data) if part.sha256 not in seen), _LOOKED_AT
    )
    counts = dict.fromkeys(_AREAS_PERCENT, (0, 0))
    backend = open_backend(bundle, settings.inspection.backend, precision, settings.inspection.threads)
    try:
        for picture in unseen:
            for percent, (hits, drawn) in counts.items():
                for defect in synthetic_defects(picture, bundle.preprocess, len(KINDS), percent / 100):
                    hits += backend.score(defect.picture, StageClock(0)).score > threshold
                    drawn += 1
                counts[percent] = (hits, drawn)
    finally:
        backend.close()
    return Finds(counts, _auroc(bundle))


def _auroc(bundle: ModelBundle) -> float | None:
    if "gate_cpu" not in bundle.manifest.files:
        return None
    pair = json.loads(bundle.read("gate_cpu"))[-1]["auroc"]
    return None if pair is None else float(pair[1])


def would_help(bundle: ModelBundle, folder: SampleFolder, all_steps: int, all_minutes: float) -> list[str]:
    """What to try, the likeliest first. all_steps: the network's own, and the minutes with which it would get them."""
    record, samples = bundle.manifest.training, len(folder.paths())
    tips = []
    if samples < _ENOUGH_SAMPLES:
        tips.append(f"more parts: {_ENOUGH_SAMPLES} or more ({samples} now); the same command adds to them")
    if record.steps < all_steps:
        tips.append(
            f"more time: --minutes {int(1.1 * all_minutes) + 1} (it had {record.steps} of {all_steps} steps), "
            "or no other program on this machine meanwhile"
        )
    if record.layout == "free":
        tips.append("a steadier position: a stop or a guide, so that parts always lie the same way")
    tips.append(f"another method: edge-inspect compare --data {shlex.quote(str(folder.root))} tries all of them")
    return tips


def tell(
    bundle: ModelBundle,
    folder: SampleFolder,
    options: argparse.Namespace,
    settings: Settings,
    left_out: int,
    found: Finds,
    tips: list[str],
) -> None:
    """What was made, what it finds and promises; the figures behind it with --details."""
    precision = bundle.precision("auto")
    record, calibration = bundle.manifest.training, bundle.calibration(precision)
    out = f"; {left_out} left out" if left_out else ""
    promise = (
        f"about {share_text(calibration.false_reject_budget)} of good parts; {len(calibration.scores)} parts can only "
        f"show that it is below {share_text(calibration.false_reject_bound)}"
    )
    lines = [
        (
            "learned from",
            f"{record.n_train} good parts; {record.n_heldout} it has not seen set its limit{out}",
        ),
        ("finds", found.text()),
        ("rejects", promise),
        *(("would help" if number == 0 else "", tip) for number, tip in enumerate(tips if found.little else ())),
        ("look at", f"{folder.run_directory / 'sheet.png'}: what it makes of parts it has not seen"),
        ("inspect", shlex.join(["edge-inspect", *map(redact, run_options(bundle, options, settings))])),
    ]
    if options.details:
        lines += [("details" if number == 0 else "", line) for number, line in enumerate(_details(bundle, precision))]
    state = f"made, but it {found.little}" if found.little else "ready"
    say(f"\n{options.product} is {state}: {bundle.path}")
    for name, text in lines:
        say(f"  {name:<13} {text}")


def _details(bundle: ModelBundle, precision: str) -> list[str]:
    record, deployed = bundle.manifest.training, bundle.manifest.deployments.get("cpu")
    runs = precision if deployed is None else f"{precision} on {deployed.backend}"
    lines = [f"{bundle.manifest.method} {bundle.manifest.variant}, {record.steps} steps, runs in {runs}"]
    if "gate_cpu" in bundle.manifest.files:
        report: dict[str, Any] = json.loads(bundle.read("gate_cpu"))[-1]
        auroc = "not known" if report["auroc"] is None else f"{report['auroc'][1]:.3f}"
        lines.append(f"{report['defects']} on parts it has not seen: image AUROC {auroc} (0.5 is chance)")
    return [*lines, *statement(bundle.calibration(precision))]


def run_options(bundle: ModelBundle, options: argparse.Namespace, settings: Settings) -> list[str]:
    """With which `run` inspects the same camera."""
    # nothing for the camera of the settings: its address is no business of the list of processes
    camera = [] if options.camera == settings.camera.source else ["--camera", options.camera]
    config = [] if options.config is None else ["--config", str(options.config)]
    return [*camera, "--bundle", str(bundle.path), *config]
