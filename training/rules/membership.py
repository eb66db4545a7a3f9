"""Fuzzy sets: how much a scaled feature of 0..1 belongs to a word such as `low`; shapes, hedges, text form."""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]
ShapeName = Literal["trapezoid", "sigmoid", "gaussian", "auto"]

_PARAMETERS: dict[str, tuple[str, ...]] = {
    "trapezoid": ("a", "b", "c", "d"),
    "sigmoid": ("centre", "width"),
    "gaussian": ("centre", "width"),
}
SET_SYNTAX = "`trapezoid a b c d`, `sigmoid centre width`, `gaussian centre width`, `auto low` or `auto high`"
# a set that no value of 0..1 belongs to by more than this says nothing
_EMPTY_BELOW = 0.01
# the narrowest flank of an `auto` set: fewer weak parts must not make a step
_NARROWEST_AUTO = 0.02


def trapezoid(x: ArrayLike, a: float, b: float, c: float, d: float) -> F64:
    """0 up to a, rising to 1 at b, 1 up to c, falling to 0 at d; a = b or c = d is a step that includes its end."""
    values = np.asarray(x, np.float64)
    rising = (values >= a).astype(np.float64) if a == b else np.clip((values - a) / (b - a), 0, 1)
    falling = (values <= d).astype(np.float64) if c == d else np.clip((d - values) / (d - c), 0, 1)
    return np.asarray(np.minimum(rising, falling))


def sigmoid(x: ArrayLike, centre: float, width: float) -> F64:
    """1 / (1 + exp(-(x - centre) / width)): 0.5 at the centre; a negative width falls instead of rising."""
    # beyond 60 widths nothing changes any more, and exp would overflow
    return np.asarray(1 / (1 + np.exp(-np.clip((np.asarray(x, np.float64) - centre) / width, -60, 60))))


def gaussian(x: ArrayLike, centre: float, width: float) -> F64:
    """exp(-(x - centre)² / (2 width²)): 1 at the centre, 0.61 one width away."""
    return np.asarray(np.exp(-((np.asarray(x, np.float64) - centre) ** 2) / (2 * width**2)))


_SHAPES: dict[str, Callable[..., F64]] = {"trapezoid": trapezoid, "sigmoid": sigmoid, "gaussian": gaussian}

HEDGES: dict[str, float] = {"very": 2.0, "somewhat": 0.5}


def hedged(membership: F64, hedges: tuple[str, ...]) -> F64:
    """`very` squares a membership, `somewhat` takes its root; the hedge nearest to the word works first."""
    for hedge in reversed(hedges):
        membership = membership ** HEDGES[hedge]
    return membership


@dataclass(frozen=True)
class Membership:
    """A fuzzy set with its numbers: call it with scaled values. circular: 0 and 1 are the same place (hue, angle)."""

    shape: str
    parameters: tuple[float, ...]
    circular: bool = False

    def __call__(self, x: ArrayLike) -> F64:
        values = np.asarray(x, np.float64)
        turns = (-1, 0, 1) if self.circular else (0,)
        return np.asarray(
            np.maximum.reduce([_SHAPES[self.shape](values + turn, *self.parameters) for turn in turns]), np.float64
        )


@dataclass(frozen=True)
class Parameter:
    """A place on the scaled axis, or (quantile) the share of good parts' regions that lie below that place."""

    value: float
    quantile: bool = False

    def __str__(self) -> str:
        return f"{'q' if self.quantile else ''}{self.value:g}"


