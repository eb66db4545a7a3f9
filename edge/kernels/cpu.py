"""The score path on a CPU: the same formulas as reference.py in float32, with buffers made once.

Bound against the definition: KERNEL_TOLERANCE for the map and the score, checked by tests/kernels/test_cpu.py.
Pictures stay in the network's range -1..1; the factors of two are folded into the constants.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from edge.datatypes import F32, U8, AnomalyMap
from edge.kernels import reference
from edge.manifest import ResidualSpec, ScoreSpec

KERNEL_TOLERANCE = 1e-4

_PREWITT_SMOOTH = np.full(3, 1 / 3, np.float32)
_PREWITT_SLOPE = np.array([-1, 0, 1], np.float32)
_BORDER = cv2.BORDER_REFLECT
# the picture of -1..1 has twice the slope of the picture of 0..1
_GMS_C4 = np.float32(4 * reference.GMS_C)


@dataclass(frozen=True)
class NormalStatistics:
    """What normal parts look like to one engine.

    mean, inv_std: residual error, float32 (size, size), or scalars broadcast to it. emb_mean, emb_inv_std: distances.
    """

    mean: F32
    inv_std: F32
    emb_mean: float = 0.0
    emb_inv_std: float = 1.0


@dataclass(frozen=True)
class NetworkOutputs:
    """What a network returned for one picture; what it lacks is None. recon (3, s, s), the others (h, w), float32."""

    recon: F32 | None = None
    seg_logit: F32 | None = None
    emb_dist: F32 | None = None


class ResidualTerms:
    """Residual error of one square field, with work buffers; not for use by two threads at once."""

    def __init__(self, weights: ResidualSpec, size: int) -> None:
        self.weights = weights
        self._difference = np.empty((3, size, size), np.float32)
        self._work = np.empty((size, size), np.float32)
        self._error = np.empty((size, size), np.float32)
        self._fine = _GradientSimilarity(size)
        self._coarse = _GradientSimilarity((size + 1) // 2)

    def error(self, image: F32, reconstruction: F32) -> F32:
        """Weighted error (size, size) of two (3, size, size) pictures in -1..1; valid until the next call."""
        weights, work, error = self.weights, self._work, self._error
        error.fill(0)
        if weights.w_l1 or weights.w_l2 or weights.w_col:
            red, green, blue = np.subtract(image, reconstruction, out=self._difference)
            if weights.w_col:
                # opponent colours first: they need the signed differences that l1 and l2 overwrite
                np.subtract(red, green, out=work)
                self._add_square(work, weights.w_col / 4)
                np.add(red, green, out=work)
                np.multiply(work, np.float32(0.5), out=work)
                np.subtract(work, blue, out=work)
                self._add_square(work, weights.w_col / 4)
            for channel in (red, green, blue):
                if weights.w_l1:
                    np.abs(channel, out=work)
                    cv2.scaleAdd(work, weights.w_l1 / 6, error, dst=error)
                if weights.w_l2:
                    np.copyto(work, channel)
                    self._add_square(work, weights.w_l2 / 12)
        if weights.w_gms or weights.w_ssim:
            luma_a, luma_b = _luma(image), _luma(reconstruction)
            if weights.w_gms:
                self._add_gradient_term(luma_a, luma_b)
            if weights.w_ssim:
                cv2.scaleAdd(_dissimilarity(luma_a, luma_b), weights.w_ssim, error, dst=error)
        return error

    def _add_square(self, values: F32, factor: float) -> None:
        np.multiply(values, values, out=values)
        cv2.scaleAdd(values, factor, self._error, dst=self._error)

    def _add_gradient_term(self, luma_a: F32, luma_b: F32) -> None:
        fine = self._fine.similarity(luma_a, luma_b)
        coarse = self._coarse.similarity(_halve(luma_a), _halve(luma_b))
        rows, columns = fine.shape
        doubled = cv2.resize(coarse, (2 * coarse.shape[1], 2 * coarse.shape[0]), interpolation=cv2.INTER_LINEAR)
        np.add(fine, doubled[:rows, :columns], out=fine)
        # w * (1 - (fine + coarse) / 2)
        cv2.scaleAdd(fine, -self.weights.w_gms / 2, self._error, dst=self._error)
        np.add(self._error, np.float32(self.weights.w_gms), out=self._error)


class _GradientSimilarity:
    """Gradient magnitude similarity of two luma planes of one size."""

    def __init__(self, size: int) -> None:
        self._across, self._down, self._first, self._second, self._product = (
            np.empty((size, size), np.float32) for _ in range(5)
        )

    def similarity(self, a: F32, b: F32) -> F32:
        """(size, size), 0..1; valid until the next call."""
        first, second, product = self._first, self._second, self._product
        self._magnitude(a, first)
        self._magnitude(b, second)
        np.multiply(first, second, out=product)
        np.multiply(product, np.float32(2), out=product)
        np.add(product, _GMS_C4, out=product)
        np.multiply(first, first, out=first)
        np.multiply(second, second, out=second)
        np.add(first, second, out=first)
        np.add(first, _GMS_C4, out=first)
        np.divide(product, first, out=product)
        return product

    def _magnitude(self, plane: F32, out: F32) -> None:
        cv2.sepFilter2D(plane, -1, _PREWITT_SLOPE, _PREWITT_SMOOTH, dst=self._across, borderType=_BORDER)
        cv2.sepFilter2D(plane, -1, _PREWITT_SMOOTH, _PREWITT_SLOPE, dst=self._down, borderType=_BORDER)
        cv2.magnitude(self._across, self._down, out)


class CpuScorePath:
    """From a network's outputs to an anomaly map, for one bundle; not for use by two threads at once."""

    def __init__(
        self,
        spec: ScoreSpec,
        size: int,
        statistics: NormalStatistics,
        pixel_threshold: float = 1.0,
        weight: F32 | None = None,
    ) -> None:
        self.spec = spec
        self.size = size
        self.pixel_threshold = pixel_threshold
        self._statistics = statistics
        self._weight = weight
        self._terms = ResidualTerms(spec.residual, size) if spec.residual.used else None
        shape = (size, size)
        inv_std = np.broadcast_to(statistics.inv_std, shape)
        # evidence = 1 - exp(mean / (std tau) - error / (std tau))
        self._slope = np.ascontiguousarray(inv_std / np.float32(spec.norm.tau), np.float32)
        self._offset = np.ascontiguousarray(np.broadcast_to(statistics.mean, shape) * self._slope, np.float32)
        self._exponent = np.empty(shape, np.float32)

    def score(self, image: F32, outputs: NetworkOutputs) -> AnomalyMap:
        """Score one picture, (3, size, size) in -1..1, with what the network made of it.

        The score is NaN when the network returned a number that is not finite.
        """
        if self._terms is None:
            return self.score_error(None, outputs)
        assert outputs.recon is not None, "the manifest guarantees `recon` when the residual has weight"
        return self.score_error(self._terms.error(image, outputs.recon), outputs)

    def score_error(self, error: F32 | None, outputs: NetworkOutputs) -> AnomalyMap:
        """Score a residual error (size, size) that is already known; None when the score weighs no residual."""
        residual = None if error is None else self._evidence(error)
        segmentation = None if outputs.seg_logit is None else _sigmoid(outputs.seg_logit)
        embedding = None
        if outputs.emb_dist is not None:
            statistics = self._statistics
            embedding = reference.embedding_evidence(
                outputs.emb_dist, statistics.emb_mean, statistics.emb_inv_std, self.spec.norm.tau, (self.size,) * 2
            )
        blended = reference.blend(residual, segmentation, embedding, self.spec.blend)
        if self._weight is not None:
            blended = blended * self._weight
        values = self._smooth(np.asarray(blended, np.float32))
        peak = float(values.max())
        if not math.isfinite(peak):
            return AnomalyMap(values=values, score=math.nan, area_px=0)
        area = int(np.count_nonzero(values > self.pixel_threshold)) if peak > self.pixel_threshold else 0
        return AnomalyMap(values=values, score=top_k_mean(values, self.spec.image_score.k), area_px=area)

    def _evidence(self, error: F32) -> F32:
        exponent = self._exponent
        np.multiply(error, self._slope, out=exponent)
        np.subtract(self._offset, exponent, out=exponent)
        np.clip(exponent, np.float32(-self.spec.norm.z_max / self.spec.norm.tau), np.float32(0), out=exponent)
        cv2.exp(exponent, dst=exponent)
        np.subtract(np.float32(1), exponent, out=exponent)
        return exponent

    def _smooth(self, values: F32) -> F32:
        """A fresh array: it leaves with the anomaly map."""
        spec = self.spec.smooth
        if spec.kind == "none" or spec.radius == 0:
            return np.array(values)
        if spec.kind == "box":
            side = 2 * spec.radius + 1
            smoothed = cv2.boxFilter(values, -1, (side, side), borderType=_BORDER)
        else:
            taps = reference.gaussian_taps(spec.radius).astype(np.float32)
            smoothed = cv2.sepFilter2D(values, -1, taps, taps, borderType=_BORDER)
        return np.asarray(smoothed, np.float32)


