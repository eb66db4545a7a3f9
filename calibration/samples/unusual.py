"""The most unusual of the good parts, shown to a person before they count: one odd part can blind a line."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from calibration.outliers import outlier_limit
from calibration.threshold import fitted_threshold
from edge.core.datatypes import F32, U8
from edge.core.progress import say
from edge.pages.contact_sheet import INK, RED, Cell, contact_sheet
from edge.pages.pictures import boxed

SHEET = "unusual.png"
# a person is asked about so many at most
MOST_SHOWN = 6
_CELL_PX, _ACROSS = (232, 232), 3


@dataclass(frozen=True)
class UnusualPart:
    """A good part, and its score when it is judged by what the others taught; usual: the median of all scores.

    stands_out: it lies apart from the others, and is not only the last of them.
    """

    path: Path
    score: float
    usual: float
    stands_out: bool

    @property
    def words(self) -> str:
        apart = "stands out from the others" if self.stands_out else "the most unusual of them"
        return f"score {self.score:.3f}, {self.usual:.3f} is usual; {apart}"


# those shown, and the sheet that shows them (None: there is none) → those that are not good after all
ConfirmParts = Callable[[Sequence[UnusualPart], Path | None], Collection[Path]]


def most_unusual(paths: Sequence[Path], scores: F32) -> list[UnusualPart]:
    """Those that stand out, and those that the default threshold rejects, or the last one; the most unusual first.

    scores: held out, one for each path.
    """
    usual, apart = float(np.median(scores)), outlier_limit(scores)
    limit = min(fitted_threshold(scores, None).threshold, apart)
    above = max(1, int(np.count_nonzero(scores.astype(np.float64) > limit)))
    worst = np.argsort(-scores, kind="stable")[: min(above, MOST_SHOWN)]
    return [UnusualPart(paths[at], float(scores[at]), usual, bool(scores[at] > apart)) for at in worst.tolist()]


def unusual_sheet(parts: Sequence[UnusualPart], pictures: Sequence[U8]) -> U8:
    """A contact sheet, uint8 (H, W, 3) BGR; pictures: of each part, uint8 (H, W, 3) BGR, with its heat."""
    cells = [
        Cell(
            boxed(picture, *_CELL_PX), f"{number}. {part.score:.3f}", ((part.path.name, INK), (part.words, INK)),
            RED if part.stands_out else INK,
        )
        for number, (part, picture) in enumerate(zip(parts, pictures, strict=True), 1)
    ]  # fmt: skip
    return contact_sheet(cells, min(_ACROSS, len(cells)))


def name_unusual(parts: Sequence[UnusualPart], sheet: Path | None) -> Collection[Path]:
    """ConfirmParts where nobody is asked: they are named, and count."""
    say("the most unusual of the good parts; one that is not good makes the line blind, so look at them:")
    for part in parts:
        say(f"  {part.path.name}: {part.words}")
    if sheet is not None:
        say(f"  where they are unusual: {sheet}")
    return ()
