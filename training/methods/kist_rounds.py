"""Rounds of self-training: when there is one, what its labels are, and whether it is taken back."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from training.labelling import RuleBook, load_rules
from training.methods.base import Design, Layout, Stage, TrainingData
from training.methods.kist_labels import ErrorMaps, ResidualMaps, Teacher, WeakLabels

# rounds end when labels stay the same; one is taken back when good parts' residual rises or weak parts stand out less
_SAME_LABELS, _MOST_RISE, _MOST_LOSS = 0.95, 1.1, 0.03
# how far weak parts are turned and moved; as far as normals where the layout is learned
WEAK_TURN_DEGREES: dict[Layout, float] = {"aligned": 2.0, "free": 10.0}
WEAK_SHIFT: dict[Layout, float] = {"aligned": 0.02, "free": 0.05}


class Rounds:
    """The rounds of one run, whose network is `network`."""

    def __init__(self, network: nn.Module, design: Design, stages: tuple[Stage, ...]) -> None:
        self._network, self._design = network, design
        self._count = sum(round_of(stage) > 0 for stage in stages)
        self._stopped = False
        self.labels: WeakLabels | None = None
        # network before the round, and how it stood after round 0: mean residual of good parts, separation of weak ones
        self._before: dict[str, Tensor] = {}
        self._standing: tuple[float, float] | None = None

    def attach(self, data: TrainingData, errors: ErrorMaps) -> None:
        """errors: error maps of the network, by which pictures are judged and labelled."""
        self._data = data
        with_rules = data.rules is not None and "rules" not in self._design.ablations
        book = load_rules(data.rules) if data.rules is not None and with_rules else RuleBook()
        self._teacher = Teacher(data, book, errors)

    @property
    def wanted(self) -> bool:
        return len(self._data.weak) > 0 and "rounds" not in self._design.ablations

    def applies(self, stage: Stage) -> bool:
        return not round_of(stage) or (self.wanted and not self._stopped)

    def finish(self, stage: Stage) -> bool:
        """Take the round back if it did harm, which is given back; else label the weak parts for the next one."""
        if not self.wanted:
            return False
        done, maps = round_of(stage), self._teacher.residual_maps()
        harm = self._harm_of(maps)
        if harm:
            self._network.load_state_dict(self._before)
            self._stopped = True
            self._data.notice(f"{stage.name} is taken back: {harm}")
        elif done < self._count:
            self._label(maps, done + 1)
        self._before = {name: value.detach().clone() for name, value in self._network.state_dict().items()}
        return bool(harm)

    def fill_bank(self) -> None:
        """Hand what is labelled anomalous to the artificial defects, which paste it onto good parts."""
        if self.labels is None or "transplant" in self._design.ablations:
            return
        found = self.labels.anomalous.flatten(1).any(1)
        together = torch.cat([self._data.weak[found], self.labels.anomalous[found].float()], 1)
        together = around(together, self.labels.pi[found], self._data.crop)
        self._data.set_bank(together[:, :3], together[:, 3:])

    def state(self) -> dict[str, Any]:
        labels = self.labels
        return {
            "stopped": self._stopped,
            "labels": None if labels is None else {"pi": labels.pi, "state": labels.state},
            "before": self._before,
            "standing": self._standing,
        }

    def load_state(self, state: dict[str, Any]) -> None:
        self._stopped, self._before, self._standing = state["stopped"], state["before"], state["standing"]
        self.labels = None if state["labels"] is None else WeakLabels(**state["labels"])

    def _harm_of(self, maps: ResidualMaps) -> str:
        """What got worse since round 0, by parts that training may look at; empty: nothing did."""
        if self._standing is None:
            self._standing = maps.level, maps.separation
        level, separation = self._standing
        if maps.level > _MOST_RISE * level:
            return f"the residual of good parts held out rose from {level:.4f} to {maps.level:.4f}"
        if maps.separation < separation - _MOST_LOSS:
            return (
                "weak parts are told from good ones held out less well: "
                f"image AUROC {maps.separation:.3f} instead of {separation:.3f}"
            )
        return ""

    def _label(self, maps: ResidualMaps, number: int) -> None:
        before = self.labels
        self.labels = self._teacher.label(maps, self._data.run_directory / f"labels-round-{number}.png")
        found = self.labels.anomalous
        if not found.any():
            self._stopped = True
            self._data.notice("no pixel of the weak parts could be labelled anomalous: no self-training")
        elif before is not None and (overlap := self.labels.overlap(before)) > _SAME_LABELS:
            self._stopped = True
            self._data.notice(f"labels stay as they are (mean overlap {overlap:.2f}): no further round")
        else:
            parts, share = int(found.flatten(1).any(1).sum()), float(found.float().mean())
            self._data.notice(
                f"round {number}: {share:.1%} of the pixels of {len(found)} weak parts are labelled anomalous, "
                f"on {parts} of them; see labels-round-{number}.png"
            )


def around(pictures: Tensor, degree: Tensor, side: int | None) -> Tensor:
    """Of each picture (n, c, h, w) the square of `side` pixels around the highest place of its degree (n, 1, h, w).

    side: None leaves them whole.
    """
    if side is None:
        return pictures
    height, width = pictures.shape[-2:]
    squares = []
    for picture, place in zip(pictures, degree.flatten(1).argmax(1).tolist(), strict=True):
        y, x = (
            min(max(middle - side // 2, 0), size - side)
            for middle, size in zip(divmod(place, width), (height, width), strict=True)
        )
        squares.append(picture[:, y : y + side, x : x + side])
    return torch.stack(squares)


def round_of(stage: Stage) -> int:
    """1, 2, … for stages of self-training, 0 for the one before."""
    return int(stage.name.removeprefix("round ")) if stage.name.startswith("round ") else 0
