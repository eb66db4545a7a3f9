"""What other thresholds would cost and find: budgets, and the recall of known defective parts (not fitted on)."""

from __future__ import annotations

from dataclasses import dataclass

from calibration.threshold import fitted_threshold, same_budget
from edge.bundles.calibration import Calibration
from edge.bundles.threshold_report import recall_text, share_text
from edge.core.datatypes import F32

BUDGETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05)


@dataclass(frozen=True)
class Choice:
    """A budget, the threshold that held-out good parts give for it, and its 95 % false-reject bound.

    in_force: it is the one that judges now.
    """

    budget: float
    threshold: float
    bound: float
    extrapolated: bool
    in_force: bool = False


def in_force(calibration: Calibration) -> Choice | None:
    """The choice that judges now; None when a person set the threshold, for no budget."""
    if calibration.set_by_hand:
        return None
    live = calibration
    return Choice(live.false_reject_budget, live.threshold, live.false_reject_bound, live.extrapolated, in_force=True)


def choices(scores: F32, live: Choice | None = None, budgets: tuple[float, ...] = BUDGETS) -> list[Choice]:
    """Thresholds from held-out scores of good parts, and from nothing else; live: what is in force, in its place.

    It may have been fitted by another version of the program, and with two thresholds for one budget nobody knows which
    one judges.
    """
    fitted = [fitted_threshold(scores, budget) for budget in budgets]
    found = [Choice(one.false_reject_budget, one.threshold, one.false_reject_bound, one.extrapolated) for one in fitted]
    if live is None:
        return found
    others = [choice for choice in found if not same_budget(choice.budget, live.budget)]
    return sorted([*others, live], key=lambda choice: choice.budget)


def tradeoff_lines(scores: F32, ng_scores: F32, live: Choice | None = None) -> list[str]:
    """A table for a person; with known defective parts, what each threshold finds of them."""
    lines = ["  budget   threshold   95 % bound   " + ("known defective parts" if len(ng_scores) else "")]
    for choice in choices(scores, live):
        found = recall_text(ng_scores, choice.threshold) if len(ng_scores) else ""
        mark = "  (extrapolated)" if choice.extrapolated else ""
        mark += "  <- in force" if choice.in_force else ""
        budget, bound = share_text(choice.budget), share_text(choice.bound)
        lines.append(f"  {budget:<8} {choice.threshold:.4f}      {bound:<10}   {found}{mark}".rstrip())
    return [line.rstrip() for line in lines]
