"""What the GPU kernels compute, operation by operation, in NumPy float32: equal to the last bit.

reference.py says what is meant, this says how it is rounded; pixel_math.h and the .cu files do the same for each pixel.
Pictures here are (3, h, w) float32 RGB in -1..1. Sums have one order, whatever tile a pixel lies in.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32, U8
from edge.core.manifest import BlendSpec, ResidualSpec, ScoreSpec, SmoothSpec
from edge.kernels import reference
from edge.kernels.cpu import NetworkOutputs, NormalStatistics

U16 = NDArray[np.uint16]
U32 = NDArray[np.uint32]

EVIDENCE_STEPS = np.float32(65534)
NOT_FINITE = 65535

_SSIM_REACH = reference.SSIM_SIDE // 2
_SSIM_AREA_INVERSE = np.float32(1 / 49)
_SSIM_C1, _SSIM_C2 = np.float32(8e-4), np.float32(72e-4)
_GMS_C = np.float32(144) * np.float32(0.0026)
_LOG2_E = np.float32(1.44269504)
_LN2_HIGH, _LN2_LOW = np.float32(0.693359375), np.float32(-2.12194440e-4)
_EXPONENT_LIMIT, _LOGIT_LIMIT = np.float32(87), np.float32(60)
_EXPONENTIAL = tuple(np.float32(1) / np.float32(divisor) for divisor in (5040, 720, 120, 24, 6, 2, 1, 1))
_LOGARITHM = tuple(np.float32(2) / np.float32(divisor) for divisor in (9, 7, 5, 3, 1))
_ONE = np.float32(1)


@dataclass(frozen=True)
class Reduced:
    """values: the smoothed map. finite: False makes the score NaN."""

    values: F32
    score: float
    area_px: int
    peak: float
    finite: bool


def picture_of_bytes(levels: U8) -> F32:
    """RGB planes of bytes → -1..1."""
    return np.asarray(levels.astype(np.float32) * np.float32(2 / 255) - _ONE)


def score(picture: F32, outputs: NetworkOutputs, spec: ScoreSpec, statistics: NormalStatistics, *,
          pixel_threshold: float = 1.0, weight: F32 | None = None) -> Reduced:  # fmt: skip
    """The whole path of one picture; statistics and weight at the map's side."""
    return reduced(evidence(picture, outputs, spec, statistics, weight), spec, pixel_threshold)


# the kernel residual_*, evidence_*


def evidence(
    picture: F32, outputs: NetworkOutputs, spec: ScoreSpec, statistics: NormalStatistics, weight: F32 | None = None
) -> U16:
    """Blended evidence in steps of 1 / 65534, as it lies between two launches."""
    scale = spec.map_scale
    with np.errstate(all="ignore"):
        error = None
        if spec.residual.used:
            assert outputs.recon is not None
            error = residual_error(_block_means(picture, scale), _block_means(outputs.recon, scale), spec.residual)
        shape = picture.shape[1] // scale, picture.shape[2] // scale
        joined = _summed if spec.blend.mode == "sum" else _of_each_kind
        value, trace = joined(error, outputs, spec, statistics, shape)
        if weight is not None:
            value = value * weight
        return _steps(value + trace)


def _of_each_kind(
    error: F32 | None, outputs: NetworkOutputs, spec: ScoreSpec, statistics: NormalStatistics, shape: tuple[int, int]
) -> tuple[F32, F32]:
    """Evidence of each kind, blended; and its trace: zero, or NaN where an output is not finite."""
    kinds: list[F32] = []
    trace = np.zeros(shape, np.float32)
    inverse_tau = np.float32(1 / spec.norm.tau)
    if error is not None:
        kinds.append(_bounded(error, statistics.mean, statistics.inv_std, np.float32(spec.norm.z_max), inverse_tau))
        trace += error * np.float32(0)
    if outputs.seg_logit is not None:
        kinds.append(_at_map(_probability(outputs.seg_logit), shape))
        trace += _at_map(outputs.seg_logit * np.float32(0), shape)
    if outputs.emb_dist is not None:
        evidence = _bounded(
            outputs.emb_dist, np.float32(statistics.emb_mean), np.float32(statistics.emb_inv_std), np.float32(np.inf),
            inverse_tau,
        )  # fmt: skip
        kinds.append(_enlarged(evidence, shape))
        trace += _enlarged_trace(outputs.emb_dist, shape)
    return _blended(kinds, spec.blend), trace


