"""Variation model and eigen-images: what good parts look like, place by place or as a whole."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from edge.core.datatypes import F32, U8

# of 255; below it a difference is noise, however little good parts vary
ABSOLUTE_TOLERANCE = 10.0
# standard deviations
VARIATION_TOLERANCE = 2.0


class VariationModel:
    """Mean and spread of every place; an error of 1 is the tolerance, max(absolute, variation x spread)."""

    name: ClassVar = "variation model"
    in_tolerances: ClassVar = True

    def __init__(self, absolute: float = ABSOLUTE_TOLERANCE, variation: float = VARIATION_TOLERANCE) -> None:
        self._absolute, self._variation = absolute, variation

    def fit(self, fields: U8) -> None:
        total, squares = np.zeros((2, *fields.shape[1:]))
        for field in fields:
            values = field.astype(np.float64)
            total += values
            squares += values * values
        mean = total / len(fields)
        spread = np.sqrt(np.maximum(squares / len(fields) - mean * mean, 0))
        self._mean: F32 = mean.astype(np.float32)
        self._tolerance: F32 = np.maximum(self._absolute, self._variation * spread).astype(np.float32)

    def error(self, field: U8) -> F32:
        """In tolerances, of the worst channel."""
        error: F32 = (np.abs(field.astype(np.float32) - self._mean) / self._tolerance).max(2)
        return error


class EigenImages:
    """The subspace of good parts (principal components); the error is what lies outside it.

    components: how many were kept. Candidates explain EXPLAINED of the variance of four fifths of the good parts; the
    fewest are kept that leave at most SLACK more of the remaining fifth unexplained than the most do. What good parts
    cannot tell apart is thus not spent on explaining a defect.
    """

    name: ClassVar = "eigen-images"
    in_tolerances: ClassVar = False
    EXPLAINED: ClassVar = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
    SLACK: ClassVar = 0.05

    components: int

    def fit(self, fields: U8) -> None:
        vectors = np.asarray(fields.reshape(len(fields), -1) / np.float32(255), np.float32)
        choosing = np.arange(len(vectors)) % 5 == 4
        explained = self._choose(vectors[~choosing], vectors[choosing])
        self._mean, self._axes = _principal_axes(vectors, explained)
        self.components = len(self._axes)

    def _choose(self, learned: F32, held_out: F32) -> float:
        """The share of variance to explain."""
        left = []
        for explained in self.EXPLAINED:
            mean, axes = _principal_axes(learned, explained)
            centred = held_out - mean
            left.append(float((centred**2).sum() - ((centred @ axes.T) ** 2).sum()))
        return next(
            share for share, rest in zip(self.EXPLAINED, left, strict=True) if rest <= (1 + self.SLACK) * left[-1]
        )

    def error(self, field: U8) -> F32:
        """Mean absolute difference of the channels, 0..1, from the nearest picture of the subspace."""
        centred = field.reshape(-1).astype(np.float32) / 255 - self._mean
        outside = centred - self._axes.T @ (self._axes @ centred)
        error: F32 = np.abs(outside).reshape(field.shape).mean(2)
        return error


def _principal_axes(vectors: F32, explained: float) -> tuple[F32, F32]:
    """Mean (d,) and the first axes (k, d) that explain this share of the variance, at least one."""
    mean = np.asarray(vectors.mean(0), np.float32)
    centred = np.asarray(vectors - mean, np.float32)
    # n x n instead of d x d: there are far fewer pictures than pixels
    variances, weights = np.linalg.eigh((centred @ centred.T).astype(np.float64))
    variances, weights = np.maximum(variances[::-1], 0), weights[:, ::-1]
    shares = np.cumsum(variances) / max(float(variances.sum()), 1e-12)
    count = min(int(np.searchsorted(shares, explained)) + 1, len(vectors) - 1)
    axes = weights[:, :count].T.astype(np.float32) @ centred
    lengths = np.maximum(np.linalg.norm(axes, axis=1, keepdims=True), 1e-12)
    return mean, np.asarray(axes / lengths, np.float32)
