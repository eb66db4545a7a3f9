"""The methods that `--method auto` trains, what each reached, and which of them is taken."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from calibration.choice.score_choice import Choice, as_good
from calibration.pipeline.train import Draft

# in the order in which they are tried: what trains nothing, then what gained most beside a memory
ORDER = ("memory", "slsg", "isstad", "sparsity_prior", "kist")
# of what inspects in tiles: it trains nothing, and what is trained learns from whole pictures
ORDER_IN_TILES = ("memory",)
AUTO = "auto"


@dataclass(frozen=True)
class Contender:
    """A network that was made and judged. steps: it was trained with. cost: multiplications of one run.

    seconds: what making it took.
    """

    method: str
    variant: str
    draft: Draft
    steps: int
    cost: int
    seconds: float

    @property
    def name(self) -> str:
        """Of the method, and of its folder below that of the run."""
        return self.method

    def as_dict(self) -> dict[str, Any]:
        choice = self.draft.choice
        assert choice is not None, "contenders are judged"
        return {
            "method": self.method,
            "variant": self.variant,
            "image_auroc": round(choice.figure.mean, 4),
            "standard_error": round(choice.figure.spread, 4),
            "kinds": {name: round(value, 4) for name, value in choice.figure.kinds.items()},
            "run_ms": round(choice.run_ms, 2),
            "multiplications": self.cost,
            "steps": self.steps,
            "seconds": round(self.seconds, 1),
        }


@dataclass(frozen=True)
class Outcome:
    """What auto made. left_out: method → why it was not tried, or failed."""

    contenders: tuple[Contender, ...]
    chosen: Contender
    left_out: dict[str, str]

    def lines(self) -> list[str]:
        """What a person should know of the choice, in plain words."""
        reached = [
            f"  {each.name}: {_choice(each).figure.mean:.3f} ± {_choice(each).figure.spread:.3f}, "
            f"{_choice(each).run_ms:.1f} ms a picture in FP32 here"
            for each in self.contenders
        ]
        judged = f"image AUROC on {_choice(self.chosen).exhibits}, which no training saw:"
        return [judged, *reached, *(f"  {name}: {why}" for name, why in self.left_out.items()), self._reason()]

    def record(self) -> str:
        """For the manifest: in one line."""
        reached = [f"{each.name} {_choice(each).figure.mean:.3f}" for each in self.contenders]
        return f"method: auto, {self._reason()} ({', '.join(reached)})"

    def as_dict(self) -> dict[str, Any]:
        return {
            "method": "auto",
            "chosen": self.chosen.name,
            "why": self._reason(),
            "contenders": [each.as_dict() for each in self.contenders],
            "left_out": self.left_out,
        }

    def _reason(self) -> str:
        best = _best(self.contenders)
        if len(self.contenders) == 1:
            return f"{self.chosen.name} is taken: nothing else was tried"
        if self.chosen is best:
            return f"{self.chosen.name} is taken: it reached most"
        lead = _choice(best).figure.mean - _choice(self.chosen).figure.mean
        return (
            f"{self.chosen.name} is taken: {best.name} reached {lead:.3f} more, which these parts cannot tell from "
            "chance, and of equals the simpler and faster is taken"
        )


def outcome_of(contenders: Sequence[Contender], left_out: dict[str, str]) -> Outcome:
    """The best is taken, or of those that are as good what trains nothing, then what weighs fewer evidences and costs
    less. What counts is the same on every machine."""
    best = _choice(_best(contenders)).figure
    tied = [each for each in contenders if as_good(_choice(each).figure, best)]
    chosen = min(tied, key=lambda each: (each.steps > 0, _choice(each).weighed, each.cost))
    return Outcome(tuple(contenders), chosen, left_out)


def run_folder(runs: Path, method: str) -> Path:
    """Where one of several methods keeps its run."""
    return runs / method


def _best(contenders: Sequence[Contender]) -> Contender:
    return max(contenders, key=lambda each: _choice(each).figure.mean)


def _choice(contender: Contender) -> Choice:
    choice = contender.draft.choice
    assert choice is not None, "contenders are judged"
    return choice