def top_k_mean(values: F32, k: int) -> float:
    """reference.top_k_mean without binning the whole map: only values that can be among the k largest are counted."""
    k = min(k, values.size)
    # a coarse grid tells a level that more than k values exceed, four times over; if it errs, the whole map is binned
    step = 8
    sample = values[::step, ::step].ravel()
    rank = min(sample.size, 4 * k // (step * step) + 2)
    level = np.partition(sample, sample.size - rank)[sample.size - rank]
    # whole bins only, so that the counts of the bins taken are complete
    floor = np.float32(np.floor(level * reference.HISTOGRAM_BINS) / reference.HISTOGRAM_BINS)
    candidates = values[values >= floor]
    if candidates.size < k:
        candidates = values
    return reference.top_k_mean(candidates, k)


def planes_from_field(field: U8, out: F32) -> F32:
    """uint8 (s, s, 3) BGR → float32 (3, s, s) RGB in -1..1, written into `out`."""
    for plane, channel in zip(cv2.split(field), (2, 1, 0), strict=True):
        np.multiply(plane, np.float32(2 / 255), out=out[channel])
    np.subtract(out, np.float32(1), out=out)
    return out


def _luma(picture: F32) -> F32:
    red, green, blue = picture
    luma = cv2.addWeighted(red, reference.LUMA[0], green, reference.LUMA[1], 0)
    return np.asarray(cv2.scaleAdd(blue, reference.LUMA[2], luma, dst=luma), np.float32)


def _halve(plane: F32) -> F32:
    rows, columns = plane.shape
    if rows % 2 or columns % 2:
        plane = np.asarray(cv2.copyMakeBorder(plane, 0, rows % 2, 0, columns % 2, cv2.BORDER_REPLICATE), np.float32)
    half = cv2.resize(plane, (plane.shape[1] // 2, plane.shape[0] // 2), interpolation=cv2.INTER_AREA)
    return np.asarray(half, np.float32)


def _dissimilarity(luma_a: F32, luma_b: F32) -> F32:
    """(1 - SSIM) / 2 of two luma planes in -1..1.

    Variances are taken around the shared local mean-free planes in float32; moving to 0..1 first keeps the constants.
    """
    a, b = luma_a * np.float32(0.5) + np.float32(0.5), luma_b * np.float32(0.5) + np.float32(0.5)

    def box(values: F32) -> F32:
        side = (reference.SSIM_SIDE, reference.SSIM_SIDE)
        return np.asarray(cv2.boxFilter(values, -1, side, borderType=_BORDER), np.float32)

    mu_a, mu_b = box(a), box(b)
    mu_aa, mu_bb, mu_ab = mu_a * mu_a, mu_b * mu_b, mu_a * mu_b
    c1, c2 = np.float32(reference.SSIM_C1), np.float32(reference.SSIM_C2)
    similarity = ((2 * mu_ab + c1) * (2 * (box(a * b) - mu_ab) + c2)) / (
        (mu_aa + mu_bb + c1) * (box(a * a) - mu_aa + box(b * b) - mu_bb + c2)
    )
    return np.asarray((1 - similarity) * np.float32(0.5), np.float32)


def _sigmoid(logit: F32) -> F32:
    exponent = np.asarray(cv2.exp(-np.clip(logit, -60, 60)), np.float32)
    return np.asarray(1 / (1 + exponent), np.float32)
