"""Natural variation of good parts: what a camera and a fixture do to them without making them bad."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

_SENSOR_NOISE = 0.01
# knots per axis of a bend: few, so that straight edges bow instead of rippling
_BEND_KNOTS = 5


def vary(
    images: Tensor, generator: torch.Generator, turn_degrees: float = 2.0, shift: float = 0.02, bend: float = 0.0
) -> Tensor:
    """Turn, scale (as `shift`), move, bend and relight a batch (n, 3, h, w) in 0..1; edges are repeated outward.

    shift, bend: shares of the side; bending moves each place smoothly by up to `bend`, as soft parts do. Brightness
    varies by 5 %, as it does between two good parts on one line.
    """
    grid = _warp(images, generator, turn_degrees, shift, bend)
    return relit(functional.grid_sample(images, grid, padding_mode="border", align_corners=False), generator)


def vary_labelled(
    images: Tensor,
    labels: Tensor,
    generator: torch.Generator,
    turn_degrees: float = 2.0,
    shift: float = 0.02,
    bend: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """`vary` of pictures, and of their labels (n, c, h, w) with them; labels are 0 where the picture was extended."""
    grid = _warp(images, generator, turn_degrees, shift, bend)
    moved = functional.grid_sample(images, grid, padding_mode="border", align_corners=False)
    return relit(moved, generator), functional.grid_sample(labels, grid, "nearest", "zeros", align_corners=False)


def mirrored(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each of (n, c, h, w) turned over in either axis, or not."""
    for axis in (2, 3):
        turned = torch.rand(pictures.shape[0], generator=generator) < 0.5
        pictures = torch.where(turned.to(pictures.device).view(-1, 1, 1, 1), pictures.flip(axis), pictures)
    return pictures


def quarter_turned(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Each of (n, c, s, s) turned by a quarter, or not; mirrored ones then lie in all eight ways."""
    turned = torch.rand(pictures.shape[0], generator=generator) < 0.5
    return torch.where(turned.to(pictures.device).view(-1, 1, 1, 1), pictures.transpose(2, 3), pictures)


Square = tuple[slice, slice, slice]


def crop_places(pictures: Tensor, side: int, generator: torch.Generator) -> list[Square]:
    """A square of `side` pixels for each of (n, c, h, w), anywhere in it: where it is in (c, h, w)."""
    count, _, height, width = pictures.shape
    top = torch.randint(height - side + 1, (count,), generator=generator).tolist()
    left = torch.randint(width - side + 1, (count,), generator=generator).tolist()
    return [(slice(None), slice(y, y + side), slice(x, x + side)) for y, x in zip(top, left, strict=True)]


def cut(pictures: Tensor, places: list[Square]) -> Tensor:
    """One square of each picture."""
    return torch.stack([picture[place] for picture, place in zip(pictures, places, strict=True)])


def cropped(pictures: Tensor, side: int | None, generator: torch.Generator) -> Tensor:
    """A square of each picture, anywhere; pictures of that size stay as they are, and all where side is None."""
    if side is None or pictures.shape[2:] == (side, side):
        return pictures
    return cut(pictures, crop_places(pictures, side, generator))


def with_sensor_noise(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """What a camera adds of itself, so that no network learns to reproduce it."""
    return pictures + torch.randn(pictures.shape, generator=generator).to(pictures.device) * _SENSOR_NOISE


def _warp(images: Tensor, generator: torch.Generator, turn_degrees: float, shift: float, bend: float) -> Tensor:
    """Where each pixel comes from, as grid_sample wants it: (n, h, w, 2)."""
    count = images.shape[0]
    angle, zoom = _signed(count, generator, math.radians(turn_degrees)), 1 + _signed(count, generator, shift)
    cosine, sine = torch.cos(angle) * zoom, torch.sin(angle) * zoom
    # coordinates run over -1..1 each way, whatever the sides are: a turn must not shear a field that is no square
    aspect = images.shape[3] / images.shape[2]
    across, down = _signed(count, generator, 2 * shift), _signed(count, generator, 2 * shift)
    rows = [torch.stack([cosine, -sine / aspect, across], 1), torch.stack([sine * aspect, cosine, down], 1)]
    grid = functional.affine_grid(torch.stack(rows, 1).to(images.device), list(images.shape), align_corners=False)
    if bend:
        knots = (torch.rand(count, 2, _BEND_KNOTS, _BEND_KNOTS, generator=generator) * 2 - 1) * 2 * bend
        strength = torch.rand(count, 1, 1, 1, generator=generator)
        field = functional.interpolate(knots * strength, images.shape[2:], mode="bicubic", align_corners=True)
        grid = grid + field.permute(0, 2, 3, 1).to(images.device)
    return grid


def relit(images: Tensor, generator: torch.Generator) -> Tensor:
    """Each of (n, c, h, w) brighter or darker by up to 5 %."""
    gain = (1 + _signed(images.shape[0], generator, 0.05)).to(images.device).view(-1, 1, 1, 1)
    return (images * gain).clamp(0, 1)


def _signed(count: int, generator: torch.Generator, scale: float) -> Tensor:
    return (torch.rand(count, generator=generator) * 2 - 1) * scale
