"""The score path on a CPU: the same formulas as reference.py in float32, with buffers made once.

Bound against the definition: KERNEL_TOLERANCE for the map and the score, checked by tests/edge/kernels/test_cpu.py.
Pictures stay in the network's range -1..1; the factors of two are folded into the constants.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from edge.core.datatypes import F32, U8, AnomalyMap
from edge.core.errors import BundleError
from edge.core.manifest import ImageScoreSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels import reference

KERNEL_TOLERANCE = 1e-4

_PREWITT_SMOOTH = np.full(3, 1 / 3, np.float32)
_PREWITT_SLOPE = np.array([-1, 0, 1], np.float32)
_SSIM_TAPS = np.full(reference.SSIM_SIDE, 1 / reference.SSIM_SIDE, np.float32)
_BORDER = cv2.BORDER_REFLECT
# a picture of -1..1 has twice the slope of the picture of 0..1; the sum of two has eight times its constants
_GMS_C4 = 4 * reference.GMS_C
_SSIM_C1, _SSIM_C2 = 8 * reference.SSIM_C1, 8 * reference.SSIM_C2


@dataclass(frozen=True)
class NormalStatistics:
    """What normal parts look like to one engine.

    mean, inv_std: residual error, float32 (rows, columns) of the map, or scalars broadcast to it.
    emb_mean, emb_inv_std: distances, of all places or (rows, columns) of each. seg_mean, seg_inv_std: logits.
    """

    mean: F32
    inv_std: F32
    emb_mean: F32 | float = 0.0
    emb_inv_std: F32 | float = 1.0
    seg_mean: float = 0.0
    seg_inv_std: float = 1.0


@dataclass(frozen=True)
class NetworkOutputs:
    """What a network returned for one picture; what it lacks is None, all float32.

    recon (3, height, width) of the field; seg_logit (h, w) of the field or of the map; emb_dist (h, w) of any grid.
    """

    recon: F32 | None = None
    seg_logit: F32 | None = None
    emb_dist: F32 | None = None

    def copied(self, *, reconstruction: bool) -> NetworkOutputs:
        """Copies of the planes, which the network's next run overwrites; with or without the large reconstruction."""
        planes = (self.recon if reconstruction else None, self.seg_logit, self.emb_dist)
        return NetworkOutputs(*(None if plane is None else plane.copy() for plane in planes))


