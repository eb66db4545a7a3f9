"""Charts as SVG text, drawn by hand: a page needs no plotting library on the device."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from html import escape

BLUE, ORANGE, GREY, RED = "#0b6e8e", "#c2571a", "#8a949b", "#b3261e"
WIDTH, HEIGHT = 760, 280
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
    """Two axes and what is drawn between them; `text` is the whole SVG. The high end of y is above."""

    x_range: tuple[float, float]
    y_range: tuple[float, float]
    x_title: str
    y_title: str
    log_x: bool = False
    log_y: bool = False
    x_labels: dict[float, str] = field(default_factory=dict)
    _marks: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.x = Scale(*_opened(*self.x_range, self.log_x), _LEFT, WIDTH - _RIGHT, self.log_x)
        self.y = Scale(*_opened(*self.y_range, self.log_y), HEIGHT - _BOTTOM, _TOP, self.log_y)

    def line(self, xs: Sequence[float], ys: Sequence[float], colour: str, width: float = 2.0) -> None:
        points = " ".join(f"{self.x(x):.1f},{self.y(y):.1f}" for x, y in zip(xs, ys, strict=True))
        self._marks.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="{width}"/>')

    def bar(self, low: float, high: float, value: float, colour: str) -> None:
        left, right, top = self.x(low), self.x(high), self.y(value)
        height = HEIGHT - _BOTTOM - top
        if height > 0:
            self._marks.append(
                f'<rect x="{left:.1f}" y="{top:.1f}" width="{max(0.5, right - left - 0.5):.1f}" '
                f'height="{height:.1f}" fill="{colour}" fill-opacity="0.55"/>'
            )

    def span(self, x: float, low: float, high: float, colour: str) -> None:
        """A thin upright line from one value to another."""
        self._marks.append(
            f'<line x1="{self.x(x):.1f}" x2="{self.x(x):.1f}" y1="{self.y(low):.1f}" y2="{self.y(high):.1f}" '
            f'stroke="{colour}" stroke-width="1"/>'
        )

    def dot(self, x: float, y: float, colour: str, words: str) -> None:
        self._marks.append(
            f'<circle cx="{self.x(x):.1f}" cy="{self.y(y):.1f}" r="3.2" fill="{colour}">'
            f"<title>{escape(words)}</title></circle>"
        )

    def upright(self, x: float, words: str, colour: str, row: int = 0) -> None:
        """A dashed line across the chart with words at its top; row: how far down, so that neighbours stay apart."""
        at = self.x(x)
        anchor, shift = ("end", -4) if at > WIDTH * 0.8 else ("start", 4)
        self._marks.append(
            f'<line x1="{at:.1f}" x2="{at:.1f}" y1="{_TOP}" y2="{HEIGHT - _BOTTOM}" stroke="{colour}" '
            f'stroke-dasharray="4 3"/><text x="{at + shift:.1f}" y="{_TOP + 10 + 13 * row}" text-anchor="{anchor}" '
            f'fill="{colour}" class="mark">{escape(words)}</text>'
        )

    @property
    def text(self) -> str:
        bottom = HEIGHT - _BOTTOM
        parts = []
        for tick in self.y.ticks():
            at = self.y(tick)
            parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{at:.1f}" y2="{at:.1f}" class="grid"/>')
            parts.append(f'<text x="{_LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{tick:g}</text>')
        for tick, label in (self.x_labels or {tick: f"{tick:g}" for tick in self.x.ticks()}).items():
            parts.append(f'<text x="{self.x(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{escape(label)}</text>')
        parts.append(f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}" class="axis"/>')
        middle_x, middle_y = (_LEFT + WIDTH - _RIGHT) / 2, (_TOP + bottom) / 2
        parts.append(
            f'<text x="{middle_x}" y="{HEIGHT - 5}" text-anchor="middle">{escape(self.x_title)}</text>'
            f'<text transform="translate(13 {middle_y}) rotate(-90)" text-anchor="middle">{escape(self.y_title)}</text>'
        )
        return f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img">{"".join([*parts, *self._marks])}</svg>'


def _opened(low: float, high: float, log: bool) -> tuple[float, float]:
    """A range that is none, made one."""
    if high > low:
        return low, high
    return (low / 1.5, low * 1.5) if log else (low - 0.5, low + 0.5)
