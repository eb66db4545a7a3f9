"""What defects are made of: each takes a scene of k pictures and returns (k, 3, h, w) in 0..1."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from training.defects.noise import gradient_noise, grain
from training.defects.random_source import RandomSource, per_picture
from training.defects.scene import Draw, Scene, border_samples, box_blur, flipped, mix, shifted, soft_blur

_VORONOI_SEEDS = 16


def recoloured(rng: RandomSource, pictures: Tensor) -> Tensor:
    """Darker, brighter, tinted, flatter or steeper."""
    k = pictures.shape[0]
    gain = 1 + rng.uniform(-0.4, 0.4, k, 3, 1, 1)
    offset = rng.uniform(-0.2, 0.2, k, 3, 1, 1) + rng.uniform(-0.25, 0.25, k, 1, 1, 1)
    return (pictures * gain).add_(0.5 - 0.5 * gain + offset).clamp_(0, 1)


def elsewhere(scene: Scene) -> Tensor:
    """The same picture, shifted: a part, or the background, in a wrong place."""
    height, width = scene.size
    dy = scene.rng.integers(height // 8, height - height // 8, scene.count)
    dx = scene.rng.integers(width // 8, width - width // 8, scene.count)
    return shifted(scene.images, dy, dx)


def elsewhere_recoloured(scene: Scene) -> Tensor:
    return recoloured(scene.rng, elsewhere(scene))


def other_recoloured(scene: Scene) -> Tensor:
    """Another normal, mirrored and recoloured."""
    upright = scene.rng.chance(0.5, scene.count)
    return recoloured(scene.rng, flipped(scene.partners(), upright, 1 - upright))


def other(scene: Scene) -> Tensor:
    """Another normal as it is: valid parts, on the wrong article."""
    return scene.partners()


def flat(scene: Scene) -> Tensor:
    """One colour: half the time one of the picture itself (an erased part), else any (a foreign body)."""
    rng, k = scene.rng, scene.count
    pixel = rng.integers(0, scene.size[0] * scene.size[1] - 1, k)
    own = scene.images.flatten(2).gather(2, pixel.view(-1, 1, 1).expand(-1, 3, 1))[..., None]
    colour = torch.where(per_picture(rng.chance(0.5, k)) > 0, own, rng.uniform(0, 1, k, 3, 1, 1))
    return grain(rng, k, scene.size).mul_(0.03).add_(colour).clamp_(0, 1)


def border(scene: Scene) -> Tensor:
    """The colour of one side of the picture, with its grain: something is missing and the background shows."""
    rng, k = scene.rng, scene.count
    side = rng.integers(0, 3, k).view(-1, 1, 1, 1).expand(-1, 3, 1, 1)
    samples = border_samples(scene.images)
    colour = samples.gather(2, side.expand(-1, -1, -1, samples.shape[3])).median(3).values[..., None]
    return grain(rng, k, scene.size, 1).mul_(0.015).add(colour).clamp_(0, 1)


def retouched(scene: Scene) -> Tensor:
    """The same place recoloured, three times in ten also blurred: stains, burns, wear."""
    return recoloured(scene.rng, _retouch(scene))


def _same(scene: Scene) -> Tensor:
    return scene.images


def blurred(scene: Scene) -> Tensor:
    """The same place out of focus; one width for all pictures of the draw."""
    return soft_blur(scene.images, (2 + scene.rng.choose(1, [1] * 7)[0]) * max(1, scene.side // 128))


_retouch = mix([(0.7, _same), (0.3, blurred)])


def noisy(scene: Scene) -> Tensor:
    """Half the picture, half noise."""
    return grain(scene.rng, scene.count, scene.size).mul_(0.25).add_(0.25).add_(scene.images, alpha=0.5)


def mirrored(scene: Scene) -> Tensor:
    """Upside down, left to right, or both."""
    way = scene.rng.integers(1, 3, scene.count)
    return flipped(scene.images, way & 1, way >> 1)


def colour_changed(scene: Scene) -> Tensor:
    return recoloured(scene.rng, _colour_change(scene))


def _grey(scene: Scene) -> Tensor:
    return scene.images.mean(1, keepdim=True).expand(-1, 3, -1, -1)


_colour_change = mix([(0.5, _same), (0.25, _grey), (0.25, blurred)])


def shuffled(rows: int, columns: int, most: int | None = None) -> Draw:
    """The same picture with its cells exchanged: all of them, or 2 to `most`; what no whole cell covers stays."""

    def draw(scene: Scene) -> Tensor:
        rng, k, (height, width) = scene.rng, scene.count, scene.size
        cell_height, cell_width = max(1, height // rows), max(1, width // columns)
        order = rng.uniform(0, 1, k, rows * columns).argsort(1)
        number = torch.full((k,), rows * columns) if most is None else rng.integers(2, most, k)
        # a ring through the first `number` cells of a random order: every one of them moves
        place = torch.arange(rows * columns, device=order.device)
        following = torch.where(place < number.to(order.device)[:, None], place + 1, place)
        following = torch.where(following == number.to(order.device)[:, None], 0, following)
        following = torch.where(place < number.to(order.device)[:, None], following, place)
        origin = torch.empty_like(order).scatter_(1, order, order.gather(1, following))
        y = torch.arange(height, device=order.device)
        x = torch.arange(width, device=order.device)
        cell = (y // cell_height)[:, None] * columns + x // cell_width
        covered = ((y < rows * cell_height)[:, None] & (x < columns * cell_width)).flatten()
        source = origin.gather(1, cell.flatten().clamp(max=rows * columns - 1).expand(k, -1))
        moved_y = source // columns * cell_height + (y % cell_height)[:, None].expand(-1, width).flatten()
        moved_x = source % columns * cell_width + (x % cell_width).expand(height, -1).flatten()
        index = torch.where(covered, moved_y * width + moved_x, torch.arange(height * width, device=order.device))
        return scene.images.flatten(2).gather(2, index[:, None].expand(-1, 3, -1)).view_as(scene.images)

    return draw


def slsg_structure(scene: Scene) -> Tensor:
    """Turned over half the time, recoloured, a fifth blurred, in shuffled cells."""
    whole = Scene(scene.batch, scene.members)
    half = scene.rng.chance(0.5, scene.count)
    whole.images = recoloured_gently(scene.rng, flipped(_slsg_base(scene), half, half))
    return _all_cells(whole)


def recoloured_gently(rng: RandomSource, pictures: Tensor) -> Tensor:
    """Gain and offset as between two lots of one part."""
    gain, offset = (
        rng.uniform(0.8, 1.2, pictures.shape[0], 3, 1, 1),
        rng.uniform(-0.1, 0.1, pictures.shape[0], 1, 1, 1),
    )
    return (pictures * gain).add_(offset).clamp_(0, 1)


_all_cells = shuffled(4, 8)
_slsg_base = mix([(0.8, _same), (0.2, blurred)])
some_cells = mix([(1.0, shuffled(4, 4, 4)), (1.0, shuffled(4, 8, 6)), (1.0, shuffled(8, 8, 6))])


def octaves(scene: Scene) -> Tensor:
    """Two octaves of gradient noise in two random colours."""
    rng, k = scene.rng, scene.count
    noise = gradient_noise(rng, k, scene.size, 1, 4).add_(gradient_noise(rng, k, scene.size, 3, 5), alpha=0.5)
    return _two_colours(scene, noise.mul_(per_picture(rng.uniform(0.25, 1.5, k))).add_(0.5))


def stripes(scene: Scene) -> Tensor:
    """Parallel bands, bent a little."""
    rng, k = scene.rng, scene.count
    pitch = rng.log_uniform(0.02, 0.2, k) * scene.side
    u, v = scene.frame(scene.anywhere(), rng.uniform(0, math.pi, k), pitch, pitch)
    u = u + (v * 0.3).sin() * per_picture(rng.uniform(0, 1.5, k))
    return _two_colours(scene, (u * math.pi).sin().mul_(per_picture(rng.uniform(0.5, 3, k))).add_(0.5))


def speckle(scene: Scene) -> Tensor:
    """Grains of one to four pixels."""
    rng, k = scene.rng, scene.count
    smooth = box_blur(grain(rng, k, scene.size, 1), rng.choose(1, [1, 1, 1])[0])
    return _two_colours(scene, smooth.mul_(per_picture(rng.uniform(0.5, 2.5, k))).add_(0.5))


def voronoi(scene: Scene) -> Tensor:
    """Cells around random seeds, each of its own grey between two colours; drawn at a third of the resolution."""
    rng, k = scene.rng, scene.count
    height, width = (max(2, side // 3) for side in scene.size)
    seeds = rng.uniform(0, 1, k, _VORONOI_SEEDS, 2)
    y = (torch.arange(height, device=seeds.device) / height - seeds[:, :, :1]).square()  # (k, seeds, h)
    x = (torch.arange(width, device=seeds.device) / width - seeds[:, :, 1:]).square()
    nearest = (y[..., None] + x[:, :, None]).argmin(1).flatten(1)
    value = rng.uniform(0, 1, k, _VORONOI_SEEDS).gather(1, nearest).view(k, 1, height, width)
    return _two_colours(scene, functional.interpolate(value, scene.size, mode="nearest"))


def _two_colours(scene: Scene, weight: Tensor) -> Tensor:
    first, second = scene.rng.uniform(0, 1, 2, scene.count, 3, 1, 1)
    return torch.lerp(second, first, weight.clamp_(0, 1))


_procedural = mix([(0.4, octaves), (0.2, voronoi), (0.2, stripes), (0.2, speckle)])


def texture(scene: Scene) -> Tensor:
    """A texture foreign to the part: of the corpus where there is one, else procedural."""
    corpus, rng = scene.batch.textures, scene.rng
    if corpus is None:
        return _procedural(scene)
    chosen = corpus.index_select(0, rng.integers(0, corpus.shape[0] - 1, scene.count))
    if chosen.shape[2:] != scene.images.shape[2:]:
        chosen = functional.interpolate(chosen, scene.size, mode="bilinear", align_corners=False)
    dy, dx = (rng.integers(0, side - 1, scene.count) for side in scene.size)
    return shifted(chosen, dy, dx)


def texture_augmented(scene: Scene) -> Tensor:
    return augmented(scene.rng, texture(scene))


def other_augmented(scene: Scene) -> Tensor:
    return augmented(scene.rng, scene.partners())


def same_augmented(scene: Scene) -> Tensor:
    return augmented(scene.rng, scene.images)


def augmented(rng: RandomSource, pictures: Tensor) -> Tensor:
    """Three different ones of AUGMENTERS, drawn per picture."""
    chosen = rng.subsets(pictures.shape[0], 3, len(AUGMENTERS))
    result = pictures.clone()
    for augmenter, function in enumerate(AUGMENTERS):
        members = [picture for picture, subset in enumerate(chosen) if augmenter in subset]
        if members:
            index = torch.tensor(members, device=pictures.device)
            result[index] = function(rng, result[index])
    return result.clamp_(0, 1)


def _bent_tones(rng: RandomSource, p: Tensor) -> Tensor:
    # a parabola through black and white instead of a power: the same look at a tenth of the time
    return p + p * (1 - p) * rng.uniform(-0.8, 0.8, p.shape[0], 3, 1, 1)


def _brightness(rng: RandomSource, p: Tensor) -> Tensor:
    return p * rng.uniform(0.8, 1.2, p.shape[0], 1, 1, 1) + rng.uniform(-0.12, 0.12, p.shape[0], 1, 1, 1)


def _sharpened(rng: RandomSource, p: Tensor) -> Tensor:
    return torch.lerp(box_blur(p, 1), p, 1 + rng.uniform(0.5, 2, p.shape[0], 1, 1, 1))


def _saturation(rng: RandomSource, p: Tensor) -> Tensor:
    return torch.lerp(p.mean(1, keepdim=True).expand_as(p), p, rng.uniform(0, 2, p.shape[0], 1, 1, 1))


def _hue(rng: RandomSource, p: Tensor) -> Tensor:
    return torch.lerp(p, p.roll(1, 1), rng.uniform(0, 1, p.shape[0], 1, 1, 1))


def _solarised(rng: RandomSource, p: Tensor) -> Tensor:
    return torch.where(p > rng.uniform(0.12, 0.5, p.shape[0], 1, 1, 1), 1 - p, p)


def _posterised(rng: RandomSource, p: Tensor) -> Tensor:
    levels = rng.integers(2, 8, p.shape[0]).float().view(-1, 1, 1, 1)
    return (p * levels).floor() / levels


def _inverted(rng: RandomSource, p: Tensor) -> Tensor:
    return 1 - p


def _stretched(rng: RandomSource, p: Tensor) -> Tensor:
    low, high = p.amin((2, 3), keepdim=True), p.amax((2, 3), keepdim=True)
    return (p - low) / (high - low + 1e-3)


def _turned(rng: RandomSource, p: Tensor) -> Tensor:
    """Turned by -45..45 degrees about the middle."""
    angle = rng.uniform(-math.pi / 4, math.pi / 4, p.shape[0])
    zero = torch.zeros_like(angle)
    turn = torch.stack([angle.cos(), -angle.sin(), zero, angle.sin(), angle.cos(), zero], 1).view(-1, 2, 3)
    grid = functional.affine_grid(turn, list(p.shape), align_corners=False)
    return functional.grid_sample(p, grid, padding_mode="reflection", align_corners=False)


AUGMENTERS = (
    _turned, _bent_tones, _brightness, _sharpened, _saturation, _hue, _solarised, _posterised, _inverted, _stretched,
)  # fmt: skip