class ResidualTerms:
    """Residual error of one field, with work buffers; not for use by two threads at once.

    shape: (height, width) of the network's field. scale: of the map, which has so many times fewer rows and columns.
    """

    def __init__(self, weights: ResidualSpec, shape: tuple[int, int], scale: int = 1) -> None:
        self.weights = weights
        rows, columns = shape[0] // scale, shape[1] // scale
        self._reduced = np.empty((2, 3, rows, columns), np.float32) if scale > 1 else None
        self._error, self._luma_a, self._luma_b = np.empty((3, rows, columns), np.float32)
        # the terms take turns in the same planes: what stays in the second-level cache is what makes them fast
        scratch = np.empty((6, rows, columns), np.float32)
        self._difference = scratch[:3]
        self._squares: F32 = scratch[3]
        self._work: F32 = scratch[4]
        self._gradients = _TwoScaleGradients(scratch[:4], (rows, columns))
        self._structure = _Structure(scratch)
        self._empty = True

    def error(self, image: F32, reconstruction: F32) -> F32:
        """Weighted error (map rows, columns) of two (3, height, width) pictures in -1..1; valid until the next call."""
        weights = self.weights
        if self._reduced is not None:
            image = _block_means(image, self._reduced[0])
            reconstruction = _block_means(reconstruction, self._reduced[1])
        self._empty = True
        if weights.w_l1 or weights.w_l2 or weights.w_col:
            np.subtract(image, reconstruction, out=self._difference)
            if weights.w_col:
                self._add(self._opponent_squares(), weights.w_col / 4)
            if weights.w_l2:
                self._add(self._channel_squares(), weights.w_l2 / 12)
            if weights.w_l1:
                self._add(self._channel_magnitudes(), weights.w_l1 / 6)
        if weights.w_gms or weights.w_ssim:
            luma_a, luma_b = _luma(image, self._luma_a), _luma(reconstruction, self._luma_b)
            if weights.w_gms:
                self._add(self._gradients.coarse(luma_a, luma_b), weights.w_gms / 2)
                self._add(self._gradients.fine(luma_a, luma_b), weights.w_gms / 2)
            if weights.w_ssim:
                self._add(self._structure.dissimilarity(luma_a, luma_b), weights.w_ssim)
        if self._empty:
            self._error.fill(0)
        return self._error

    def _add(self, term: F32, weight: float) -> None:
        if self._empty:
            np.multiply(term, np.float32(weight), out=self._error)
        else:
            cv2.scaleAdd(term, weight, self._error, dst=self._error)
        self._empty = False

    def _opponent_squares(self) -> F32:
        (red, green, blue), squares, work = self._difference, self._squares, self._work
        np.subtract(red, green, out=squares)
        np.multiply(squares, squares, out=squares)
        cv2.addWeighted(red, 0.5, green, 0.5, 0, dst=work)
        np.subtract(work, blue, out=work)
        cv2.accumulateSquare(work, squares)
        return squares

    def _channel_squares(self) -> F32:
        (red, green, blue), squares = self._difference, self._squares
        np.multiply(red, red, out=squares)
        cv2.accumulateSquare(green, squares)
        cv2.accumulateSquare(blue, squares)
        return squares

    def _channel_magnitudes(self) -> F32:
        """Overwrites the difference, so it comes last."""
        np.abs(self._difference, out=self._difference)
        (red, green, blue), total = self._difference, self._squares
        np.add(red, green, out=total)
        np.add(total, blue, out=total)
        return total


class _TwoScaleGradients:
    """1 - gradient magnitude similarity of two luma planes, at full and at half size."""

    def __init__(self, scratch: F32, shape: tuple[int, int]) -> None:
        half = (shape[0] + 1) // 2, (shape[1] + 1) // 2
        self._scratch = scratch
        self._halves = np.empty((6, *half), np.float32)
        self._doubled = np.empty((2 * half[0], 2 * half[1]), np.float32)

    def fine(self, a: F32, b: F32) -> F32:
        """(rows, columns), 0..1; a plane of the scratch."""
        return _gradient_dissimilarity(a, b, self._scratch)

    def coarse(self, a: F32, b: F32) -> F32:
        """(rows, columns), 0..1, from half the size; valid until the next call."""
        half_a, half_b = _halve(a, self._halves[4]), _halve(b, self._halves[5])
        dissimilarity = _gradient_dissimilarity(half_a, half_b, self._halves[:4])
        cv2.resize(dissimilarity, self._doubled.shape[::-1], dst=self._doubled, interpolation=cv2.INTER_LINEAR)
        rows, columns = a.shape
        return self._doubled[:rows, :columns]


def _gradient_dissimilarity(a: F32, b: F32, scratch: F32) -> F32:
    """1 - GMS = (g - h)^2 / (g^2 + h^2 + c), in a plane of the scratch (4, h, w)."""
    across, down, first, second = scratch
    for plane, magnitude in ((a, first), (b, second)):
        cv2.sepFilter2D(plane, -1, _PREWITT_SLOPE, _PREWITT_SMOOTH, dst=across, borderType=_BORDER)
        cv2.sepFilter2D(plane, -1, _PREWITT_SMOOTH, _PREWITT_SLOPE, dst=down, borderType=_BORDER)
        cv2.magnitude(across, down, magnitude)
    total = across
    total.fill(_GMS_C4)
    cv2.accumulateSquare(first, total)
    cv2.accumulateSquare(second, total)
    np.subtract(first, second, out=first)
    np.multiply(first, first, out=first)
    return np.asarray(np.divide(first, total, out=first), np.float32)


