"""How well a score tells defects of every kind from good parts, and how far that hangs on the parts at hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.choice.exhibits import Exhibits

F64 = NDArray[np.float64]

_DRAWS = 200


@dataclass(frozen=True)
class Figure:
    """Mean over kinds of defects, each a family in one size, of the image AUROC; kinds: of each.

    draws: the mean with good parts drawn anew, (b,).
    """

    mean: float
    kinds: dict[str, float]
    draws: F64

    @property
    def spread(self) -> float:
        """Standard error of the mean, by drawing the good parts anew."""
        return float(self.draws.std())


class Judge:
    """Figures of many scores on the same exhibits; every one is drawn anew in the same way, so that they compare.

    A good part is drawn together with the defects on it.
    """

    def __init__(self, exhibits: Exhibits, seed: int) -> None:
        self._good = exhibits.good
        counts = np.random.default_rng(seed).multinomial(exhibits.good, [1 / exhibits.good] * exhibits.good, _DRAWS)
        # the first row is the parts as they are
        self._weights = np.vstack([np.ones(exhibits.good), counts]).astype(np.float64)
        self._kinds = {name: np.flatnonzero(exhibits.kinds == number) for number, name in enumerate(exhibits.names)}
        self._origins = exhibits.origins

    def figure(self, scores: F64) -> Figure:
        """scores: of every exhibit, (n + m,); 0.5 where one of them is not finite: such a score says nothing."""
        known = scores if np.isfinite(scores).all() else np.zeros(len(scores))
        good, means = known[: self._good], []
        for members in self._kinds.values():
            if len(members):
                found = known[members]
                wins = (found > good[:, None]) + 0.5 * (found == good[:, None])
                drawn = self._weights[:, self._origins[members]]
                total = self._weights.sum(1) * drawn.sum(1)
                hits = ((self._weights @ wins) * drawn).sum(1)
                # a draw without any defect of a kind says nothing of it
                means.append(np.where(total > 0, hits / np.maximum(total, 1), 0.5))
        every = np.mean(means, 0)
        names = [name for name, members in self._kinds.items() if len(members)]
        return Figure(float(every[0]), {n: float(m[0]) for n, m in zip(names, means, strict=True)}, every[1:])