@dataclass(frozen=True)
class FuzzySet:
    """A set as its author wrote it. `auto` has no numbers yet: low or high, fitted to the weak parts."""

    shape: ShapeName
    parameters: tuple[Parameter, ...] = ()
    side: Literal["low", "high"] | None = None

    def __str__(self) -> str:
        words = (self.shape, *map(str, self.parameters), *([self.side] if self.side else []))
        return " ".join(words)

    @property
    def absolute(self) -> bool:
        """Whether its numbers are known without looking at any part."""
        return self.shape != "auto" and not any(parameter.quantile for parameter in self.parameters)

    def bound(
        self,
        circular: bool = False,
        quantile: Callable[[float], float] = lambda share: share,
        strongest: tuple[float, float] | None = None,
    ) -> Membership:
        """The set with numbers. quantile: share → scaled value of good parts' regions. strongest: lower and upper
        quartile of the weak parts' strongest regions, scaled; `auto` needs it.

        `auto low` falls through 0.5 at the upper quartile, `auto high` rises through 0.5 at the lower one: three
        quarters of the strongest regions lie on its side.
        """
        if self.shape == "auto":
            if strongest is None:
                raise ValueError("an `auto` set is bound after the weak parts were seen")
            lower, upper = strongest
            width = max((upper - lower) / 4, _NARROWEST_AUTO)
            parameters = (upper, -width) if self.side == "low" else (lower, width)
            return Membership("sigmoid", parameters, circular)
        values = [quantile(p.value) if p.quantile else p.value for p in self.parameters]
        if self.shape == "trapezoid":
            # quantiles of one product may lie on the other side of a fixed number: the later corner gives way
            values = list(np.maximum.accumulate(values))
        return Membership(self.shape, tuple(float(value) for value in values), circular)

    def is_empty(self, circular: bool) -> bool:
        """Whether no value of 0..1 belongs to it. Sets that still depend on parts are never called empty."""
        return self.absolute and float(self.bound(circular)(np.linspace(0, 1, 1001)).max()) < _EMPTY_BELOW


class SetTextError(ValueError):
    """A fuzzy set that cannot be read; (message, fix)."""

    def __init__(self, message: str, fix: str) -> None:
        super().__init__(message)
        self.message, self.fix = message, fix


def set_from_text(text: str) -> FuzzySet:
    """Read `trapezoid 0 0 q0.05 0.4`, `auto low`, ...; commas and parentheses may be written. Raises SetTextError."""
    words = re.sub(r"[(),]", " ", text).split()
    shape = words[0].lower() if words else ""
    if shape == "auto":
        return _auto(words[1:])
    if shape not in _PARAMETERS:
        raise SetTextError(f"`{words[0] if words else text}` is no shape of a fuzzy set", f"write {SET_SYNTAX}")
    names = _PARAMETERS[shape]
    if len(words) - 1 != len(names):
        raise SetTextError(
            f"`{text}`: {shape} needs {len(names)} numbers, got {len(words) - 1}",
            f"write `{shape} {' '.join(names)}`",
        )
    found = FuzzySet(shape, tuple(_parameter(word) for word in words[1:]))  # type: ignore[arg-type]
    _check(text, found)
    return found


def _auto(words: list[str]) -> FuzzySet:
    side = words[0].lower() if len(words) == 1 else ""
    if side == "low":
        return FuzzySet("auto", side="low")
    if side == "high":
        return FuzzySet("auto", side="high")
    raise SetTextError(f"`auto {' '.join(words)}` does not say a side", "write `auto low` or `auto high`")


def _parameter(word: str) -> Parameter:
    quantile = word[:1] in ("q", "Q")
    try:
        value = float(word[1:] if quantile else word)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise SetTextError(
            f"`{word}` is no number",
            "write a place on the scale of 0 to 1 such as 0.3, or a quantile of good parts such as q0.05",
        )
    if quantile and not 0 <= value <= 1:
        raise SetTextError(f"`{word}` is no quantile", "a quantile is a share from q0 to q1, such as q0.05")
    return Parameter(value, quantile)


def _check(text: str, found: FuzzySet) -> None:
    corners = found.parameters
    if found.shape == "trapezoid":
        for first, second in itertools.pairwise(corners):
            if first.quantile == second.quantile and first.value > second.value:
                raise SetTextError(
                    f"`{text}`: the corner {second} comes after {first} but lies before it",
                    "write the four corners in ascending order: from 0 to 1 between the first two, back to 0 "
                    "between the last two",
                )
        return
    width = corners[1]
    if width.quantile:
        raise SetTextError(f"`{text}`: the width cannot be a quantile", "write the width as a number such as 0.1")
    if width.value == 0 or (found.shape == "gaussian" and width.value < 0):
        allowed = "a number above 0" if found.shape == "gaussian" else "above 0 to rise, below 0 to fall"
        raise SetTextError(f"`{text}`: the width {width} is impossible", f"write {allowed}, such as 0.1")