def _summed(
    error: F32 | None, outputs: NetworkOutputs, spec: ScoreSpec, statistics: NormalStatistics, shape: tuple[int, int]
) -> tuple[F32, F32]:
    """Evidence of the weighted sum of standard deviations, and its trace."""
    blend, z_max = spec.blend, np.float32(spec.norm.z_max)
    total, trace = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    if error is not None:
        total += np.float32(blend.alpha) * _standardised(error, statistics.mean, statistics.inv_std, z_max)
        trace += error * np.float32(0)
    if outputs.seg_logit is not None:
        logit = _at_map(outputs.seg_logit, shape)
        total += np.float32(blend.beta) * _standardised(logit, statistics.seg_mean, statistics.seg_inv_std, z_max)
        trace += _at_map(outputs.seg_logit * np.float32(0), shape)
    if outputs.emb_dist is not None:
        z = _standardised(outputs.emb_dist, statistics.emb_mean, statistics.emb_inv_std, z_max)
        total += np.float32(blend.gamma) * _enlarged(z, shape)
        trace += _enlarged_trace(outputs.emb_dist, shape)
    positive = np.maximum(total + np.float32(blend.lift), np.float32(0))
    return np.asarray(_ONE - exponential(-(positive * np.float32(1 / spec.norm.tau)))), trace


