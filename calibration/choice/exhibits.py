"""Good parts that training held out, and the same with artificial defects of families that training never draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8

# with fewer defects, the best of so many score paths is the luckiest
DEFECTIVE = 192
# of fields of 256 x 256 px; of larger ones there are fewer, so that what networks return stays in memory
_MOST_PIXELS = 384 * 65536


@dataclass(frozen=True)
class Exhibits:
    """Network fields uint8 (n + m, h, w, 3) BGR: `good` good ones, then those with a defect.

    masks: (n + m, h, w), where the defects are. origins: which good one each is, or was. kinds: number of each defect's
    kind in `names`, its family and size; -1 for good ones. weight: (h, w), 1 where maps are scored; None: everywhere.
    """

    fields: U8
    masks: NDArray[np.bool_]
    origins: NDArray[np.int64]
    kinds: NDArray[np.int64]
    names: tuple[str, ...]
    good: int
    weight: F32 | None

    def __len__(self) -> int:
        return len(self.fields)


def draw_exhibits(
    fields: U8,
    weight: F32 | None,
    seed: int,
    defective: int = DEFECTIVE,
    smallest: float | None = None,
    crop: int | None = None,
) -> Exhibits:
    """Good fields, uint8 (n, h, w, 3) BGR, and about `defective` defects on them, as many of each kind; repeatable.

    smallest: share of the field that a defect must change, None: what is usual. crop: side of the squares that
    training saw; defects are drawn as large as they were there.
    """
    from training.defects.defective_pictures import judging_defects

    count = len(fields)
    largest = max(1, _MOST_PIXELS // (fields.shape[1] * fields.shape[2]) - count)
    drawn = judging_defects(fields, weight, min(defective, largest), seed, smallest, crop)
    none = np.zeros((count, *fields.shape[1:3]), np.bool_)
    return Exhibits(
        fields=np.concatenate([fields, drawn.fields]),
        masks=np.concatenate([none, drawn.masks]),
        origins=np.concatenate([np.arange(count), drawn.origins]),
        kinds=np.concatenate([np.full(count, -1), drawn.kinds]),
        names=drawn.names,
        good=count,
        weight=weight,
    )
