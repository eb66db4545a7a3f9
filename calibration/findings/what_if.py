"""What three budgets cost and find, in the words of whoever runs the line: the one in force, a stricter, a looser."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from calibration.findings.findings import DrawnDefect, Findings
from calibration.threshold import fitted_threshold
from edge.bundles.calibration import Calibration
from edge.bundles.threshold_report import rejected

# budgets beside the one in force, as multiples of it; no line rejects more than the last of good parts
_STRICTER, _LOOSER, _MOST = 0.25, 2.0, 0.25
# a size counts as found when of it, and of every larger one, at least this share is
_MOSTLY = 0.75
_LEAST_WITH_TENTHS = 0.01
_PLURALS = {"missing patch": "missing patches", "scratch": "scratches"}


@dataclass(frozen=True)
class WhatIf:
    """A threshold: the budget it is of (None: set by hand), the rate it rejects on average, and the 95 % bound of it.

    guessed: the rate lies beyond what the good parts show.
    """

    name: str
    budget: float | None
    threshold: float
    rate: float
    bound: float
    guessed: bool
    in_force: bool = False

    @property
    def percent(self) -> str:
        """The budget as --false-reject takes it, rounded up: rounded down it may allow one reject fewer."""
        steps = 10 if self.rate >= _LEAST_WITH_TENTHS else 100
        return "" if self.budget is None else f"{math.ceil(steps * 100 * self.budget - 1e-6) / steps:g}"


def what_ifs(calibration: Calibration) -> list[WhatIf]:
    """The threshold in force, one of a quarter of its rate, and one of twice."""
    live, hand = calibration.threshold, calibration.set_by_hand
    rate = _average(calibration, live, calibration.false_reject_budget if calibration.extrapolated else None)
    guessed = calibration.extrapolated and (not hand or rejected(calibration.scores, live) == 0)
    budget = None if hand else calibration.false_reject_budget
    made = [WhatIf("in force", budget, live, rate, calibration.false_reject_bound, guessed, in_force=True)]
    for name, factor in (("stricter", _STRICTER), ("looser", _LOOSER)):
        fitted = fitted_threshold(calibration.scores, min(factor * rate, _MOST))
        value, budget = fitted.threshold, fitted.false_reject_budget
        # nothing else to choose: the scores are too few, or equal
        if (value > live) == (name == "stricter") and not math.isclose(value, live, rel_tol=1e-4):
            average = _average(calibration, value, budget if fitted.extrapolated else None)
            made.append(WhatIf(name, budget, value, average, fitted.false_reject_bound, fitted.extrapolated))
    return made


def _average(calibration: Calibration, threshold: float, guess: float | None) -> float:
    """What a threshold rejects of good parts on average; those that stand apart are no sample of what comes."""
    if guess is not None and not calibration.set_by_hand:
        return guess
    above, odd = rejected(calibration.scores, threshold), int(calibration.odd_parts)
    return (max(0, above - odd) + 1) / (len(calibration.scores) - odd + 1)


def what_if_lines(calibration: Calibration, findings: Findings | None, mm_per_px: float | None = None) -> list[str]:
    """Each of them in words; findings: what is known of defects. mm_per_px: in place of what they know."""
    choices, lines = what_ifs(calibration), []
    names = [each.name if each.in_force else f"{each.name} (--false-reject {each.percent})" for each in choices]
    for name, each in zip(names, choices, strict=True):
        # rounded towards more rejects
        most = max(1, math.floor(1 / each.bound + 1e-6))
        rate = f"rejects about 1 good part in {1 / each.rate:.0f} (at most 1 in {most})"
        if each.guessed:
            rate += ", a guess beyond what the good parts show"
        found = "" if findings is None else _found(findings, each.threshold, mm_per_px)
        known = "" if findings is None else _known(findings, each.threshold)
        lines.append(f"{name}: {'; '.join(filter(None, (rate, found, known)))}")
    return lines


def _found(findings: Findings, threshold: float, mm_per_px: float | None) -> str:
    drawn = findings.drawn
    if not drawn:
        return ""
    scale = mm_per_px if mm_per_px is not None else findings.mm_per_px
    count = sum(defect.score > threshold for defect in drawn)
    kinds = list(dict.fromkeys(defect.kind for defect in drawn))
    smallest = [_smallest([defect for defect in drawn if defect.kind == kind], threshold) for kind in kinds]
    words = [
        f"no {_plural(kind)}" if length is None else f"{_plural(kind)} from about {_length(length, scale)}"
        for kind, length in zip(kinds, smallest, strict=True)
    ]
    return f"finds {count} of {len(drawn)} drawn defects: {', '.join(words)}"


def _smallest(drawn: Sequence[DrawnDefect], threshold: float) -> float | None:
    """The length in px from which on defects of one kind are mostly found."""
    smallest = None
    for percent in sorted({defect.percent for defect in drawn}, reverse=True):
        same = [defect for defect in drawn if defect.percent == percent]
        if sum(defect.score > threshold for defect in same) < _MOSTLY * len(same):
            break
        smallest = sum(defect.length_px for defect in same) / len(same)
    return smallest


def _length(length_px: float, mm_per_px: float | None) -> str:
    return f"{length_px:.0f} px" if mm_per_px is None else f"{length_px * mm_per_px:.2g} mm"


def _known(findings: Findings, threshold: float) -> str:
    """Known defective parts, by the kind that their folder names."""
    words = []
    for kind in dict.fromkeys(defect.kind for defect in findings.known):
        of_kind = [defect for defect in findings.known if defect.kind == kind]
        seen = " (it learned from them)" if any(defect.in_training for defect in of_kind) else ""
        words.append(f"{kind} {sum(defect.score > threshold for defect in of_kind)} of {len(of_kind)}{seen}")
    return f"of known defective parts: {', '.join(words)}" if words else ""


def _plural(kind: str) -> str:
    return _PLURALS.get(kind, f"{kind}s")
