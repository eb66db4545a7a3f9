"""Losses and the residual they are measured by: pictures are scaled to 0..1, logits are before the sigmoid."""

from __future__ import annotations

import functools

import torch
from torch import Tensor
from torch.nn import functional

from edge.core.manifest import ResidualSpec

SSIM_C1, SSIM_C2 = 0.01**2, 0.03**2
GMS_C = 0.0026
# share of the picture at which a defective pixel counts as much as a normal one
_EVEN_SHARE = 0.01
# heads on features: share below which defective places count for more, and of a cell from which on it is defective
_RARE, _PART_OF_CELL = 0.05, 0.2


def luma(picture: Tensor) -> Tensor:
    """(n, 1, h, w) from (n, 3, h, w) RGB; ITU-R BT.601."""
    weights = torch.tensor([0.299, 0.587, 0.114], dtype=picture.dtype, device=picture.device)
    return (picture * weights.view(1, 3, 1, 1)).sum(1, keepdim=True)


def ssim_map(first: Tensor, second: Tensor, side: int = 7) -> Tensor:
    """Structural similarity, same shape, -1..1; box window, data range 1 (Wang et al., 2004).

    The window is the deployed residual's (edge/kernels): a Gaussian one took most of a training step on a CPU.
    """
    # apart, because the target's means need no gradient
    mu_a, mean_aa, mean_ab = box_mean(torch.cat([first, first * first, first * second], 1), side).chunk(3, 1)
    mu_b, mean_bb = box_mean(torch.cat([second, second * second], 1), side).chunk(2, 1)
    var_a, var_b, covariance = mean_aa - mu_a * mu_a, mean_bb - mu_b * mu_b, mean_ab - mu_a * mu_b
    return ((2 * mu_a * mu_b + SSIM_C1) * (2 * covariance + SSIM_C2)) / (
        (mu_a * mu_a + mu_b * mu_b + SSIM_C1) * (var_a + var_b + SSIM_C2)
    )


def box_mean(planes: Tensor, side: int) -> Tensor:
    """Mean over windows of side x side px (odd) of float32 (n, c, h, w), same shape; the border is mirrored.

    Two products with band matrices: pooling, which visits every tap of its window, took three times as long.
    """
    height, width = planes.shape[-2:]
    # half precision would lose a variance in the difference of two squares
    with torch.autocast(planes.device.type, enabled=False):
        rows, columns = _window(height, side, planes.device), _window(width, side, planes.device)
        return rows.T @ (planes.float() @ columns)


