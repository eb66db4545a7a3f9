"""The definition of the score path, in NumPy float64; every faster implementation is measured against this one.

Formulas, borders and rounding: edge/kernels/README.md. Pictures here are (3, h, w) RGB in 0..1.
Borders repeat half-sample symmetric (d c b a | a b c d | d c b a) wherever a neighbourhood leaves the picture.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from edge.core.manifest import BlendSpec, ImageScoreSpec, NormSpec, ResidualSpec, SmoothSpec

F64 = NDArray[np.float64]
# the blend and the embedding also serve the float32 path: they are element-wise and carry no state
Floats = NDArray[np.floating]

SSIM_SIDE = 7
SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
GMS_C = 0.0026
# ITU-R BT.601 luma of RGB
LUMA = np.array([0.299, 0.587, 0.114])
HISTOGRAM_BINS = 1024


def reduced(picture: F64, scale: int) -> F64:
    """Mean of scale x scale blocks of (3, h, w); what is compared when the map is smaller than the network's field."""
    channels, rows, columns = picture.shape
    blocks = picture.reshape(channels, rows // scale, scale, columns // scale, scale)
    result: F64 = blocks.mean((2, 4))
    return result


def residual_error(image: F64, reconstruction: F64, weights: ResidualSpec) -> F64:
    """Weighted error of every pixel, (h, w), >= 0. Terms with weight zero are not computed."""
    error = np.zeros(image.shape[1:])
    difference = image - reconstruction
    luma_a, luma_b = np.tensordot(LUMA, image, 1), np.tensordot(LUMA, reconstruction, 1)
    if weights.w_l1:
        error += weights.w_l1 * np.abs(difference).mean(0)
    if weights.w_l2:
        error += weights.w_l2 * (difference**2).mean(0)
    if weights.w_ssim:
        error += weights.w_ssim * (1 - _ssim(luma_a, luma_b)) / 2
    if weights.w_gms:
        fine = _gradient_similarity(luma_a, luma_b)
        coarse = _gradient_similarity(_halve(luma_a), _halve(luma_b))
        error += weights.w_gms * (1 - (fine + _double(coarse, fine.shape)) / 2)
    if weights.w_col:
        red_green = difference[0] - difference[1]
        yellow_blue = (difference[0] + difference[1]) / 2 - difference[2]
        error += weights.w_col * (red_green**2 + yellow_blue**2)
    return error


def _ssim(a: F64, b: F64) -> F64:
    """Structural similarity of two luma planes in a 7x7 box window, -1..1 (Wang et al., 2004)."""
    mu_a, mu_b = _box(a, SSIM_SIDE), _box(b, SSIM_SIDE)
    var_a = _box(a * a, SSIM_SIDE) - mu_a * mu_a
    var_b = _box(b * b, SSIM_SIDE) - mu_b * mu_b
    covariance = _box(a * b, SSIM_SIDE) - mu_a * mu_b
    return ((2 * mu_a * mu_b + SSIM_C1) * (2 * covariance + SSIM_C2)) / (
        (mu_a * mu_a + mu_b * mu_b + SSIM_C1) * (var_a + var_b + SSIM_C2)
    )


def _gradient_similarity(a: F64, b: F64) -> F64:
    """Gradient magnitude similarity of two luma planes, 0..1; Prewitt filters over 3 (Xue et al., 2014)."""
    magnitude_a, magnitude_b = _gradient(a), _gradient(b)
    return (2 * magnitude_a * magnitude_b + GMS_C) / (magnitude_a**2 + magnitude_b**2 + GMS_C)


def _gradient(plane: F64) -> F64:
    padded = np.pad(plane, 1, mode="symmetric")
    across = padded[:-2] + padded[1:-1] + padded[2:]
    down = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    gx = (across[:, 2:] - across[:, :-2]) / 3
    gy = (down[2:] - down[:-2]) / 3
    return np.sqrt(gx * gx + gy * gy)


def _halve(plane: F64) -> F64:
    """Mean of 2x2 blocks; an odd last row or column is repeated first."""
    rows, columns = plane.shape
    even = np.pad(plane, ((0, rows % 2), (0, columns % 2)), mode="edge")
    return (even[::2, ::2] + even[1::2, ::2] + even[::2, 1::2] + even[1::2, 1::2]) / 4


def _double(plane: F64, shape: tuple[int, ...]) -> F64:
    """Bilinear up-sampling by two at pixel centres, cropped to `shape`."""
    padded = np.pad(plane, 1, mode="edge")
    rows = np.empty((2 * plane.shape[0], padded.shape[1]))
    rows[0::2] = 0.25 * padded[:-2] + 0.75 * padded[1:-1]
    rows[1::2] = 0.75 * padded[1:-1] + 0.25 * padded[2:]
    doubled = np.empty((rows.shape[0], 2 * plane.shape[1]))
    doubled[:, 0::2] = 0.25 * rows[:, :-2] + 0.75 * rows[:, 1:-1]
    doubled[:, 1::2] = 0.75 * rows[:, 1:-1] + 0.25 * rows[:, 2:]
    return doubled[: shape[0], : shape[1]]


def _box(plane: F64, side: int) -> F64:
    """Mean over a side x side window."""
    taps = np.full(side, 1 / side)
    return _separable(plane, taps)


def _separable(plane: F64, taps: F64) -> F64:
    radius = len(taps) // 2
    for axis in (0, 1):
        pad = [(radius, radius) if a == axis else (0, 0) for a in (0, 1)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(plane, pad, mode="symmetric"), len(taps), axis)
        plane = windows @ taps
    return plane


def evidence(error: F64, mean: F64, inv_std: F64, norm: NormSpec) -> F64:
    """Bounded residual evidence, 0..1: how far each error lies above the normal parts' error at that place."""
    z = np.clip((error - mean) * inv_std, 0, norm.z_max)
    result: F64 = 1 - np.exp(-z / norm.tau)
    return result


def probability(logit: F64) -> F64:
    """Sigmoid of the segmentation logit, (h, w)."""
    result: F64 = 1 / (1 + np.exp(-np.clip(logit, -60, 60)))
    return result


def embedding_evidence(
    distance: Floats, mean: Floats | float, inv_std: Floats | float, tau: float, shape: tuple[int, int]
) -> Floats:
    """Bounded evidence of an embedding distance, up-sampled bilinearly from (hd, wd) to `shape`."""
    z = np.maximum(0, (distance - mean) * inv_std)
    small = 1 - np.exp(-z / tau)
    return np.asarray(cv2.resize(small, shape[::-1], interpolation=cv2.INTER_LINEAR))


def blend(residual: Floats | None, segmentation: Floats | None, embedding: Floats | None, spec: BlendSpec) -> Floats:
    """One map of 0..1 from whichever evidence there is, in any mode but `sum`; raises ValueError when there is none."""
    present = [values for values in (residual, segmentation, embedding) if values is not None]
    if not present:
        raise ValueError("no evidence to blend: the manifest gives no term any weight")
    if len(present) == 1:
        return present[0]
    if spec.mode == "max":
        return np.asarray(np.maximum.reduce(present))
    if spec.mode == "noisy_or":
        return np.asarray(1 - np.multiply.reduce([1 - values for values in present]))
    first, second = present[0], present[1]
    if spec.mode == "product":
        return first**spec.alpha * second**spec.beta
    if spec.mode == "wsum":
        return spec.alpha * first + (1 - spec.alpha) * second
    return second * (1 + spec.alpha * first) / (1 + spec.alpha)


def z_score(values: Floats, mean: Floats | float, inv_std: Floats | float, z_max: float) -> Floats:
    """How many deviations each value lies off the normal parts', -z_max..z_max."""
    return np.asarray(np.clip((values - mean) * inv_std, -z_max, z_max))


def summed(
    residual: Floats | None, logit: Floats | None, distance: Floats | None, blend: BlendSpec, tau: float
) -> Floats:
    """One map of 0..1 from whichever z-scores there are (blend mode `sum`); raises ValueError when there is none."""
    weighted = ((blend.alpha, residual), (blend.beta, logit), (blend.gamma, distance))
    terms = [weight * values for weight, values in weighted if values is not None]
    if not terms:
        raise ValueError("no evidence to sum: the manifest gives no term any weight")
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return np.asarray(1 - np.exp(-np.maximum(0, total + blend.lift) / tau))


def smooth(values: F64, spec: SmoothSpec) -> F64:
    """Box or Gaussian mean (truncated at 4 sigma) of the blended map."""
    if spec.kind == "none" or spec.radius == 0:
        return values
    if spec.kind == "box":
        return _box(values, 2 * spec.radius + 1)
    return _separable(values, gaussian_taps(spec.radius))


def gaussian_taps(sigma: int) -> F64:
    """Normalised Gaussian weights out to 4 sigma."""
    offsets = np.arange(-4 * sigma, 4 * sigma + 1)
    taps = np.exp(-(offsets**2) / (2 * sigma**2))
    result: F64 = taps / taps.sum()
    return result


def image_score(values: NDArray[np.floating], spec: ImageScoreSpec) -> float:
    """The score of a map of 0..1."""
    largest = top_k_mean(values, spec.k)
    return max(largest - median(values), 0.0) if spec.minus_median else largest


def median(values: NDArray[np.floating]) -> float:
    """The lower median of values of 0..1, rounded to the centre of its histogram bin."""
    middle = float(np.sort(values, axis=None)[(values.size - 1) // 2])
    return (min(int(middle * HISTOGRAM_BINS), HISTOGRAM_BINS - 1) + 0.5) / HISTOGRAM_BINS


def top_k_mean(values: NDArray[np.floating], k: int) -> float:
    """Mean of the k largest values of 0..1, each rounded to the centre of its histogram bin.

    Counts are integers, so the result does not depend on the order of summation: a parallel histogram gives the same.
    """
    k = min(k, values.size)
    bins = np.minimum((values * HISTOGRAM_BINS).astype(np.int64), HISTOGRAM_BINS - 1)
    counts = np.bincount(bins.ravel(), minlength=HISTOGRAM_BINS)
    return top_k_mean_of_counts(counts, k)


def top_k_mean_of_counts(counts: NDArray[np.integer], k: int) -> float:
    """Walk the bins from the top until k values are taken."""
    taken_before = np.minimum(np.concatenate([[0], np.cumsum(counts[::-1])]), k)
    taken = np.diff(taken_before)
    centres = (np.arange(len(counts))[::-1] + 0.5) / len(counts)
    return float(taken @ centres) / k
