"""Artificial defects: a normal batch in, a defective batch and its exact masks out, on the training device."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

Source = Callable[["DefectGenerator", Tensor, int], Tensor]


@dataclass(frozen=True)
class DefectPreset:
    """How often each kind of defect is drawn; weights need not sum to one.

    smallest: share of the picture that a defect must visibly change.
    """

    clean_share: float
    mask_weights: dict[str, float]
    source_weights: dict[str, float]
    max_blend: float
    smallest: float = 3e-4


# the shares follow the published recipes where they exist; `reconstruction` adds erasing, because a missing
# part is the commonest real defect of an assembled object and no texture paste looks like it
PRESETS = {
    "reconstruction": DefectPreset(
        clean_share=0.2,
        mask_weights={"perlin": 0.3, "rectangle": 0.15, "scar": 0.15, "ellipse": 0.2, "cut": 0.2},
        source_weights={
            "elsewhere": 0.25,
            "texture": 0.15,
            "flat": 0.15,
            "other": 0.1,
            "recoloured": 0.15,
            "border": 0.2,
        },
        max_blend=0.6,
    ),
}


# by how much (of 0..1) a pixel must change to be seen, and how often to try for a defect large enough
_VISIBLE, _ATTEMPTS = 0.05, 16


class DefectGenerator:
    """Draw defects of one preset.

    Images are (n, 3, h, w) float32 in 0..1; masks are (n, 1, h, w) float32, 1 where the picture was altered.
    All randomness comes from `seed`, so a run can be repeated exactly. Recipe: ARCHITECTURE.md, artificial defects.
    """

    def __init__(self, preset: DefectPreset, seed: int, device: str = "cpu") -> None:
        self.preset = preset
        self.random = torch.Generator(device="cpu").manual_seed(seed)
        self.device = device

    def __call__(self, images: Tensor, roi: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Return (defective images, masks); `roi` (1, 1, h, w) keeps every defect inside it."""
        defective = images.clone()
        masks = torch.zeros_like(images[:, :1])
        for index in range(images.shape[0]):
            if self.uniform() < self.preset.clean_share:
                continue
            for _ in range(_ATTEMPTS):
                altered, changed = self._alter(images, index, roi)
                # background pasted on background is no defect; it would blur what the score is chosen on
                if float(changed.mean()) >= self.preset.smallest:
                    defective[index], masks[index] = altered, changed
                    break
        return defective, masks

    def _alter(self, images: Tensor, index: int, roi: Tensor | None) -> tuple[Tensor, Tensor]:
        """One picture with one defect, (3, h, w), and where it visibly differs, (1, h, w)."""
        image = images[index]
        mask = self._draw_mask(image.shape[-2], image.shape[-1]).to(images.device)
        if roi is not None:
            mask = mask * roi[0]
        source = SOURCES[self._choose(self.preset.source_weights)](self, images, index)
        blend = self.uniform(0.0, self.preset.max_blend) if self.uniform() < 0.5 else 0.0
        mixed = (1 - blend) * source + blend * image
        altered = image * (1 - mask) + mixed * mask
        return altered, ((altered - image).abs().amax(0, keepdim=True) > _VISIBLE).to(image.dtype)

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * float(torch.rand((), generator=self.random))

    def integer(self, low: int, high: int) -> int:
        """Uniform integer in low..high, both included."""
        return int(torch.randint(low, high + 1, (), generator=self.random))

    def rand(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self.random).to(self.device)

    def _choose(self, weights: dict[str, float]) -> str:
        position = self.uniform(0.0, sum(weights.values()))
        for name, weight in weights.items():
            position -= weight
            if position <= 0:
                return name
        return next(reversed(weights))

    def _draw_mask(self, height: int, width: int) -> Tensor:
        while True:
            kind = self._choose(self.preset.mask_weights)
            mask = MASKS[kind](self, height, width)
            area = float(mask.mean())
            if 1e-4 < area < 0.5:
                return mask


