"""Reconstruction losses; every one takes and returns tensors of pictures scaled to 0..1."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
GMS_C = 0.0026


def _window(size: int, sigma: float, channels: int, like: Tensor) -> Tensor:
    taps = torch.exp(-((torch.arange(size, device=like.device) - size // 2) ** 2) / (2 * sigma**2))
    taps = taps / taps.sum()
    return (taps[:, None] * taps[None, :]).to(like.dtype).expand(channels, 1, size, size)


def ssim_map(first: Tensor, second: Tensor, size: int = 11, sigma: float = 1.5) -> Tensor:
    """Structural similarity, (n, 3, h, w), -1..1; Gaussian window, data range 1 (Wang et al., 2004)."""
    channels = first.shape[1]
    window = _window(size, sigma, channels, first)

    def mean(values: Tensor) -> Tensor:
        padded = functional.pad(values, [size // 2] * 4, mode="reflect")
        return functional.conv2d(padded, window, groups=channels)

    mu_a, mu_b = mean(first), mean(second)
    var_a = mean(first * first) - mu_a * mu_a
    var_b = mean(second * second) - mu_b * mu_b
    covariance = mean(first * second) - mu_a * mu_b
    return ((2 * mu_a * mu_b + SSIM_C1) * (2 * covariance + SSIM_C2)) / (
        (mu_a * mu_a + mu_b * mu_b + SSIM_C1) * (var_a + var_b + SSIM_C2)
    )


def gms_map(first: Tensor, second: Tensor) -> Tensor:
    """Gradient magnitude similarity at one scale, (n, 3, h, w), 0..1; Prewitt filters (Xue et al., 2014)."""
    first, second = functional.pad(first, [1] * 4, mode="reflect"), functional.pad(second, [1] * 4, mode="reflect")

    def magnitude(padded: Tensor) -> Tensor:
        rows = padded[:, :, :-2] + padded[:, :, 1:-1] + padded[:, :, 2:]
        columns = padded[..., :-2] + padded[..., 1:-1] + padded[..., 2:]
        gx = (rows[..., 2:] - rows[..., :-2]) / 3
        gy = (columns[:, :, 2:] - columns[:, :, :-2]) / 3
        return torch.sqrt(gx * gx + gy * gy + 1e-8)

    a, b = magnitude(first), magnitude(second)
    return (2 * a * b + GMS_C) / (a * a + b * b + GMS_C)


def reconstruction_loss(reconstruction: Tensor, target: Tensor) -> Tensor:
    """0.5 L2 + 0.5 (1 - SSIM) + 0.1 (1 - GMS at two scales); pictures in 0..1, result a scalar."""
    reconstruction, target = reconstruction.float(), target.float()
    half_a, half_b = functional.avg_pool2d(reconstruction, 2), functional.avg_pool2d(target, 2)
    gradient = 1 - 0.5 * (gms_map(reconstruction, target).mean() + gms_map(half_a, half_b).mean())
    structure = 1 - ssim_map(reconstruction, target).mean()
    return 0.5 * functional.mse_loss(reconstruction, target) + 0.5 * structure + 0.1 * gradient
