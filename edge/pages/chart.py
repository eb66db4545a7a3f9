"""Charts as SVG text, drawn by hand: a page needs no plotting library on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

# classes of templates/chart.css.j2: a colour is another one on a dark page
BLUE, ORANGE, VIOLET, GREEN, PINK, OCHRE, GREY = "blue", "orange", "violet", "green", "pink", "ochre", "grey"
PALE, RED = "pale", "red"
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 16, 14, 40


@dataclass(frozen=True)
class Scale:
    """Data → pixels along one axis. log: of values above zero; low < high."""

    low: float
    high: float
    start_px: float
    end_px: float
    log: bool = False

    def __call__(self, value: float) -> float:
        low, high, at = self.low, self.high, min(max(value, self.low), self.high)
        if self.log:
            low, high, at = math.log10(low), math.log10(high), math.log10(at)
        return self.start_px + (at - low) / (high - low) * (self.end_px - self.start_px)

    def ticks(self) -> list[float]:
        """Round numbers: 1, 2 and 5 times powers of ten on a log scale of some length, else about six even steps."""
        found: list[float] = []
        if self.log:
            first, last = math.floor(math.log10(self.low)), math.ceil(math.log10(self.high))
            steps = (1,) if last - first > 3 else (1, 2, 5)
            found = self._inside([step * 10.0**power for power in range(first, last + 1) for step in steps])
        if len(found) < 2:
            rough = (self.high - self.low) / 6
            power = 10.0 ** math.floor(math.log10(rough))
            step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
            first, last = math.ceil(self.low / step), math.floor(self.high / step)
            found = self._inside([step * index for index in range(first, last + 1)])
        return found

    def _inside(self, ticks: list[float]) -> list[float]:
        return [tick for tick in ticks if self.low <= tick <= self.high * (1 + 1e-9)]


@dataclass
class Chart:
    """Two axes and what is drawn between them; `svg()` is the whole of it. The high end of y is above.

    key: (colour, words) of each series, for the legend below.
    """

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_title: str
    y_title: str
    log_x: bool = False
    log_y: bool = False
    x_labels: dict[float, str] = field(default_factory=dict)
    key: Sequence[tuple[str, str]] = ()
    width: int = 760
    height: int = 280
    _marks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._right, self._bottom = self.width - _RIGHT, self.height - _BOTTOM
        self.x = Scale(*_opened(*self.x_range, self.log_x), _LEFT, self._right, self.log_x)
        self.y = Scale(*_opened(*self.y_range, self.log_y), self._bottom, _TOP, self.log_y)

    def line(self, xs: Sequence[float], ys: Sequence[float], colour: str, width: float = 2.0, dashes: str = "") -> None:
        """dashes: lengths of dash and gap, such as "4 3"; none: a solid line."""
        points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))
        self._marks.append(
            f'<polyline points="{points}" class="{colour}" fill="none" stroke="currentColor" '
            f'stroke-width="{width}" stroke-dasharray="{dashes or "none"}"/>'
        )

    def box(self, xs: tuple[float, float], ys: tuple[float, float], colour: str, opacity: float = 0.55) -> None:
        """A filled rectangle from (low, high) of x and of y."""
        (left, right), (bottom, top) = map(self.x, xs), map(self.y, ys)
        self._marks.append(
            f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(0.5, right - left - 0.5):.1f}" '
            f'height="{bottom - top:.1f}" class="{colour}" fill="currentColor" fill-opacity="{opacity}"/>'
        )

    def dot(self, x: float, y: float, colour: str, words: str, *, hollow: bool = False, radius: float = 3.5) -> None:
        """words: shown under the pointer."""
        fill = "none" if hollow else "currentColor"
        self._marks.append(
            f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="{radius}" class="{colour}" fill="{fill}" '
            f'fill-opacity="0.75" stroke="currentColor"><title>{escape(words)}</title></circle>'
        )

    def label(self, x: float, y: float, words: str, colour: str, down_px: float = 4.0) -> None:
        """Words beside a place, on the side where there is room."""
        at = self.x(x)
        anchor, shift = ("end", -8) if at > self.width * 0.7 else ("start", 8)
        self._marks.append(
            f'<text x="{at + shift:.1f}" y="{self.y(y) + down_px:.1f}" text-anchor="{anchor}" fill="currentColor" '
            f'class="mark {colour}">{escape(words)}</text>'
        )

    def upright(self, x: float, words: str, colour: str, row: int = 0) -> None:
        """A dashed line across the chart with words at its top; row: how far down, so that neighbours stay apart."""
        self.line([x, x], [self.y.low, self.y.high], colour, 1, "4 3")
        self.label(x, self.y.high, words, colour, 10 + 13 * row)

    def __html__(self) -> str:
        """What a template takes as it is: all words inside are escaped."""
        return self.svg()

    def svg(self, y_px: int = 0, *, sized: bool = True) -> str:
        """y_px: how far down it stands in a picture of several charts.

        sized: False where the page's own style sheet says how narrow and how wide it gets.
        """
        right, bottom = self._right, self._bottom
        parts = []
        for tick in self.y.ticks():
            at = self.y(tick)
            parts.append(f'<line x1="{_LEFT}" x2="{right}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>')
            parts.append(f'<text x="{_LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{tick:g}</text>')
        for tick, label in (self.x_labels or {tick: f"{tick:g}" for tick in self.x.ticks()}).items():
            # words at the right edge would be cut off
            at, anchor = (self.x(tick), "middle") if self.x(tick) + 4 * len(label) < self.width else (self.width, "end")
            parts.append(f'<text x="{at:.1f}" y="{bottom + 16}" text-anchor="{anchor}">{escape(label)}</text>')
        middle_x, middle_y = (_LEFT + right) / 2, (_TOP + bottom) / 2
        size = f'style="min-width: {self.width * 0.7:.0f}px; max-width: {self.width}px" ' if sized else ""
        # on a narrow page it gets smaller as long as the words can be read, then it scrolls
        return (
            f'<svg y="{y_px}" viewBox="0 0 {self.width} {self.height}" width="{self.width}" height="{self.height}" '
            f'{size}role="img">{"".join(parts)}'
            f'<line x1="{_LEFT}" x2="{right}" y1="{bottom}" y2="{bottom}" class="axis"/>'
            f'<text x="{middle_x}" y="{self.height - 5}" text-anchor="middle">{escape(self.x_title)}</text>'
            f'<text transform="translate(13 {middle_y}) rotate(-90)" text-anchor="middle">{escape(self.y_title)}</text>'
            f"{''.join(self._marks)}</svg>"
        )


def _opened(low: float, high: float, log: bool) -> tuple[float, float]:
    """A range that is none, made one."""
    if high > low:
        return low, high
    return (low / 1.5, low * 1.5) if log else (low - 0.5, low + 0.5)
