"""Where a reference lies best in a grey picture: its shift and its turn, by correlation.

Three looks, each at a picture twice as large as the last: at a quarter of the size everywhere and at every turn, then
only about what was found. The same picture gives the same answer: nothing is remembered of the one before.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8

# from places in the reference to places in a picture, (2, 3)
Transform = NDArray[np.floating[Any]]

# how far about the last look's place the next one looks, in places on each side
_AROUND = 2
# a reference whose shorter side has fewer places is too small for a quarter of its size to say much
_QUARTERED_FROM = 48
# a standard deviation that is rounding, in grey levels
_EVEN = 0.1


class Sought:
    """A reference that is looked for in pictures with this margin (rows, columns) on each side; for several threads."""

    def __init__(self, reference: F32, margin: tuple[int, int]) -> None:
        self.shape = reference.shape
        searched = (reference.shape[0] + 2 * margin[0], reference.shape[1] + 2 * margin[1])
        self.whole = _Look(reference, searched, _AROUND)
        half, searched = halved(reference), _half_of(searched)
        self.half = _Look(half, searched, _AROUND)
        self.quartered = min(self.shape) >= _QUARTERED_FROM
        if self.quartered:
            half, searched = halved(half), _half_of(searched)
        # as far as the margin goes
        self.first = _Look(half, searched, max(searched))


def best_turn(
    searched: F32, sought: Sought, most_deg: float, steps_deg: tuple[float, float]
) -> tuple[Transform, float]:
    """The turn and shift with the best correlation, and that correlation, 1 at best.

    searched: a picture with a margin around the reference's own place. steps_deg: between the turns tried on the
    reduced pictures, and between those tried then.
    """
    coarse_deg, fine_deg = steps_deg
    steps = math.floor(most_deg / coarse_deg)
    half = halved(searched)
    turns = [coarse_deg * step for step in range(-steps, steps + 1)]
    seen = sought.first.best(halved(half) if sought.quartered else half, turns)
    if sought.quartered:
        seen = _climbed(half, sought.half, seen, turns)
    shift, coarse = (2 * seen.shift[0], 2 * seen.shift[1]), seen.turn_deg
    if most_deg == 0:
        (best,) = sought.whole.matches(searched, [0.0], shift)
    else:
        near = sought.whole.matches(searched, [coarse - fine_deg, coarse, coarse + fine_deg], shift)
        turn = coarse + fine_deg * _vertex(*(match.correlation for match in near))
        (best,) = sought.whole.matches(searched, [min(max(turn, -most_deg), most_deg)], near[1].shift)
    return transform(best.turn_deg, 1.0, best.shift, sought.shape), best.correlation


def halved(picture: F32) -> F32:
    size = _half_of(picture.shape)
    return np.asarray(cv2.resize(picture, size[::-1], interpolation=cv2.INTER_AREA), np.float32)


def warped(
    picture: U8 | F32,
    matrix: NDArray[Any],
    shape: tuple[int, ...],
    how: int = cv2.INTER_LINEAR,
    dst: NDArray[Any] | None = None,
) -> NDArray[Any]:
    """A picture of this shape, each place taken from where `matrix` (2, 3) says; beyond the border, the border.

    dst: where it is written to, of the right size and type.
    """
    flags, border = how | cv2.WARP_INVERSE_MAP, cv2.BORDER_REPLICATE
    return np.asarray(cv2.warpAffine(picture, matrix, shape[1::-1], dst=dst, flags=flags, borderMode=border))


def even_border(picture: U8) -> None:
    """Replace the outermost lines of a picture (h, w, channels) by means of what lies along them, in place.

    For `warped`, which lets them go on beyond the border: the noise of single pixels would become streaks there, which
    no good part shows.
    """
    height, width = picture.shape[:2]
    deep, long = _even_px(min(height, width) // 4), _even_px(max(height, width))
    across, down = (min(long, width), 1), (1, min(long, height))
    lines = [
        (picture[:1], cv2.reduce(picture[:deep], 0, cv2.REDUCE_AVG), across),
        (picture[-1:], cv2.reduce(picture[-deep:], 0, cv2.REDUCE_AVG), across),
        (picture[:, :1], cv2.reduce(np.ascontiguousarray(picture[:, :deep]), 1, cv2.REDUCE_AVG), down),
        (picture[:, -1:], cv2.reduce(np.ascontiguousarray(picture[:, -deep:]), 1, cv2.REDUCE_AVG), down),
    ]
    for line, mean, kernel in lines:
        line[:] = cv2.blur(mean, kernel, borderType=cv2.BORDER_REPLICATE).reshape(line.shape)


def _even_px(side: int) -> int:
    """Pixels of a side over which the mean of a border is taken: a 32nd of it, and odd."""
    return 2 * (side // 64) + 1


def correlation(picture: F32, reference: F32) -> float:
    """Of two pictures of one size, -1 to 1; about 0 where one of them is even."""
    one, other = picture - picture.mean(), reference - reference.mean()
    norms = (math.sqrt(max(float(np.einsum("ij,ij", each, each)), each.size * _EVEN**2)) for each in (one, other))
    return float(np.einsum("ij,ij", one, other)) / math.prod(norms)


def middle_of(shape: tuple[int, ...]) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    return np.array([(shape[1] - 1) / 2, (shape[0] - 1) / 2])


def transform(turn_deg: float, scale: float, shift: tuple[float, float], shape: tuple[int, ...]) -> F32:
    """Turned clockwise about the middle, scaled, then shifted."""
    radians = math.radians(turn_deg)
    along, cross = scale * math.cos(radians), scale * math.sin(radians)
    column, row = (shape[1] - 1) / 2, (shape[0] - 1) / 2
    offset = column + shift[0] - along * column + cross * row, row + shift[1] - cross * column - along * row
    return np.array([[along, -cross, offset[0]], [cross, along, offset[1]]], np.float32)


@dataclass(frozen=True)
class _Match:
    """The best place at one turn. shift: of the reference's middle, in places (across, down).

    ahead: the window, as its first (row, column), in which a better place may be; None where there is none.
    """

    turn_deg: float
    correlation: float
    shift: tuple[float, float]
    ahead: tuple[int, int] | None


class _Look:
    """A reference's correlation with those places of a picture that lie about one of them.

    The numbers are those of cv2.matchTemplate with TM_CCOEFF_NORMED. That goes through spectra, and makes the
    reference's anew each time; for few places the sums themselves take less.
    """

    def __init__(self, reference: F32, searched: tuple[int, int], around: int) -> None:
        self._shape = height, width = reference.shape
        # the places that there are, and those of one window
        self._all = searched[0] - height + 1, searched[1] - width + 1
        self._places = rows, columns = min(self._all[0], 2 * around + 1), min(self._all[1], 2 * around + 1)
        self._seen = height + rows - 1, width + columns - 1
        departure = reference - np.float32(reference.mean(dtype=np.float64))
        self._norm = max(float(np.linalg.norm(departure)), _EVEN)
        # the reference at each column, so that one product of matrices gives a row of places
        bank = np.zeros((columns, height, self._seen[1]), np.float32)
        for column in range(columns):
            bank[column, :, column : column + width] = departure
        self._bank = bank.reshape(columns, -1).T

    def best(self, picture: F32, turns_deg: Sequence[float]) -> _Match:
        """The best match of the picture turned back by any of these, in the window in the middle."""
        windows = [self._window((self._all[0] - 1) / 2, (self._all[1] - 1) / 2)] * len(turns_deg)
        correlations = self._correlations(picture, turns_deg, windows)
        place = int(correlations.max(axis=(1, 2)).argmax())
        return self._peak(correlations[place], turns_deg[place], windows[place])

    def matches(self, picture: F32, turns_deg: Sequence[float], shift: tuple[float, float]) -> list[_Match]:
        """The best match of the picture turned back by each turn, about the shift (across, down) expected."""
        windows = []
        for turn in turns_deg:
            across, down = _turned(shift, -turn)
            windows.append(self._window((self._all[0] - 1) / 2 + down, (self._all[1] - 1) / 2 + across))
        found = self._peaks(picture, turns_deg, windows)
        for place, match in enumerate(found):
            # the best is within a window, or at the end of all
            while match.ahead is not None:
                (further,) = self._peaks(picture, [match.turn_deg], [match.ahead])
                if further.correlation <= match.correlation:
                    break
                found[place] = match = further
        return found

    def _window(self, row: float, column: float) -> tuple[int, int]:
        """The first (row, column) of the window with this place in its middle, as far as the places go."""
        wanted = round(row - (self._places[0] - 1) / 2), round(column - (self._places[1] - 1) / 2)
        last = self._all[0] - self._places[0], self._all[1] - self._places[1]
        return min(max(wanted[0], 0), last[0]), min(max(wanted[1], 0), last[1])

    def _peaks(self, picture: F32, turns_deg: Sequence[float], windows: Sequence[tuple[int, int]]) -> list[_Match]:
        correlations = self._correlations(picture, turns_deg, windows)
        return [self._peak(*each) for each in zip(correlations, turns_deg, windows, strict=True)]

    def _correlations(
        self, picture: F32, turns_deg: Sequence[float], windows: Sequence[tuple[int, int]]
    ) -> NDArray[np.float64]:
        """(turns, rows, columns) of the windows, -1 to 1; about 0 where the picture is even."""
        count, (height, width), (rows, columns) = len(windows), self._shape, self._places
        # the turned pictures stand on each other
        seen = np.empty((count, *self._seen), np.float32)
        for turned, turn, (row, column) in zip(seen, turns_deg, windows, strict=True):
            back = transform(turn, 1.0, (0.0, 0.0), picture.shape)
            back[:, 2] += back[:, :2] @ (column, row)
            warped(picture, back, self._seen, dst=turned)
        products = np.empty((count, rows, columns), np.float32)
        for row in range(rows):
            products[:, row] = seen[:, row : row + height].reshape(count, -1) @ self._bank
        total, squares = (self._within_windows(sums, count) for sums in cv2.integral2(seen.reshape(-1, self._seen[1])))
        variation = squares - total * total / (height * width)
        norms = np.sqrt(np.maximum(variation, height * width * _EVEN**2)) * self._norm
        return np.asarray(products / norms, np.float64)

    def _within_windows(self, integral: NDArray[np.float64], count: int) -> NDArray[np.float64]:
        """Sums under the reference, (count, rows, columns), from the integral of pictures that stand on each other."""
        (height, width), (rows, columns) = self._shape, self._places
        above = integral[:-1].reshape(count, self._seen[0], -1)[:, :rows]
        below = integral[1:].reshape(count, self._seen[0], -1)[:, height - 1 :]
        bands = below - above
        return bands[..., width:] - bands[..., :columns]

    def _peak(self, correlations: NDArray[np.float64], turn_deg: float, window: tuple[int, int]) -> _Match:
        row, column = divmod(int(correlations.argmax()), self._places[1])
        place = window[0] + row, window[1] + column
        across = place[1] + _vertex_at(correlations[row], column) - (self._all[1] - 1) / 2
        down = place[0] + _vertex_at(correlations[:, column], row) - (self._all[0] - 1) / 2
        about = self._window(*place)
        ends = row in (0, self._places[0] - 1) or column in (0, self._places[1] - 1)
        # found in the picture turned back: the same step, turned
        shift = _turned((across, down), turn_deg)
        return _Match(turn_deg, float(correlations[row, column]), shift, about if ends and about != window else None)


def _climbed(picture: F32, look: _Look, seen: _Match, turns_deg: Sequence[float]) -> _Match:
    """The best match about one from a smaller picture, at its turn and the next ones, as long as they are better."""
    shift = 2 * seen.shift[0], 2 * seen.shift[1]
    place = turns_deg.index(seen.turn_deg)
    known: dict[int, _Match] = {}
    while new := [near for near in (place - 1, place, place + 1) if 0 <= near < len(turns_deg) and near not in known]:
        known.update(zip(new, look.matches(picture, [turns_deg[near] for near in new], shift), strict=True))
        place = max(known, key=lambda near: known[near].correlation)
        shift = known[place].shift
    return known[place]


def _turned(step: tuple[float, float], turn_deg: float) -> tuple[float, float]:
    """A step (across, down), turned clockwise."""
    radians = math.radians(turn_deg)
    return (
        math.cos(radians) * step[0] - math.sin(radians) * step[1],
        math.sin(radians) * step[0] + math.cos(radians) * step[1],
    )


def _half_of(shape: tuple[int, ...]) -> tuple[int, int]:
    return max(1, shape[0] // 2), max(1, shape[1] // 2)


def _vertex_at(values: NDArray[np.float64], place: int) -> float:
    """Where between its neighbours the peak at this place lies, -0.5..0.5."""
    if not 0 < place < len(values) - 1:
        return 0.0
    return _vertex(*(float(value) for value in values[place - 1 : place + 2]))


def _vertex(before: float, at: float, after: float) -> float:
    curvature = before - 2 * at + after
    return min(max((before - after) / (2 * curvature), -0.5), 0.5) if curvature < 0 else 0.0