def _perlin_mask(generator: DefectGenerator, height: int, width: int) -> Tensor:
    """Gradient noise above one half, cells 2^k per axis, k in 0..5 drawn per axis."""
    return (perlin_noise(generator, height, width, 0, 5) > 0.5).float()


def perlin_noise(generator: DefectGenerator, height: int, width: int, low: int, high: int) -> Tensor:
    """(1, h, w) gradient noise, about -1..1, with 2^low..2^high cells per axis."""
    rows, columns = 2 ** generator.integer(low, high), 2 ** generator.integer(low, high)
    angle = generator.rand(rows + 1, columns + 1) * (2 * math.pi)
    y = torch.arange(height, device=generator.device) * (rows / height)
    x = torch.arange(width, device=generator.device) * (columns / width)
    y0, x0 = y.long(), x.long()
    fy, fx = (y - y0)[:, None], (x - x0)[None, :]

    def corner(dy: int, dx: int) -> Tensor:
        a = angle[y0 + dy][:, x0 + dx]
        slope: Tensor = torch.cos(a) * (fx - dx) + torch.sin(a) * (fy - dy)
        return slope

    def fade(t: Tensor) -> Tensor:
        return t**3 * (t * (t * 6 - 15) + 10)

    wx, wy = fade(fx), fade(fy)
    top = torch.lerp(corner(0, 0), corner(0, 1), wx.expand(height, width))
    bottom = torch.lerp(corner(1, 0), corner(1, 1), wx.expand(height, width))
    noise: Tensor = torch.lerp(top, bottom, wy.expand(height, width)) * math.sqrt(2)
    return noise[None]


def _oriented_grid(
    generator: DefectGenerator, height: int, width: int, half_height: float, half_width: float
) -> tuple[Tensor, Tensor]:
    """Coordinates of every pixel in a randomly placed and turned frame, in units of the half axes."""
    angle = generator.uniform(0, math.pi)
    cy, cx = generator.uniform(0, height), generator.uniform(0, width)
    y = torch.arange(height, device=generator.device)[:, None] - cy
    x = torch.arange(width, device=generator.device)[None, :] - cx
    u = (x * math.cos(angle) + y * math.sin(angle)) / half_width
    v = (-x * math.sin(angle) + y * math.cos(angle)) / half_height
    return u, v


def _ellipse_mask(generator: DefectGenerator, height: int, width: int) -> Tensor:
    size = min(height, width)
    # log-uniform: small defects are as likely as large ones
    a, b = (size * 0.012 * math.exp(generator.uniform(0, math.log(20))) for _ in range(2))
    u, v = _oriented_grid(generator, height, width, a, b)
    return (u * u + v * v < 1).float()[None]


def _rectangle_mask(generator: DefectGenerator, height: int, width: int) -> Tensor:
    size = min(height, width)
    a, b = (size * 0.012 * math.exp(generator.uniform(0, math.log(20))) for _ in range(2))
    u, v = _oriented_grid(generator, height, width, a, b)
    return ((u.abs() < 1) & (v.abs() < 1)).float()[None]


def _scar_mask(generator: DefectGenerator, height: int, width: int) -> Tensor:
    """A long thin bent stroke: cracks, scratches, hairs."""
    size = min(height, width)
    u, v = _oriented_grid(
        generator, height, width, size * generator.uniform(0.004, 0.02), size * generator.uniform(0.04, 0.25)
    )
    bend = generator.uniform(-6, 6)
    return ((u.abs() < 1) & ((v - bend * (u * u - 0.5)).abs() < 1)).float()[None]


def _cut_mask(generator: DefectGenerator, height: int, width: int) -> Tensor:
    """Everything beyond a wavy line: a part broken or left off."""
    angle = generator.uniform(0, 2 * math.pi)
    y = torch.arange(height, device=generator.device)[:, None] / height - 0.5
    x = torch.arange(width, device=generator.device)[None, :] / width - 0.5
    wave = 0.1 * perlin_noise(generator, height, width, 1, 3)[0]
    return ((x * math.cos(angle) + y * math.sin(angle) + wave) > generator.uniform(0.1, 0.45)).float()[None]