class _Structure:
    """(1 - SSIM) / 2 of two luma planes, from the means and variances of their sum and difference.

    That takes four window means instead of five. Planes stay in -1..1, where squares are smallest and round least: only
    the luminance needs 0..1.
    """

    def __init__(self, scratch: F32) -> None:
        self._scratch = scratch

    def dissimilarity(self, a: F32, b: F32) -> F32:
        """(rows, columns), 0..1; a plane of the scratch."""
        work, mean, variance, bias, noise, numerator = self._scratch
        np.add(a, b, out=work)
        _mean_and_square(work, mean, variance)
        np.subtract(a, b, out=work)
        _mean_and_square(work, bias, noise)
        np.multiply(mean, mean, out=work)
        np.subtract(variance, work, out=variance)
        # -1..1 → 0..1, twice: `mean` is of a sum of two planes
        np.add(mean, np.float32(2), out=mean)
        np.multiply(mean, mean, out=mean)
        np.multiply(bias, bias, out=bias)
        np.subtract(noise, bias, out=noise)
        cv2.addWeighted(mean, 1, bias, -1, _SSIM_C1, dst=numerator)
        cv2.addWeighted(variance, 1, noise, -1, _SSIM_C2, dst=work)
        np.multiply(numerator, work, out=numerator)
        cv2.addWeighted(mean, 1, bias, 1, _SSIM_C1, dst=mean)
        cv2.addWeighted(variance, 1, noise, 1, _SSIM_C2, dst=variance)
        np.multiply(mean, variance, out=mean)
        np.divide(numerator, mean, out=numerator)
        return np.asarray(cv2.addWeighted(numerator, -0.5, numerator, 0, 0.5, dst=numerator), np.float32)


def _mean_and_square(plane: F32, mean: F32, square: F32) -> None:
    """Window means of a plane and of its square, which overwrites it."""
    # not boxFilter: its running sum of doubles waits for every addition
    cv2.sepFilter2D(plane, -1, _SSIM_TAPS, _SSIM_TAPS, dst=mean, borderType=_BORDER)
    np.multiply(plane, plane, out=plane)
    cv2.sepFilter2D(plane, -1, _SSIM_TAPS, _SSIM_TAPS, dst=square, borderType=_BORDER)


