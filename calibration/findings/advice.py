"""What a new bundle finds of defects that are drawn on good parts, and what would make it better."""

from __future__ import annotations

import json
import shlex
from dataclasses import dataclass
from pathlib import Path

from calibration.findings.findings import findings_of
from edge.bundles.bundle import ModelBundle

# of the sizes that are drawn, in percent of the inspected area: small, middling, large
_AREAS_PERCENT = (0.5, 2.0, 8.0)
# share of middling defects, and image AUROC on subtler ones, below which a person must know
_FEW, _LITTLE = 0.5, 0.8
_ENOUGH_SAMPLES = 60


@dataclass(frozen=True)
class DefectsFound:
    """What was found of defects drawn on good parts.

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
        return f"of plain defects drawn on good parts: {', '.join(sizes)} of the picture"


def defects_found(bundle: ModelBundle) -> DefectsFound:
    """What the threshold of the network that runs finds of drawn defects, as calibrating the bundle has measured."""
    precision = bundle.precision("auto")
    findings, threshold = findings_of(bundle, precision), bundle.calibration(precision).threshold
    counts = dict.fromkeys(_AREAS_PERCENT, (0, 0))
    for defect in findings.drawn if findings is not None else ():
        if defect.percent in counts:
            hits, drawn = counts[defect.percent]
            counts[defect.percent] = hits + (defect.score > threshold), drawn + 1
    return DefectsFound(counts, _auroc(bundle))


def _auroc(bundle: ModelBundle) -> float | None:
    if "gate_cpu" not in bundle.manifest.files:
        return None
    pair = json.loads(bundle.read("gate_cpu"))[-1]["auroc"]
    return None if pair is None else float(pair[1])


def would_help(bundle: ModelBundle, folder: Path, samples: int, all_steps: int, all_minutes: float) -> list[str]:
    """What to try, the likeliest first. folder, samples: where it was taught from, and how many.

    all_steps: the network's own, and the minutes with which it would get them.
    """
    record = bundle.manifest.training
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
    tips.append(f"another method: edge-inspect compare --data {shlex.quote(str(folder))} tries all of them")
    return tips
