"""The kinds of defects, by name: each takes a scene of k pictures and returns them altered, (k, 3, h, w)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from training.defects import masks, sources, structure, surface, traces
from training.defects.random_source import RandomSource, per_picture
from training.defects.scene import Draw, Scene, mix

# how much of the picture shines through, (k,)
Blend = Callable[[RandomSource, int], Tensor]


def opaque(rng: RandomSource, count: int) -> Tensor:
    return torch.zeros(count, device=rng.device)


def up_to(most: float, share: float = 1.0) -> Blend:
    """Uniform in 0..most for this share of the pictures, else nothing shines through."""

    def draw(rng: RandomSource, count: int) -> Tensor:
        return rng.uniform(0, most, count) * rng.chance(share, count)

    return draw


def slsg_texture_blend(rng: RandomSource, count: int) -> Tensor:
    return torch.where(rng.chance(0.25, count) > 0, 0.75, rng.uniform(0, 0.9, count))


def paste(mask: Draw, source: Draw, blend: Blend = opaque) -> Draw:
    """The source inside the mask: (1 - M) I + M ((1 - b) A + b I)."""

    def draw(scene: Scene) -> Tensor:
        weight = mask(scene) * per_picture(1 - blend(scene.rng, scene.count))
        return torch.lerp(scene.images, source(scene), weight)

    return draw


def small_rectangles(scene: Scene) -> Tensor:
    """1 to 100 small rectangles, each a lightly recoloured copy of what it covers."""
    rng, k, most = scene.rng, scene.count, 100
    number = rng.integers(1, most, k)
    present = (torch.arange(most, device=rng.device) < number[:, None]).float()
    rows = _spans(rng, scene.size[0], scene.side, k, most) * present[..., None]
    columns = _spans(rng, scene.size[1], scene.side, k, most)
    covered = rows.mT @ columns  # how many rectangles lie over each pixel
    gain = rng.uniform(-0.4, 0.4, k, 3, most) + rng.uniform(-0.25, 0.25, k, 1, most)
    total = (rows[:, None] * gain[..., None]).mT @ columns[:, None]
    return scene.images * (1 + total / covered[:, None].clamp(min=1))


def _spans(rng: RandomSource, length: int, side: int, count: int, most: int) -> Tensor:
    """1 where a span of 3.5 to 16 % of the side covers a row or column, (count, most, length)."""
    start = rng.uniform(-0.05, 1, count, most, 1) * length
    extent = rng.uniform(0.035, 0.16, count, most, 1) * side
    place = torch.arange(length, device=rng.device)
    return ((place >= start) & (place < start + extent)).float()


_partly = up_to(0.6, share=0.5)
_changed = mix([(1.0, sources.colour_changed), (1.0, sources.mirrored), (1.0, sources.noisy)])
_changed_in_place = mix([(1.0, sources.colour_changed), (1.0, sources.noisy)])
_slsg_source = mix([(0.6, sources.slsg_structure), (0.2, sources.mirrored), (0.2, sources.other)])

OPERATORS: dict[str, Draw] = {
    "elsewhere": paste(masks.assorted, sources.elsewhere, _partly),
    "foreign_texture": paste(masks.assorted, sources.texture, _partly),
    "flat": paste(masks.assorted, sources.flat, _partly),
    "other": paste(masks.assorted, sources.other_recoloured, _partly),
    "recoloured": paste(masks.assorted, sources.retouched, _partly),
    "erased": paste(masks.assorted, sources.border, _partly),
    "perlin_texture": paste(masks.perlin(0, 5, 0.5, turned=True), sources.texture_augmented, up_to(0.8)),
    "perlin_other": paste(masks.perlin(0, 5, 0.5, turned=True), sources.other_augmented, up_to(0.8)),
    "perlin_self": paste(masks.perlin(0, 5, 0.5), sources.same_augmented, up_to(0.8)),
    "cutpaste": paste(masks.upright_rectangle, sources.elsewhere_recoloured),
    "cutpaste_scar": paste(masks.scar, sources.elsewhere_recoloured),
    "shapes": paste(masks.shapes, _changed),
    "shapes_changed": paste(masks.shapes, _changed_in_place),
    "small_rectangles": small_rectangles,
    "grid_shuffle": sources.some_cells,
    "slsg_texture": paste(masks.perlin(0, 3, 0.5), sources.texture_augmented, slsg_texture_blend),
    "slsg_structure": paste(masks.perlin(0, 2, 0.4), _slsg_source, up_to(0.25)),
    "noise": paste(masks.assorted, sources.noisy),
    "blur": paste(masks.assorted, sources.blurred),
    "pores": surface.pores,
    "crack": surface.crack,
    "scratch": surface.scratch,
    "fibre": surface.fibre,
    "pen_mark": surface.pen_mark,
    "dust": surface.dust,
    "chip": surface.chip,
    "uneven": surface.uneven,
    "dead_area": surface.dead_area,
    "stain": surface.stain,
    "burn": surface.burn,
    "frayed": surface.frayed,
    "foreign_body": surface.foreign_body,
    "warp": surface.warp,
    "bite": structure.bite,
    "pin_hole": structure.pin_hole,
    "spot": structure.spot,
    "bridge": structure.bridge,
    "missing_component": structure.missing_component,
    "cross_image_swap": structure.cross_image_swap,
    "misplaced_component": structure.misplaced_component,
    "transplant": structure.transplant,
    "edge_discs": traces.drawn(traces.edge_discs),
    "hole_or_island": traces.drawn(traces.hole_or_island),
    "edge_bar": traces.drawn(traces.edge_bar),
}