class CpuScorePath:
    """From a network's outputs to an anomaly map, for one bundle; not for use by two threads at once.

    shape: (height, width) of the network's field, and of the argument `weight`; the attribute `weight` has the map's.
    """

    def __init__(
        self,
        spec: ScoreSpec,
        shape: tuple[int, int],
        statistics: NormalStatistics,
        pixel_threshold: float = 1.0,
        weight: F32 | None = None,
    ) -> None:
        self.spec = spec
        self.pixel_threshold = pixel_threshold
        self._statistics = statistics
        self._terms = ResidualTerms(spec.residual, shape, spec.map_scale) if spec.residual.used else None
        self._shape = shape = (shape[0] // spec.map_scale, shape[1] // spec.map_scale)
        self.weight = None if weight is None else at_map_side(weight, shape)
        inv_std = np.broadcast_to(statistics.inv_std, shape)
        # evidence = 1 - exp(mean / (std tau) - error / (std tau)); a sum is divided by tau once, at its end
        tau = np.float32(1 if spec.blend.mode == "sum" else spec.norm.tau)
        self._slope = np.ascontiguousarray(inv_std / tau, np.float32)
        self._offset = np.ascontiguousarray(np.broadcast_to(statistics.mean, shape) * self._slope, np.float32)
        self._exponent = np.empty(shape, np.float32)

    def score(self, image: F32, outputs: NetworkOutputs) -> AnomalyMap:
        """Score one picture, (3, height, width) in -1..1, with what the network made of it.

        The score is NaN when the network returned a number that is not finite.
        """
        if self._terms is None:
            return self.score_error(None, outputs)
        assert outputs.recon is not None, "the manifest guarantees `recon` when the residual has weight"
        return self.score_error(self._terms.error(image, outputs.recon), outputs)

    def score_error(self, error: F32 | None, outputs: NetworkOutputs) -> AnomalyMap:
        """Score a residual error (map rows, columns) that is already known; None when the score weighs no residual."""
        return map_from_blend(self.blended(error, outputs), self.spec, self.pixel_threshold)

    def blended(self, error: F32 | None, outputs: NetworkOutputs) -> F32:
        """The map before smoothing, 0..1, and 0 outside the region; arguments as for `score_error`."""
        blended = self._summed(error, outputs) if self.spec.blend.mode == "sum" else self._joined(error, outputs)
        if self.weight is not None:
            blended = blended * self.weight
        return np.asarray(blended, np.float32)

    def _joined(self, error: F32 | None, outputs: NetworkOutputs) -> reference.Floats:
        residual = None if error is None else self._evidence(error)
        segmentation = None if outputs.seg_logit is None else at_map_side(_sigmoid(outputs.seg_logit), self._shape)
        embedding = None
        if outputs.emb_dist is not None:
            statistics = self._statistics_for(outputs.emb_dist)
            embedding = reference.embedding_evidence(
                outputs.emb_dist, statistics.emb_mean, statistics.emb_inv_std, self.spec.norm.tau, self._shape
            )
        return reference.blend(residual, segmentation, embedding, self.spec.blend)

    def _summed(self, error: F32 | None, outputs: NetworkOutputs) -> reference.Floats:
        statistics, z_max = self._statistics, self.spec.norm.z_max
        residual = logit = distance = None
        if error is not None:
            residual = np.clip(error * self._slope - self._offset, -z_max, z_max)
        if outputs.seg_logit is not None:
            found = at_map_side(outputs.seg_logit, self._shape)
            logit = reference.z_score(found, statistics.seg_mean, statistics.seg_inv_std, z_max)
        if outputs.emb_dist is not None:
            statistics = self._statistics_for(outputs.emb_dist)
            found = reference.z_score(outputs.emb_dist, statistics.emb_mean, statistics.emb_inv_std, z_max)
            distance = cv2.resize(np.asarray(found, np.float32), self._shape[::-1], interpolation=cv2.INTER_LINEAR)
        return reference.summed(residual, logit, distance, self.spec.blend, self.spec.norm.tau)

    def _statistics_for(self, distances: F32) -> NormalStatistics:
        """The statistics, of the places that the network's distances have; raises BundleError."""
        known = np.shape(self._statistics.emb_mean)
        if known not in ((), distances.shape):
            raise BundleError(
                f"the calibration has statistics of {known} places, the network gives {distances.shape}",
                fix="run `edge-inspect calibrate --bundle BUNDLE --data NORMALS`",
            )
        return self._statistics

    def _evidence(self, error: F32) -> F32:
        exponent = self._exponent
        np.multiply(error, self._slope, out=exponent)
        np.subtract(self._offset, exponent, out=exponent)
        np.clip(exponent, np.float32(-self.spec.norm.z_max / self.spec.norm.tau), np.float32(0), out=exponent)
        cv2.exp(exponent, dst=exponent)
        np.subtract(np.float32(1), exponent, out=exponent)
        return exponent


def at_map_side(plane: F32, shape: tuple[int, int]) -> F32:
    """A plane of the field's shape, averaged down to the map's; itself where both are the same."""
    if plane.shape == shape:
        return plane
    small = np.empty((1, *shape), np.float32)
    _block_means(plane[None], small)
    reduced: F32 = small[0]
    return reduced


def map_from_blend(blended: F32, spec: ScoreSpec, pixel_threshold: float) -> AnomalyMap:
    """Smooth the blended map (map rows, columns) and reduce it to score and area; `blended` stays the caller's.

    The score is NaN when the map holds a number that is not finite.
    """
    values = smoothed(blended, spec.smooth)
    peak = float(values.max())
    if not math.isfinite(peak):
        return AnomalyMap(values=values, score=math.nan, area_px=0)
    score = score_of(values, top_k_mean(values, spec.image_score.k), spec.image_score)
    return AnomalyMap(values, score, area_above(pixel_threshold, values, peak))


def score_of(values: F32, largest: float, spec: ImageScoreSpec) -> float:
    """The image score of a map; largest: the mean of its k largest values."""
    if not spec.minus_median:
        return largest
    middle = (values.size - 1) // 2
    # in this order what is not a number stays so
    return max(largest - mean_in_bins([float(np.partition(values, middle, axis=None)[middle])]), 0.0)


def area_above(pixel_threshold: float, values: F32, peak: float) -> int:
    """Places of a map above the threshold; `peak` is the map's largest value."""
    return int(np.count_nonzero(values > pixel_threshold)) if peak > pixel_threshold else 0


def smoothed(values: F32, spec: SmoothSpec) -> F32:
    """A fresh array: it leaves with the anomaly map."""
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
    """reference.top_k_mean without binning the whole map: only values that can be among the k largest are looked at."""
    k = min(k, values.size)
    # a coarse grid tells a level that more than k values exceed, four times over; if it errs, the whole map is taken
    step = 8
    sample = values[::step, ::step].ravel()
    rank = min(sample.size, 4 * k // (step * step) + 2)
    level = np.partition(sample, sample.size - rank)[sample.size - rank]
    candidates = values[values >= level]
    if candidates.size < k:
        candidates = values.ravel()
    return mean_in_bins(np.partition(candidates, candidates.size - k)[candidates.size - k :].tolist())


def mean_in_bins(values: Sequence[float]) -> float:
    """Mean of values of 0..1, each rounded to the centre of its histogram bin; NaN where one is not finite."""
    # plain numbers: array functions that nothing used since the last frame take longer to start than this
    try:
        total = sum(min(int(value * reference.HISTOGRAM_BINS), reference.HISTOGRAM_BINS - 1) for value in values)
    except (ValueError, OverflowError):
        return math.nan
    return (total + len(values) / 2) / reference.HISTOGRAM_BINS / len(values)


def planes_from_field(field: U8, out: F32, work: Sequence[U8] | None = None) -> F32:
    """uint8 (h, w, 3) BGR → float32 (3, h, w) RGB in -1..1, written into `out`; work: three uint8 (h, w), to reuse."""
    for plane, channel in zip(cv2.split(field, work), (2, 1, 0), strict=True):
        np.copyto(out[channel], plane)
    np.multiply(out, np.float32(2 / 255), out=out)
    np.subtract(out, np.float32(1), out=out)
    return out


def _luma(picture: F32, out: F32) -> F32:
    red, green, blue = picture
    cv2.addWeighted(red, reference.LUMA[0], green, reference.LUMA[1], 0, dst=out)
    cv2.scaleAdd(blue, reference.LUMA[2], out, dst=out)
    return out


def _halve(plane: F32, out: F32) -> F32:
    rows, columns = plane.shape
    if rows % 2 or columns % 2:
        plane = np.asarray(cv2.copyMakeBorder(plane, 0, rows % 2, 0, columns % 2, cv2.BORDER_REPLICATE), np.float32)
    cv2.resize(plane, out.shape[::-1], dst=out, interpolation=cv2.INTER_AREA)
    return out


def _block_means(planes: F32, out: F32) -> F32:
    """Means of whole blocks, plane by plane: (n, h, w) → out, whose sides divide these."""
    for plane, small in zip(planes, out, strict=True):
        cv2.resize(plane, small.shape[::-1], dst=small, interpolation=cv2.INTER_AREA)
    return out


def _sigmoid(logit: F32) -> F32:
    exponent = np.asarray(cv2.exp(-np.clip(logit, -60, 60)), np.float32)
    return np.asarray(1 / (1 + exponent), np.float32)
