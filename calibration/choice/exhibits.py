"""Good parts that training held out, and the same with artificial defects of families that training never draws."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from calibration.samples.tiles import Fields, Masks, PatchedFields, PatchedMasks, Patches, cut_tiles
from edge.core.datatypes import F32, U8
from edge.preprocessing.tiling import Tiling

# with fewer defects, the best of so many score paths is the luckiest
DEFECTIVE = 192
# of fields of 256 x 256 px; of larger ones there are fewer, so that what networks return stays in memory
_MOST_PIXELS = 384 * 65536
# of large fields in tiles, which are looked at one by one: what is inspected of defective ones, and how few are too few
_MOST_INSPECTED, _FEWEST_IN_TILES, _MOST_IN_TILES = 200_000_000, 24, 64


@dataclass(frozen=True)
class Exhibits:
    """Network fields uint8 (h, w, 3) BGR, n + m of them: `good` good ones, then those with a defect.

    masks: of each (h, w), where the defects are. origins: which good one each is, or was. kinds: number of each
    defect's kind in `names`, its family and size; -1 for good ones. weight: (h, w), 1 where maps are scored; None:
    everywhere.
    """

    fields: Fields
    masks: Masks
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


def draw_exhibits_in_tiles(good: Fields, tiling: Tiling, seed: int, smallest: float | None = None) -> Exhibits:
    """The same for good fields that are inspected in tiles; a defect is as large in a tile as in a field of its size.

    smallest: share of a tile that a defect must change, None: what is usual.
    """
    from training.defects.defective_pictures import judging_defects

    inspected = tiling.field[0] * tiling.field[1]
    count = min(max(_MOST_INSPECTED // inspected, _FEWEST_IN_TILES), _MOST_IN_TILES)
    cut = cut_tiles(good, tiling, max(count, len(good)))
    drawn = judging_defects(cut.fields, None, count, seed, smallest)
    tiles = [cut.tiles[origin] for origin in drawn.origins]
    patches = Patches(drawn.fields, drawn.masks, cut.part_of[drawn.origins], tiles)
    return Exhibits(
        fields=PatchedFields(good, patches, tiling),
        masks=PatchedMasks(len(good), patches, tiling),
        origins=np.concatenate([np.arange(len(good)), patches.origins]),
        kinds=np.concatenate([np.full(len(good), -1), drawn.kinds]),
        names=drawn.names,
        good=len(good),
        weight=None,
    )