@functools.lru_cache(maxsize=16)
def _window(length: int, side: int, device: torch.device) -> Tensor:
    """(length, length): column j is 1 / side at the places that the window around j covers."""
    spread = functional.pad(torch.eye(length, device=device)[None], [side // 2] * 2, mode="reflect")
    return functional.avg_pool1d(spread, side, 1)[0]


def gms_map(first: Tensor, second: Tensor) -> Tensor:
    """Gradient magnitude similarity at one scale, same shape, 0..1; Prewitt filters (Xue et al., 2014)."""
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
    """Mean of the error map + 0.1 (1 - GMS of luma at two scales); pictures in 0..1, a scalar."""
    return error_map(reconstruction, target).mean() + 0.1 * gradient_loss(reconstruction, target)


def error_map(reconstruction: Tensor, target: Tensor) -> Tensor:
    """0.5 L1 + 0.5 L2 + 0.5 (1 - SSIM of luma) at each pixel, (n, 1, h, w); pictures in 0..1.

    L1 joins the published form because structure is compared on luma alone, and L2 lets small colour casts pass.
    """
    reconstruction, target = reconstruction.float(), target.float()
    difference = reconstruction - target
    pixels = (difference.abs() + difference.square()).mean(1, keepdim=True)
    return 0.5 * pixels + 0.5 * (1 - ssim_map(luma(reconstruction), luma(target)))


def gradient_loss(reconstruction: Tensor, target: Tensor) -> Tensor:
    """1 - GMS of luma, mean of two scales; a scalar."""
    luma_a, luma_b = luma(reconstruction.float()), luma(target.float())
    half_a, half_b = functional.avg_pool2d(luma_a, 2), functional.avg_pool2d(luma_b, 2)
    return 1 - 0.5 * (gms_map(luma_a, luma_b).mean() + gms_map(half_a, half_b).mean())


def suppression(error: Tensor) -> Tensor:
    """-log(1 - exp(-(error + 0.1))), same shape: how much too well something is reconstructed that should not be.

    error: in units of what normal pixels have. The gradient is at most 9.5, and gone where the error is above 5: the
    term cannot run away (the form of hypersphere classification; Ruff et al., 2021).
    """
    return -torch.log(-torch.expm1(-(error + 0.1)))


def residual_error(first: Tensor, second: Tensor, weights: ResidualSpec) -> Tensor:
    """Weighted residual error (n, 1, h, w) of two pictures (n, 3, h, w): edge/kernels/README.md, section 2.

    Within 3 pixels of the border it differs from the deployed one by how the border is continued.
    """
    first, second = first.float(), second.float()
    difference = first - second
    error = torch.zeros_like(difference[:, :1])
    if weights.w_l1:
        error = error + weights.w_l1 * difference.abs().mean(1, keepdim=True)
    if weights.w_l2:
        error = error + weights.w_l2 * difference.square().mean(1, keepdim=True)
    if weights.w_col:
        red, green, blue = difference.chunk(3, 1)
        opponents = (red - green).square() + ((red + green) / 2 - blue).square()
        error = error + weights.w_col * opponents
    luma_a, luma_b = luma(first), luma(second)
    if weights.w_gms:
        coarse = gms_map(functional.avg_pool2d(luma_a, 2), functional.avg_pool2d(luma_b, 2))
        coarse = functional.interpolate(coarse, scale_factor=2, mode="bilinear")
        error = error + weights.w_gms * (1 - (gms_map(luma_a, luma_b) + coarse) / 2)
    if weights.w_ssim:
        error = error + weights.w_ssim * (1 - ssim_map(luma_a, luma_b)) / 2
    return error


def bernoulli_kl(expected: Tensor, found: Tensor) -> Tensor:
    """KL(expected || found) of two rates in 0..1, elementwise; `found` counts as at least 1e-4 away from 0 and 1."""
    expected, found = expected.float(), found.float()
    # the gradient passes the clamp: a mask that has died out must be able to come back
    found = found + (found.clamp(1e-4, 1 - 1e-4) - found).detach()
    # xlogy: a rate of exactly 0 or 1 costs nothing on the side that cannot happen
    happens = torch.xlogy(expected, expected / found)
    return happens + torch.xlogy(1 - expected, (1 - expected) / (1 - found))


def sparsity_loss(area: Tensor, lowest: float, highest: float) -> Tensor:
    """Bernoulli KL of each area share (n,) to the nearest share in lowest..highest: zero inside; a scalar."""
    return bernoulli_kl(area.detach().clamp(lowest, highest), area).mean()


def focal_loss(logits: Tensor, masks: Tensor, gamma: float = 2.0) -> Tensor:
    """Cross entropy of each pixel times (1 - probability of the truth)^gamma (Lin et al., 2017), same shape."""
    logits = logits.float()
    entropy = functional.binary_cross_entropy_with_logits(logits, masks, reduction="none")
    truth = torch.exp(-entropy)
    return entropy * (1 - truth) ** gamma


def pooled(planes: Tensor, like: Tensor) -> Tensor:
    """Means of (n, c, h, w) over the cells of a coarser plane."""
    rows, columns = like.shape[-2:]
    return functional.adaptive_avg_pool2d(planes, (rows, columns))


def at_grid(masks: Tensor, plane: Tensor) -> Tensor:
    """Masks (n, 1, h, w) on the coarser grid of a plane: 1 where a good part of a cell is defective.

    A line one pixel wide covers a quarter of a cell of 4 x 4.
    """
    return (pooled(masks, plane) > _PART_OF_CELL).float()


def head_loss(logit: Tensor, masks: Tensor) -> Tensor:
    """(4 (1 - p)^2 + 0.1) cross entropy, a scalar; p: probability of the truth. masks: of the logit's shape.

    Defective places count 1 to 10 times, by the inverse of their picture's share of them: a few pixels would be
    forgotten. The tenth of plain cross entropy keeps moving what the focal term is content with.
    """
    logit = logit.float()
    entropy = functional.binary_cross_entropy_with_logits(logit, masks, reduction="none")
    truth = torch.exp(-entropy)
    share = masks.mean((1, 2, 3), keepdim=True).clamp(min=1e-6)
    weight = torch.where(masks > 0, (_RARE / share).clamp(1, 10), 1.0)
    return ((4 * (1 - truth).square() + 0.1) * entropy * weight).mean()


def size_weights(masks: Tensor) -> Tensor:
    """How much each pixel of (n, 1, h, w) counts, same shape: 1, on defects sqrt(1 % / their share), 0.5 to 4.

    A mean over pixels forgets small defects, and a sum over defects would make large ones as hard to learn from.
    """
    share = masks.mean((1, 2, 3), keepdim=True).clamp(min=1e-6)
    return torch.where(masks > 0, (_EVEN_SHARE / share).sqrt().clamp(0.5, 4), 1.0)


def total_variation(plane: Tensor) -> Tensor:
    """Mean absolute difference of neighbours, down plus across, of (n, c, h, w); a scalar."""
    down = (plane[:, :, 1:] - plane[:, :, :-1]).abs().mean()
    return down + (plane[..., 1:] - plane[..., :-1]).abs().mean()