def _at_map(plane: F32, shape: tuple[int, int]) -> F32:
    return np.asarray(_block_means(plane[None], plane.shape[0] // shape[0])[0])


def residual_error(a: F32, b: F32, weights: ResidualSpec) -> F32:
    """Weighted error of two pictures of -1..1, (h, w)."""
    red, green, blue = a - b
    error = np.zeros(a.shape[1:], np.float32)
    if weights.w_l1:
        error += np.float32(weights.w_l1 / 6) * ((np.abs(red) + np.abs(green)) + np.abs(blue))
    if weights.w_l2:
        error += np.float32(weights.w_l2 / 12) * ((red * red + green * green) + blue * blue)
    if weights.w_col:
        red_green, yellow_blue = red - green, (red + green) * np.float32(0.5) - blue
        error += np.float32(weights.w_col / 4) * (red_green * red_green + yellow_blue * yellow_blue)
    luma_a, luma_b = _luma(a), _luma(b)
    total, difference = luma_a + luma_b, luma_a - luma_b
    if weights.w_ssim:
        error += np.float32(weights.w_ssim / 2) * _structure(total, difference)
    if weights.w_gms:
        fine = _gradients(total, difference)
        coarse = _doubled(_gradients(_halved(total), _halved(difference)), fine.shape)
        error += np.float32(weights.w_gms / 2) * (fine + coarse)
    return error


def _luma(picture: F32) -> F32:
    red, green, blue = picture
    return np.asarray((red * np.float32(0.299) + green * np.float32(0.587)) + blue * np.float32(0.114))


def _block_means(planes: F32, scale: int) -> F32:
    """(n, h, w) → means of 2 x 2 blocks, columns of a block first; of 4 x 4: the means of such means."""
    if scale == 1:
        return planes
    if scale > 2:
        return _block_means(_block_means(planes, scale // 2), 2)
    left = planes[:, ::2, ::2] + planes[:, 1::2, ::2]
    right = planes[:, ::2, 1::2] + planes[:, 1::2, 1::2]
    return np.asarray((left + right) * np.float32(0.25))


def _structure(total: F32, difference: F32) -> F32:
    mean, bias = (_window_sum(plane) * _SSIM_AREA_INVERSE for plane in (total, difference))
    variance = _window_sum(total * total) * _SSIM_AREA_INVERSE - mean * mean
    noise = _window_sum(difference * difference) * _SSIM_AREA_INVERSE - bias * bias
    light, shift = (mean + np.float32(2)) * (mean + np.float32(2)), bias * bias
    above = ((light - shift) + _SSIM_C1) * ((variance - noise) + _SSIM_C2)
    below = ((light + shift) + _SSIM_C1) * ((variance + noise) + _SSIM_C2)
    return np.asarray(_ONE - above / below)


def _window_sum(plane: F32) -> F32:
    """Rows first, from left to right, then from above to below."""
    side = reference.SSIM_SIDE
    padded = np.pad(plane, _SSIM_REACH, mode="symmetric")
    rows, columns = plane.shape
    line = padded[:, :columns]
    for i in range(1, side):
        line = line + padded[:, i : i + columns]
    total = line[:rows]
    for i in range(1, side):
        total = total + line[i : i + rows]
    return total


def _gradients(total: F32, difference: F32) -> F32:
    (across_s, down_s), (across_d, down_d) = _slopes(total), _slopes(difference)
    across_a, down_a, across_b, down_b = across_s + across_d, down_s + down_d, across_s - across_d, down_s - down_d
    square_a, square_b = across_a * across_a + down_a * down_a, across_b * across_b + down_b * down_b
    gap = np.sqrt(square_a) - np.sqrt(square_b)
    return np.asarray((gap * gap) / ((square_a + square_b) + _GMS_C))


def _slopes(plane: F32) -> tuple[F32, F32]:
    padded = np.pad(plane, 1, mode="symmetric")
    across = (padded[:-2] + padded[1:-1]) + padded[2:]
    down = (padded[:, :-2] + padded[:, 1:-1]) + padded[:, 2:]
    return across[:, 2:] - across[:, :-2], down[2:] - down[:-2]


def _halved(plane: F32) -> F32:
    rows, columns = plane.shape
    even = np.pad(plane, ((0, rows % 2), (0, columns % 2)), mode="edge")
    return np.asarray(_block_means(even[None], 2)[0])


def _doubled(plane: F32, shape: tuple[int, ...]) -> F32:
    padded = np.pad(plane, 1, mode="edge")
    near, far = np.float32(0.75), np.float32(0.25)
    rows = np.empty((2 * plane.shape[0], padded.shape[1]), np.float32)
    rows[0::2] = far * padded[:-2] + near * padded[1:-1]
    rows[1::2] = far * padded[2:] + near * padded[1:-1]
    doubled = np.empty((rows.shape[0], 2 * plane.shape[1]), np.float32)
    doubled[:, 0::2] = far * rows[:, :-2] + near * rows[:, 1:-1]
    doubled[:, 1::2] = far * rows[:, 2:] + near * rows[:, 1:-1]
    return doubled[: shape[0], : shape[1]]


def exponential(x: F32) -> F32:
    """e^x, at most 87, within 2 units in the last place; NaN stays."""
    x = np.asarray(x, np.float32)
    bounded = np.where(x >= -_EXPONENT_LIMIT, x, np.float32(0))
    whole = np.rint(bounded * _LOG2_E)
    r = (bounded - whole * _LN2_HIGH) - whole * _LN2_LOW
    result = _series(_EXPONENTIAL, r) * _power_of_two(whole)
    return np.where(x >= -_EXPONENT_LIMIT, result, np.where(x < -_EXPONENT_LIMIT, np.float32(0), x))


def logarithm(value: F32) -> F32:
    """Natural logarithm of a normal positive number."""
    bits = np.asarray(value, np.float32).view(np.uint32)
    exponent = (bits >> 23).astype(np.int32) - 127
    mantissa = ((bits & np.uint32(0x7FFFFF)) | np.uint32(0x3F800000)).view(np.float32)
    high = mantissa > np.float32(1.41421356)
    mantissa = np.where(high, mantissa * np.float32(0.5), mantissa)
    whole = (exponent + high).astype(np.float32)
    s = (mantissa - _ONE) / (mantissa + _ONE)
    return np.asarray(whole * _LN2_HIGH + (whole * _LN2_LOW + _series(_LOGARITHM, s * s) * s))


def power(value: F32, exponent: float) -> F32:
    """value^exponent of values in 0..1."""
    if exponent in (0, 1):
        return value if exponent else np.ones_like(value)
    positive = value > 0
    safe = np.where(positive, value, _ONE)
    return np.where(positive, exponential(np.float32(exponent) * logarithm(safe)), value)


def _series(coefficients: tuple[np.float32, ...], x: F32) -> F32:
    total: F32 = np.full_like(x, coefficients[0])
    for coefficient in coefficients[1:]:
        total = total * x + coefficient
    return total


def _power_of_two(whole: F32) -> F32:
    bits = (whole.astype(np.int32) + 127).astype(np.uint32) << np.uint32(23)
    return np.asarray(bits.view(np.float32))


def _bounded(
    value: F32, mean: F32 | np.float32, inv_std: F32 | np.float32, z_max: np.float32, inverse_tau: np.float32
) -> F32:
    z = np.clip((value - mean) * inv_std, np.float32(0), z_max)
    return np.asarray(_ONE - exponential(-(z * inverse_tau)))


def _probability(logit: F32) -> F32:
    return np.asarray(_ONE / (_ONE + exponential(-np.clip(logit, -_LOGIT_LIMIT, _LOGIT_LIMIT))))


def _standardised(value: F32, mean: F32 | float, inv_std: F32 | float, z_max: np.float32) -> F32:
    return np.asarray(np.clip((value - np.float32(mean)) * np.float32(inv_std), -z_max, z_max))


def _enlarged(values: F32, shape: tuple[int, int]) -> F32:
    """Bilinear at pixel centres."""
    (top, bottom, part_y), (left, right, part_x) = _both_samples(values, shape)
    part_y = part_y[:, None]
    rows = [values[y][:, left] * (_ONE - part_x) + values[y][:, right] * part_x for y in (top, bottom)]
    return np.asarray(rows[0] * (_ONE - part_y) + rows[1] * part_y)


def _enlarged_trace(distance: F32, shape: tuple[int, int]) -> F32:
    (top, bottom, _), (left, right, _) = _both_samples(distance, shape)
    trace = distance * np.float32(0)
    around = sum((trace[y][:, x] for y in (top, bottom) for x in (left, right)), np.float32(0))
    return np.asarray(around, np.float32)


def _both_samples(values: F32, shape: tuple[int, int]) -> list[tuple[NDArray[np.intp], NDArray[np.intp], F32]]:
    return [_samples(count, size) for count, size in zip(values.shape, shape, strict=True)]


def _samples(count: int, size: int) -> tuple[NDArray[np.intp], NDArray[np.intp], F32]:
    place = (np.arange(size, dtype=np.float32) + np.float32(0.5)) * np.float32(count / size) - np.float32(0.5)
    whole = np.floor(place)
    first = whole.astype(np.intp)
    return np.clip(first, 0, count - 1), np.clip(first + 1, 0, count - 1), place - whole


def _blended(kinds: list[F32], spec: BlendSpec) -> F32:
    if len(kinds) == 1:
        return kinds[0]
    first, second = kinds[0], kinds[1]
    alpha = np.float32(spec.alpha)
    if spec.mode == "product":
        return power(first, spec.alpha) * power(second, spec.beta)
    if spec.mode == "wsum":
        return np.asarray(alpha * first + np.float32(1 - spec.alpha) * second)
    if spec.mode == "gate":
        return np.asarray((second * (_ONE + alpha * first)) * np.float32(1 / (1 + spec.alpha)))
    if spec.mode == "max":
        return np.asarray(np.maximum.reduce(kinds))
    none = (_ONE - first) * (_ONE - second)
    return np.asarray(_ONE - (none * (_ONE - kinds[2]) if len(kinds) > 2 else none))


def _steps(value: F32) -> U16:
    finite = np.isfinite(value)
    steps = np.rint(np.clip(np.where(finite, value, np.float32(0)), 0, 1) * EVIDENCE_STEPS)
    return np.where(finite, steps, NOT_FINITE).astype(np.uint16)


# the kernels reduce_*


def reduced(steps: U16, spec: ScoreSpec, pixel_threshold: float = 1.0) -> Reduced:
    """Smoothed map, and what is counted of it."""
    values = smoothed(steps, spec.smooth)
    finite = not bool((steps == NOT_FINITE).any())
    return Reduced(
        values=values,
        score=reference.image_score(values, spec.image_score),
        area_px=int(np.count_nonzero(values > np.float32(pixel_threshold))),
        peak=float(values.max()),
        finite=finite,
    )


def smoothed(steps: U16, spec: SmoothSpec) -> F32:
    """Box sums of whole numbers, or Gaussian sums from the centre outwards; columns first."""
    if spec.kind == "gaussian" and spec.radius:
        taps = reference.gaussian_taps(spec.radius)[4 * spec.radius :].astype(np.float32)
        values = _gaussian_rows(_gaussian_rows(steps.astype(np.float32).T, taps).T, taps)
        return np.asarray(values * np.float32(1 / 65534))
    radius = spec.radius if spec.kind == "box" else 0
    side = 2 * radius + 1
    padded = np.pad(steps.astype(np.uint32), radius, mode="symmetric")
    sums = np.lib.stride_tricks.sliding_window_view(padded, side, 0).sum(-1, dtype=np.uint32)
    totals = np.lib.stride_tricks.sliding_window_view(sums, side, 1).sum(-1, dtype=np.uint32)
    return np.asarray(totals.astype(np.float32) * np.float32(1 / (65534 * side * side)))


def _gaussian_rows(plane: F32, taps: F32) -> F32:
    radius, columns = len(taps) - 1, plane.shape[1]
    padded = np.pad(plane, ((0, 0), (radius, radius)), mode="symmetric")
    total: F32 = taps[0] * plane
    for i in range(1, radius + 1):
        before, after = padded[:, radius - i : radius - i + columns], padded[:, radius + i : radius + i + columns]
        total = total + taps[i] * (before + after)
    return total
