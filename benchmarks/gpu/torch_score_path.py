"""The score path in PyTorch, as anybody would write it: what the kernels are compared with, eager and compiled."""

from __future__ import annotations

from typing import Any

from edge.core.manifest import ScoreSpec
from edge.kernels import reference


def torch_maps(torch: Any, spec: ScoreSpec, mean: Any, inv_std: Any) -> Any:
    """A function (pictures, recon) → (maps, scores), for float tensors (n, 3, h, w) in -1..1 on the statistics' device.

    For the residual at full size with box smoothing, which is what the comparison measures.
    """
    f = torch.nn.functional
    weights = spec.residual
    luma_weights = torch.tensor(reference.LUMA, dtype=torch.float32, device=mean.device).view(1, 3, 1, 1)

    def boxed(planes: Any, radius: int) -> Any:
        return f.avg_pool2d(_bordered(planes, radius), 2 * radius + 1, 1)

    def _bordered(planes: Any, radius: int) -> Any:
        rows, columns = (_half_sample(torch, side, radius, planes.device) for side in planes.shape[-2:])
        return planes.index_select(2, rows).index_select(3, columns)

    def gradient(plane: Any) -> Any:
        wide = _bordered(plane, 1)
        across = wide[:, :, :-2] + wide[:, :, 1:-1] + wide[:, :, 2:]
        down = wide[:, :, :, :-2] + wide[:, :, :, 1:-1] + wide[:, :, :, 2:]
        gx = (across[:, :, :, 2:] - across[:, :, :, :-2]) / 3
        gy = (down[:, :, 2:] - down[:, :, :-2]) / 3
        return torch.sqrt(gx * gx + gy * gy)

    def similarity(a: Any, b: Any) -> Any:
        g, h = gradient(a), gradient(b)
        return (2 * g * h + reference.GMS_C) / (g * g + h * h + reference.GMS_C)

    def structure(a: Any, b: Any) -> Any:
        radius = reference.SSIM_SIDE // 2
        mu_a, mu_b = boxed(a, radius), boxed(b, radius)
        var_a, var_b = boxed(a * a, radius) - mu_a * mu_a, boxed(b * b, radius) - mu_b * mu_b
        covariance = boxed(a * b, radius) - mu_a * mu_b
        above = (2 * mu_a * mu_b + reference.SSIM_C1) * (2 * covariance + reference.SSIM_C2)
        return above / ((mu_a**2 + mu_b**2 + reference.SSIM_C1) * (var_a + var_b + reference.SSIM_C2))

    def maps(pictures: Any, recon: Any) -> Any:
        a, b = (pictures.float() + 1) / 2, (recon.float() + 1) / 2
        difference = a - b
        error = weights.w_l1 * difference.abs().mean(1, keepdim=True)
        error = error + weights.w_l2 * (difference**2).mean(1, keepdim=True)
        luma_a, luma_b = (a * luma_weights).sum(1, keepdim=True), (b * luma_weights).sum(1, keepdim=True)
        if weights.w_ssim:
            error = error + weights.w_ssim * (1 - structure(luma_a, luma_b)) / 2
        if weights.w_gms:
            coarse = similarity(f.avg_pool2d(luma_a, 2), f.avg_pool2d(luma_b, 2))
            double = f.interpolate(coarse, scale_factor=2, mode="bilinear", align_corners=False)
            error = error + weights.w_gms * (1 - (similarity(luma_a, luma_b) + double) / 2)
        red_green = difference[:, :1] - difference[:, 1:2]
        yellow_blue = (difference[:, :1] + difference[:, 1:2]) / 2 - difference[:, 2:]
        error = error + weights.w_col * (red_green**2 + yellow_blue**2)
        z = ((error - mean) * inv_std).clamp(0, spec.norm.z_max)
        smoothed = boxed(1 - torch.exp(-z / spec.norm.tau), spec.smooth.radius)
        scores = smoothed.flatten(1).topk(spec.image_score.k, 1).values.mean(1)
        return smoothed[:, 0], scores

    return maps


def _half_sample(torch: Any, side: int, radius: int, device: Any) -> Any:
    """Places of a line with a border of `radius`, half-sample symmetric: c b a | a b c."""
    places = torch.arange(-radius, side + radius, device=device) % (2 * side)
    return torch.where(places < side, places, 2 * side - 1 - places)
