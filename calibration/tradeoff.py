"""What other thresholds would cost and find: budgets, and the recall of known defective parts (not fitted on)."""

from __future__ import annotations

from dataclasses import dataclass

from calibration.threshold import image_threshold
from edge.datatypes import F32
from edge.promise import recall_text, share_text

BUDGETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


@dataclass(frozen=True)
class Choice:
    """A budget, the threshold that held-out good parts give for it, and its 95 % false-reject bound."""

    budget: float
    threshold: float
    bound: float
    extrapolated: bool


def choices(scores: F32, budgets: tuple[float, ...] = BUDGETS) -> list[Choice]:
    """Thresholds from held-out scores of good parts, and from nothing else."""
    fitted = [(budget, image_threshold(scores, budget)) for budget in budgets]
    return [Choice(budget, found.value, found.bound, found.extrapolated) for budget, found in fitted]


def tradeoff_lines(scores: F32, ng_scores: F32) -> list[str]:
    """A table for a person; with known defective parts, what each threshold finds of them."""
    lines = ["  budget   threshold   95 % bound   " + ("known defective parts" if len(ng_scores) else "")]
    for choice in choices(scores):
        found = recall_text(ng_scores, choice.threshold) if len(ng_scores) else ""
        mark = "  (extrapolated)" if choice.extrapolated else ""
        budget, bound = share_text(choice.budget), share_text(choice.bound)
        lines.append(f"  {budget:<8} {choice.threshold:.4f}      {bound:<10}   {found}{mark}".rstrip())
    return [line.rstrip() for line in lines]
