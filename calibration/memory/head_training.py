"""Teach a small head which places of good and defective pictures are the defect, from what each picture is as a whole.

Multiple-instance learning: a picture's logit is the mean of its most suspicious places, so that places of a defective
picture that are good are not called defective. NumPy alone: the head has some thousand weights.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32
from export.weak_head import WeakHead

UNITS = 64
_STEPS, _OF_EACH = 300, 6
_RATE, _RISING_STEPS, _DECAY = 2e-3, 30, 1e-2
_BETAS = (0.9, 0.999)
_DROPPED = 0.2
# The places whose mean logit is the picture's: at first all, so that what only defective pictures have comes forward
# wherever the first, random weights put it; from two thirds of the steps on the few that stand for a small defect.
_TOP_SHARE = 0.01
_BROAD, _NARROW = 1 / 3, 2 / 3
_NORMAL_PLACES_WEIGHT = 0.5
# good places with noise stand for textures that were not photographed: what is merely new is no defect
_NOISE_SPREAD, _NOISY_PLACES = 0.5, 2048
# pictures that the scale of places is taken of
_SCALED_BY = 64


@dataclass(frozen=True, eq=False)
class Seen:
    """What a head sees of pictures: places (n, rows, columns, axes), standardised distances (n, rows, columns)."""

    places: NDArray[np.floating]
    distances: F32

    def __len__(self) -> int:
        return len(self.places)

    def take(self, chosen: NDArray[np.generic]) -> Seen:
        """The pictures at these indexes, or where a mask holds."""
        return Seen(self.places[chosen], self.distances[chosen])

    def inputs(self, chosen: NDArray[np.int64], scale: float) -> F32:
        """(pictures, places, axes + 1) of some pictures; axes are divided by `scale`, distances are as they are."""
        count, axes = len(chosen), self.places.shape[-1]
        places = self.places[chosen].reshape(count, -1, axes).astype(np.float32) / np.float32(scale)
        return np.concatenate([places, self.distances[chosen].reshape(count, -1, 1)], 2)


def train_head(normals: Seen, weak: Seen, seed: int, *, noise: bool) -> WeakHead:
    """noise: whether good places with noise are shown as good, too. The same arguments give the same head.

    Balanced cross-entropy of the pictures' logits, and 0.5 softplus of the logits of all places of good pictures.
    """
    random = np.random.default_rng(seed)
    scale = float(normals.places[:_SCALED_BY].astype(np.float32).std()) or 1.0
    weights = _Weights(normals.places.shape[-1] + 1, random)
    for step in range(_STEPS):
        drawn = [random.choice(len(kind), min(_OF_EACH, len(kind)), replace=False) for kind in (normals, weak)]
        good, bad = (kind.inputs(chosen, scale) for kind, chosen in zip((normals, weak), drawn, strict=True))
        noisy = _noisy(good, random) if noise else good[:0, 0]
        rate = _RATE * min(1, (step + 1) / _RISING_STEPS) * 0.5 * (1 + np.cos(np.pi * step / _STEPS))
        weights.learn(good, bad, noisy, float(rate), _top_share(step / _STEPS), random)
    return weights.head(scale)


def _top_share(done: float) -> float:
    """done: share of the steps, 0..1."""
    narrowed = min(1.0, max(0.0, (done - _BROAD) / (_NARROW - _BROAD)))
    return float(_TOP_SHARE**narrowed)


def _noisy(good: F32, random: np.random.Generator) -> F32:
    flat = good.reshape(-1, good.shape[2])
    chosen = flat[random.choice(len(flat), min(_NOISY_PLACES, len(flat)), replace=False)]
    noise: F32 = np.float32(_NOISE_SPREAD) * random.standard_normal(chosen.shape, np.float32)
    return np.asarray(chosen + noise, np.float32)


class _Weights:
    """The weights of a head while it learns, by AdamW (Loshchilov and Hutter, 2019)."""

    def __init__(self, inputs: int, random: np.random.Generator) -> None:
        self._values = [
            random.standard_normal((UNITS, inputs), np.float32) / np.float32(np.sqrt(inputs)),
            np.zeros(UNITS, np.float32),
            random.standard_normal(UNITS, np.float32) / np.float32(np.sqrt(UNITS)),
            np.zeros(1, np.float32),
        ]
        self._first = [np.zeros_like(value) for value in self._values]
        self._second = [np.zeros_like(value) for value in self._values]
        self._step = 0

    def head(self, scale: float) -> WeakHead:
        """What was learned, for places that are not divided by the scale."""
        hidden, hidden_bias, output, output_bias = self._values
        turned = hidden.copy()
        turned[:, :-1] /= scale
        return WeakHead(turned, hidden_bias.copy(), output.copy(), output_bias.copy())

    def learn(
        self, good: F32, bad: F32, noisy: F32, rate: float, top_share: float, random: np.random.Generator
    ) -> None:
        """One step. good, bad: (pictures, places, inputs). noisy: (places, inputs), good ones, too."""
        hidden, hidden_bias, output, output_bias = self._values
        inputs = np.concatenate([good.reshape(-1, good.shape[2]), bad.reshape(-1, bad.shape[2]), noisy])
        active = np.maximum(inputs @ hidden.T + hidden_bias, 0)
        # what is dropped is dropped of a place; the others are as much larger
        kept = (random.random(active.shape, np.float32) >= _DROPPED) / np.float32(1 - _DROPPED)
        logits = (active * kept) @ output + output_bias
        slope = _slope(logits, len(good), len(bad), good.shape[1], top_share)
        # most places of defective pictures pull at nothing
        pulling = np.flatnonzero(slope)
        inputs, active, kept, slope = inputs[pulling], active[pulling], kept[pulling], slope[pulling]
        inner = slope[:, None] * output * kept * (active > 0)
        gradients = [inner.T @ inputs, inner.sum(0), (active * kept).T @ slope, slope.sum(keepdims=True)]
        self._descend(gradients, rate)

    def _descend(self, gradients: list[F32], rate: float) -> None:
        self._step += 1
        for value, first, second, gradient in zip(self._values, self._first, self._second, gradients, strict=True):
            first += (1 - _BETAS[0]) * (gradient - first)
            second += (1 - _BETAS[1]) * (gradient**2 - second)
            towards = first / (1 - _BETAS[0] ** self._step)
            value *= 1 - rate * _DECAY
            value -= rate * towards / (np.sqrt(second / (1 - _BETAS[1] ** self._step)) + 1e-8)


def _slope(logits: F32, good: int, bad: int, places: int, top_share: float) -> F32:
    """Derivative of the loss by each logit: of `good` pictures, then `bad` ones, then single good places.

    top_share: of the places, whose mean logit is a picture's.
    """
    pictures = logits[: (good + bad) * places].reshape(good + bad, places)
    count = max(1, round(top_share * places))
    top = np.argpartition(pictures, places - count, 1)[:, places - count :]
    defective = np.arange(good + bad) >= good
    # both kinds weigh the same, however many of each there are
    share = np.where(defective, 0.5 / bad, 0.5 / good)
    wrong = (_sigmoid(np.take_along_axis(pictures, top, 1).mean(1)) - defective) * share / count
    slope = np.zeros_like(pictures)
    np.put_along_axis(slope, top, np.repeat(wrong[:, None], count, 1).astype(np.float32), 1)
    slope[:good] += _NORMAL_PLACES_WEIGHT / (good * places) * _sigmoid(pictures[:good])
    single = logits[(good + bad) * places :]
    alone = _NORMAL_PLACES_WEIGHT / max(1, len(single)) * _sigmoid(single)
    return np.concatenate([slope.ravel(), alone]).astype(np.float32)


def _sigmoid(logits: F32) -> F32:
    return np.asarray(1 / (1 + np.exp(-np.clip(logits, -30, 30))), np.float32)
