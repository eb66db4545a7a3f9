"""What the tensors of a network do on good parts: the ends of their ranges, and the means of their channels."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray


class Ranges(dict[str, tuple[float, float]]):
    """Tensor → smallest and largest value that INT8 keeps apart; means: tensor → mean of each channel, where known."""

    def __init__(
        self,
        limits: Mapping[str, tuple[float, float]] | None = None,
        means: Mapping[str, NDArray[np.float64]] | None = None,
    ) -> None:
        super().__init__(limits or {})
        self.means = dict(means or {})