MASKS: dict[str, Callable[[DefectGenerator, int, int], Tensor]] = {
    "perlin": _perlin_mask,
    "ellipse": _ellipse_mask,
    "rectangle": _rectangle_mask,
    "scar": _scar_mask,
    "cut": _cut_mask,
}


def _source_elsewhere(generator: DefectGenerator, images: Tensor, index: int) -> Tensor:
    """The same picture, shifted: a part, or the background, in a wrong place."""
    _, _, height, width = images.shape
    dy = generator.integer(height // 8, height - height // 8)
    dx = generator.integer(width // 8, width - width // 8)
    return images[index].roll((dy, dx), (1, 2))


def _source_other(generator: DefectGenerator, images: Tensor, index: int) -> Tensor:
    """Another normal picture, mirrored and recoloured."""
    other = images[generator.integer(0, images.shape[0] - 1)]
    other = other.flip(generator.integer(1, 2))
    return _recolour(generator, other)


def _source_flat(generator: DefectGenerator, images: Tensor, index: int) -> Tensor:
    """One colour: half the time a colour of the picture itself (an erased part), else any (a foreign body)."""
    _, _, height, width = images.shape
    if generator.uniform() < 0.5:
        y, x = generator.integer(0, height - 1), generator.integer(0, width - 1)
        colour = images[index, :, y, x]
    else:
        colour = generator.rand(3)
    noise = generator.rand(3, height, width) * 0.06 - 0.03
    return (colour[:, None, None] + noise).clamp(0, 1)


def _source_border(generator: DefectGenerator, images: Tensor, index: int) -> Tensor:
    """The colour of the picture's own border, with its grain: something is missing and the background shows."""
    _, _, height, width = images.shape
    band = 4
    side = generator.integer(0, 3)
    strips = (
        images[index, :, :band],
        images[index, :, -band:],
        images[index, :, :, :band],
        images[index, :, :, -band:],
    )
    grain = (generator.rand(1, height, width) - 0.5) * 0.03
    return (strips[side].flatten(1).median(1).values[:, None, None] + grain).clamp(0, 1)


def _source_texture(generator: DefectGenerator, images: Tensor, index: int) -> Tensor:
    """Procedural texture: octaves of gradient noise in two random colours."""
    _, _, height, width = images.shape
    octaves = perlin_noise(generator, height, width, 1, 4) + 0.5 * perlin_noise(generator, height, width, 3, 6)
    weight = (octaves * generator.uniform(0.5, 3.0) * 0.5 + 0.5).clamp(0, 1)
    first, second = generator.rand(3, 1, 1), generator.rand(3, 1, 1)
    return first * weight + second * (1 - weight)


def _source_recoloured(generator: DefectGenerator, images: Tensor, index: int) -> Tensor:
    """The same place, darker, brighter, tinted, blurred or grainier: stains, burns, wear."""
    image = images[index]
    if generator.uniform() < 0.3:
        width = 2 * generator.integer(2, 8) + 1
        image = functional.avg_pool2d(image[None], width, 1, width // 2, count_include_pad=False)[0]
    return _recolour(generator, image)


def _recolour(generator: DefectGenerator, image: Tensor) -> Tensor:
    gain = 1 + (generator.rand(3, 1, 1) - 0.5) * 0.8
    offset = (generator.rand(3, 1, 1) - 0.5) * 0.4 + generator.uniform(-0.25, 0.25)
    return ((image - 0.5) * gain + 0.5 + offset).clamp(0, 1)


SOURCES: dict[str, Source] = {
    "elsewhere": _source_elsewhere,
    "other": _source_other,
    "flat": _source_flat,
    "border": _source_border,
    "texture": _source_texture,
    "recoloured": _source_recoloured,
}
