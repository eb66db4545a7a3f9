"""Weak labels: a head learned from parts known to be defective, judged by cross-validation, used only where it pays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from calibration.memory.designs import Layout
from calibration.memory.head_training import Seen, train_head
from calibration.memory.same_part import folds_of_groups
from edge.core.datatypes import F32, U8
from export.weak_head import WeakHead

# fewer cannot be judged: each would decide alone
MINIMUM_WEAK_PARTS = 6
# of image AUROC: less could not be seen on a line
_SMALLEST_GAIN = 0.005
_DRAWS = 200
# Of a standard deviation of the head, beside one of the memory. Heads that find something gain as much at 0.5 as at 1,
# and those that find nothing cost less.
_WEIGHT = 0.5
# the places whose mean is a picture's score when heads are judged
_TOP_SHARE = 0.01

F64 = NDArray[np.float64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True, eq=False)
class WeakParts:
    """Fields uint8 (n, h, w, 3) BGR of parts known to be defective. parts: name of the part that each shows."""

    fields: U8
    parts: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Shown:
    """What heads learn from: pictures of some parts as they are, one each, then varied copies of them.

    part_of: which part each picture shows. fold_of: of each part. memory: (parts, rows, columns), the standardised
    distance of each part, as it is, by memories that have not seen it.
    """

    seen: Seen
    part_of: NDArray[np.int64]
    fold_of: NDArray[np.int64]
    memory: F32

    def without(self, fold: int | None) -> Seen:
        """All pictures of the parts of other folds."""
        return self.seen if fold is None else self.seen.take(self.fold_of[self.part_of] != fold)

    def logits(self, heads: list[WeakHead]) -> F32:
        """(parts, rows, columns): what the head of its fold says of each part as it is."""
        maps = [
            heads[int(fold)](self.seen.places[part].astype(np.float32), self.seen.distances[part])
            for part, fold in enumerate(self.fold_of)
        ]
        return np.stack(maps).astype(np.float32)


@dataclass(frozen=True, eq=False)
class WeakVerdict:
    """What weak parts were worth: image AUROC of them against good parts, both held out, without and with heads.

    noise: standard error of the difference, by drawing parts anew. head: of all parts; folds: of all but one fold each;
    logits: (n, rows, columns) of good parts by the head of their fold.
    """

    pictures: int
    parts: int
    without: float
    with_head: float
    noise: float
    head: WeakHead
    folds: tuple[WeakHead, ...]
    logits: F32

    @property
    def pays(self) -> bool:
        """Whether the head raises the figure by more than chance does."""
        return self.with_head - self.without > max(_SMALLEST_GAIN, self.noise)

    @property
    def text(self) -> str:
        """In one line: what was found, and what follows."""
        found = (
            f"parts known to be defective: {self.pictures} pictures, {self.parts} different; image AUROC "
            f"{self.without:.3f} by the memory alone, {self.with_head:.3f} with a head that learned from the others, "
            f"difference ± {self.noise:.3f}"
        )
        return f"{found}: the head is used" if self.pays else f"{found}: set aside, it pays too little to be seen"


def judged_heads(
    normals: Shown, weak: Shown, groups: NDArray[np.int64], layout: Layout, seed: int,
    progress: Progress = lambda done, total: None,
) -> WeakVerdict:  # fmt: skip
    """Heads of all parts, and of all but each fold's. groups: part that each weak picture shows, whole in its fold."""
    folds = int(normals.fold_of.max()) + 1
    raw = []
    for number, fold in enumerate([None, *range(folds)]):
        raw.append(train_head(normals.without(fold), weak.without(fold), seed, noise=layout == "free"))
        progress(number + 1, folds + 1)
    # the spread of good parts that a head was not shown; that of the head of all parts is taken to be the same
    unseen = normals.logits(raw[1:])
    heads = [_weighted(head, float(unseen.mean()), float(unseen.std())) for head in raw]
    logits, found = normals.logits(heads[1:]), weak.logits(heads[1:])
    without, gains = _cross_validated(normals, weak, logits, found, groups, seed)
    return WeakVerdict(
        pictures=len(found), parts=int(groups.max()) + 1, without=without, with_head=without + float(gains[0]),
        noise=float(gains[1:].std()), head=heads[0], folds=tuple(heads[1:]), logits=logits,
    )  # fmt: skip


def weak_folds(groups: NDArray[np.int64], folds: int, seed: int) -> NDArray[np.int64]:
    """Fold of each weak picture; pictures of one part stay together."""
    return folds_of_groups(groups, folds, np.random.default_rng(seed))


def _weighted(head: WeakHead, mean: float, spread: float) -> WeakHead:
    inverse = np.float32(_WEIGHT / max(spread, 1e-6))
    return replace(
        head, output=head.output * inverse, output_bias=((head.output_bias - mean) * inverse).astype(np.float32)
    )


def _cross_validated(
    normals: Shown, weak: Shown, normal_logits: F32, weak_logits: F32, groups: NDArray[np.int64], seed: int
) -> tuple[float, F64]:
    """AUROC without heads; and what heads add to it: on the parts as they are, then on parts drawn anew.

    Both parts of a pair are of one fold, so that one head, which saw neither, judges both.
    """
    wins = [_wins(normals.memory, weak.memory), _wins(normals.memory + normal_logits, weak.memory + weak_logits)]
    pairs = normals.fold_of[:, None] == weak.fold_of[None]
    random = np.random.default_rng(seed)
    parts, count = len(normals.fold_of), int(groups.max()) + 1
    good = np.vstack([np.ones(parts), random.multinomial(parts, [1 / parts] * parts, _DRAWS)])
    bad = np.vstack([np.ones(count), random.multinomial(count, [1 / count] * count, _DRAWS)])[:, groups]
    total = np.einsum("dn,nm,dm->d", good, pairs, bad, optimize=True)
    figures = [np.einsum("dn,nm,dm->d", good, won * pairs, bad, optimize=True) / np.maximum(total, 1) for won in wins]
    known = total > 0
    without, with_head = figures[0][known], figures[1][known]
    return float(without[0]), with_head - without


def _wins(normals: F32, weak: F32) -> F64:
    """(n, m): whether the second has the higher score, half where they are equal."""
    good, bad = _scores(normals), _scores(weak)
    won: F64 = (bad[None] > good[:, None]) + 0.5 * (bad[None] == good[:, None])
    return won


def _scores(maps: F32) -> F32:
    flat = np.sort(maps.reshape(len(maps), -1), axis=1)
    return np.asarray(flat[:, -max(1, round(_TOP_SHARE * flat.shape[1])) :].mean(1), np.float32)
