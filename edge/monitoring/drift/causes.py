"""What can change before a camera, what it does to the measures of this very product, and what to do about it.

The changes are drawn on good parts, since what they do depends on the product: light that saturates a white ground no
longer raises its brightness, but takes its contrast.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import U8
from edge.monitoring.drift.measures import F64, MEASURES, Placement, measure
from edge.preprocessing.regions import FieldOfView

# how strongly each change is drawn; of shifts, shares of the view's side
_LIGHT, _VEIL, _VEIL_LEVEL, _COLOUR, _BLUR_PX, _NOISE_LEVELS = 0.1, 0.15, 200.0, 0.05, 1.5, 4.0
_BRIGHTNESS, _CONTRAST, _FOCUS, _RED, _BLUE, _NOISE, _ACROSS, _DOWN = range(len(MEASURES))
_SEED = 7
# of the deviation that a cause must explain to be named, as a cosine
_NAMED_FROM = 0.6


@dataclass(frozen=True)
class Cause:
    """One kind of change. changes: drawn on a picture; what lies in their span is this cause. None: known exactly, the
    measures named. signed: the opposite change is of the same kind."""

    name: str
    changes: tuple[Callable[[U8], U8], ...] = ()
    measures: tuple[int, ...] = ()
    signed: bool = True


def _scaled(*gains: float) -> Callable[[U8], U8]:
    """Channels (blue, green, red) times their gains."""
    return lambda picture: _bytes(picture * np.array(gains))


def _veiled(picture: U8) -> U8:
    return _bytes((1 - _VEIL) * picture + _VEIL * _VEIL_LEVEL)


def _blurred(picture: U8) -> U8:
    return np.asarray(cv2.GaussianBlur(picture, (0, 0), _BLUR_PX), np.uint8)


def _noisy(picture: U8) -> U8:
    return _bytes(picture + np.random.default_rng(_SEED).normal(0, _NOISE_LEVELS, picture.shape))


def _bytes(values: NDArray[np.floating[Any]]) -> U8:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)


CAUSES = (
    Cause("light down", (_scaled(1 - _LIGHT, 1 - _LIGHT, 1 - _LIGHT),), signed=False),
    Cause("light up", (_scaled(1 + _LIGHT, 1 + _LIGHT, 1 + _LIGHT),), signed=False),
    Cause("contrast", (_veiled,)),
    Cause("focus", (_blurred,)),
    Cause("colour", (_scaled(1, 1, 1 - _COLOUR), _scaled(1 - _COLOUR, 1, 1))),
    Cause("noise", (_noisy,)),
    Cause("position", measures=(_ACROSS, _DOWN)),
)
SCORES, UNKNOWN = "scores", "unknown"
# rows of a reference's effects: one for each drawn change
DRAWN = tuple((cause.name, change) for cause in CAUSES for change in cause.changes)


def effects_on(pictures: Sequence[U8], view: FieldOfView, placement: Placement) -> F64:
    """What each drawn change does to the measures on average, (changes, measures)."""
    pieces = [
        np.ascontiguousarray(picture[view.y : view.y + view.height, view.x : view.x + view.width])
        for picture in pictures
    ]
    whole = FieldOfView(0, 0, view.width, view.height)
    before = np.array([measure(piece, whole).values(placement) for piece in pieces])
    after = np.array([[measure(change(p), whole).values(placement) for p in pieces] for _, change in DRAWN])
    return np.asarray((after - before).mean(1))


def likeliest(deviation: F64, error: F64, scale: F64, effects: F64) -> tuple[str, float]:
    """The cause that explains a deviation best, and how many times as strong as drawn it is.

    deviation: of the measures, in their units; error: its standard error; scale: by which measures
    are compared with each other.
    """
    # what chance explains should not choose between causes
    certain = np.sign(deviation) * np.maximum(np.abs(deviation) - 2 * error, 0) / scale
    length = float(np.linalg.norm(certain))
    if length == 0:
        return UNKNOWN, 0.0
    best, explained, strength = UNKNOWN, _NAMED_FROM, 0.0
    for cause in CAUSES:
        if cause.measures:
            basis = np.zeros((len(cause.measures), len(certain)))
            basis[np.arange(len(cause.measures)), cause.measures] = 1
        else:
            rows = [row for row, (name, _) in enumerate(DRAWN) if name == cause.name]
            basis = effects[rows] / scale
        weights = np.linalg.lstsq(basis.T, certain, rcond=None)[0]
        cosine = float(np.linalg.norm(weights @ basis)) / length
        if cosine > explained and (cause.signed or weights[0] > 0):
            best, explained, strength = cause.name, cosine, float(weights[0])
    return best, strength


@dataclass(frozen=True)
class Change:
    """What changed, for a person. what: a few words with the size. advice: what to do. size: in `unit`."""

    kind: str
    what: str
    advice: str
    size: float
    unit: str


def describe(kind: str, strength: float, deviation: F64, noise_before: float, view: FieldOfView) -> Change:
    """A named cause in words; deviation: of the measures. noise_before: the measure in the reference."""
    percent = 100 * np.expm1(deviation)
    if kind in ("light down", "light up"):
        # the brightness of what is saturated does not show how much light there is
        size = max(abs(float(percent[_BRIGHTNESS])), 100 * _LIGHT * strength)
        return Change(kind, f"{kind} {size:.0f} %", "check the lamp and the exposure, or recalibrate", size, "%")
    if kind == "contrast":
        size = float(percent[_CONTRAST])
        advice = "clean lens and cover glass, look for stray light, or recalibrate"
        return Change(kind, f"contrast {_direction(size)} {abs(size):.0f} %", advice, size, "%")
    if kind == "focus":
        size = float(percent[_FOCUS])
        what = f"focus lost: edges {-size:.0f} % less sharp" if size < 0 else f"edges {size:.0f} % sharper than before"
        return Change(kind, what, "check lens, focus ring and distance to the part, or recalibrate", size, "%")
    if kind == "colour":
        channel = _RED if abs(deviation[_RED]) >= abs(deviation[_BLUE]) else _BLUE
        size, name = float(percent[channel]), MEASURES[channel]
        what = f"colour moved: {name} {_direction(size)} {abs(size):.1f} % against green"
        advice = "check the lamp's colour and switch off automatic white balance, or recalibrate"
        return Change(kind, what, advice, size, "%")
    if kind == "noise":
        before, after = math.exp(noise_before), math.exp(noise_before + float(deviation[_NOISE]))
        what = f"{'more' if after > before else 'less'} noise: {after:.1f} grey levels, {before:.1f} before"
        return Change(kind, what, "check gain, exposure and cable, or recalibrate", after - before, "grey levels")
    if kind == "position":
        right, below = float(deviation[_ACROSS]) * view.width, float(deviation[_DOWN]) * view.height
        size = math.hypot(right, below)
        what = f"picture shifted {size:.0f} px ({_towards(right, below)})"
        advice = "check camera mount and part fixture, or recalibrate; `align` can follow parts"
        return Change(kind, what, advice, size, "px")
    moved = int(np.argmax(np.abs(deviation)))
    what = f"the picture changed: {MEASURES[moved]} {_direction(float(deviation[moved]))}"
    return Change(UNKNOWN, what, "compare a new picture with an old one; if the parts are good, recalibrate", 0.0, "")


def describe_scores(margin: float) -> Change:
    """margin: by which share of the way from normal scores to the threshold they moved."""
    advice = "look at the newest pictures: dirt, wear or another batch of parts; if the parts are good, recalibrate"
    what = f"scores rising: by {100 * margin:.0f} % of the way to the threshold"
    return Change(SCORES, what, advice, 100 * margin, "%")


def _direction(size: float) -> str:
    return "up" if size > 0 else "down"


def _towards(right: float, below: float) -> str:
    parts = []
    if abs(right) >= 0.5:
        parts.append(f"{abs(right):.0f} to the {'right' if right > 0 else 'left'}")
    if abs(below) >= 0.5:
        parts.append(f"{abs(below):.0f} {'down' if below > 0 else 'up'}")
    return ", ".join(parts) or "less than a pixel"
