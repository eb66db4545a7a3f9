"""What a defect is drawn on: some pictures of a batch, and what can be seen on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from torch import Tensor
from torch.nn import functional

from training.defects.random_source import RandomSource, per_picture

# places are chosen among 16 x 16 cells; a pixel this far from the background's colour belongs to the part
CELLS = 16
_FOREGROUND = 0.12
_COLOURLESS = 0.01
# two tones: this far apart, with few pixels between them by more than this share of the way
_TONES_APART, _TONE_REACH, _BETWEEN_TONES = 0.3, 0.2, 0.12
_BAND_PX = 4
_BORDER_SAMPLES = 64


@dataclass(frozen=True)
class Bank:
    """Real defects to transplant: pictures (b, 3, h, w) in 0..1 and where they are defective, (b, 1, h, w)."""

    pictures: Tensor
    masks: Tensor


@dataclass(frozen=True)
class ImageStatistics:
    """What is where, per picture: background colour (k, 3, 1, 1), and per cell (k, 1, c, c) the foreground's share,
    the standard deviation and the mean of brightness."""

    background: Tensor
    cover: Tensor
    contrast: Tensor
    brightness: Tensor

    def take(self, members: Tensor) -> ImageStatistics:
        return ImageStatistics(*(values.index_select(0, members) for values in vars(self).values()))


@dataclass
class Batch:
    """The whole batch with everything that operators may draw from."""

    images: Tensor
    rng: RandomSource
    roi: Tensor | None = None
    textures: Tensor | None = None
    bank: Bank | None = None
    # (n,) of what kind each part is, on the CPU; for logical anomalies alone
    kinds: Tensor | None = None

    @cached_property
    def image_statistics(self) -> ImageStatistics:
        border = border_samples(self.images)  # (k, 3, 4, samples)
        background = border.flatten(2).median(2).values[:, :, None, None]
        # every second pixel of every second row says as much about cells
        step = 2 if min(self.images.shape[2:]) >= 4 * CELLS else 1
        some = self.images[..., ::step, ::step]
        luma = some.mean(1, keepdim=True)
        features = torch.cat([luma, luma * luma, _foreground(some, background)], 1)
        cells = cell_means(features, min(CELLS, *some.shape[2:]))
        mean, square, cover = cells[:, :1], cells[:, 1:2], cells[:, 2:]
        return ImageStatistics(background, cover, (square - mean * mean).clamp(min=0).sqrt(), mean)

    @cached_property
    def grey(self) -> Tensor | None:
        """(n, 1, 1, 1), true for pictures of a camera without colour; None when there is none."""
        some = self.images[..., ::3, ::3]
        spread = some.amax(1, keepdim=True) - some.amin(1, keepdim=True)
        grey = (spread < _COLOURLESS).flatten(1).all(1).view(-1, 1, 1, 1)
        return grey if bool(grey.any()) else None

    @cached_property
    def tones(self) -> tuple[Tensor, Tensor] | None:
        """Dark and bright tone, (n, 1, 1, 1) each, of pictures that have no other; equal where one has more or fewer.

        None when no picture of the batch has two tones.
        """
        some = self.images[..., ::3, ::3].mean(1).flatten(1)
        dark, bright = some.amin(1, keepdim=True), some.amax(1, keepdim=True)
        middle, reach = (dark + bright) / 2, _TONE_REACH * (bright - dark)
        between = ((some - middle).abs() < (bright - dark) / 2 - reach).float().mean(1, keepdim=True)
        both = ((some < middle).float().mean(1, keepdim=True) - 0.5).abs() < 0.49
        two = both & (between < _BETWEEN_TONES) & (bright - dark > _TONES_APART)
        if not bool(two.any()):
            return None
        upper = (some * (some > middle)).sum(1, keepdim=True) / (some > middle).sum(1, keepdim=True).clamp(min=1)
        lower = (some * (some <= middle)).sum(1, keepdim=True) / (some <= middle).sum(1, keepdim=True).clamp(min=1)
        bright = torch.where(two, upper, lower)
        return lower.view(-1, 1, 1, 1), bright.view(-1, 1, 1, 1)

    @cached_property
    def inside(self) -> Tensor | None:
        """(1, 1, c, c), 1 for the cells that touch the region of interest."""
        if self.roi is None:
            return None
        return functional.adaptive_max_pool2d(self.roi, min(CELLS, *self.images.shape[2:]))


@dataclass
class Scene:
    """k pictures of a batch; masks, sources and operators see nothing else."""

    batch: Batch
    members: Tensor

    @cached_property
    def images(self) -> Tensor:
        return self.batch.images.index_select(0, self.members)

    @cached_property
    def image_statistics(self) -> ImageStatistics:
        return self.batch.image_statistics.take(self.members)

    @cached_property
    def foreground(self) -> Tensor:
        """(k, 1, h, w), 1 where the picture is unlike its border."""
        return _foreground(self.images, self.image_statistics.background)

    @property
    def rng(self) -> RandomSource:
        return self.batch.rng

    @property
    def count(self) -> int:
        return self.members.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        return self.batch.images.shape[2], self.batch.images.shape[3]

    @property
    def side(self) -> int:
        return min(self.size)

    def take(self, chosen: Sequence[int]) -> Scene:
        return Scene(self.batch, self.members[torch.tensor(chosen, device=self.members.device)])

    def partners(self) -> Tensor:
        """Another picture of the batch for each, (k, 3, h, w); the same one only where there is no other."""
        others = self.batch.images.shape[0]
        step = self.rng.integers(1, max(1, others - 1), self.count)
        return self.batch.images.index_select(0, (self.members + step) % others)

    def anywhere(self) -> Tensor:
        """(k, 2) places (y, x) in pixels, uniform over the region of interest."""
        if self.batch.inside is None:
            return self.rng.uniform(0, 1, self.count, 2) * torch.tensor(self.size, device=self.rng.device)
        return self._places(self.batch.inside, 1)[:, 0]

    def on_part(self) -> Tensor:
        """Places mostly on the foreground; anywhere where there is none."""
        return self._places(self.image_statistics.cover.square() + 0.003, 1)[:, 0]

    def on_rim(self) -> Tensor:
        """Places where foreground and background meet."""
        cover = self.image_statistics.cover
        return self._places(cover * (1 - cover) + 1e-3, 1)[:, 0]

    def on_structure(self) -> Tensor:
        """Places where brightness varies: edges, traces, prints."""
        return self.many_on_structure(1)[:, 0]

    def many_on_structure(self, number: int) -> Tensor:
        """(k, number, 2) such places."""
        return self._places(self.image_statistics.contrast.pow(1.5).clamp(min=1e-4), number)

    def _places(self, weight: Tensor, number: int) -> Tensor:
        """(k, number, 2): cells drawn by weight (k or 1, 1, c, c), and a uniform place inside each."""
        if self.batch.inside is not None:
            weight = weight * self.batch.inside + 1e-9
        cells = weight.shape[-1]
        below = weight.flatten(1).expand(self.count, -1).cumsum(1)
        drawn = self.rng.uniform(0, 1, self.count, number) * below[:, -1:]
        cell = torch.searchsorted(below, drawn).clamp_(max=cells * cells - 1)
        place = torch.stack([cell // cells, cell % cells], 2) + self.rng.uniform(0, 1, self.count, number, 2)
        return place * torch.tensor([side / cells for side in self.size], device=self.rng.device)

    def at(self, cells: Tensor, places: Tensor) -> Tensor:
        """The value of a map of cells (k, c, g, g) at places (k, 2): (k, c, 1, 1)."""
        scale = torch.tensor([cells.shape[-1] / side for side in self.size], device=places.device)
        row, column = (places * scale).long().clamp_(0, cells.shape[-1] - 1).unbind(1)
        return cells[torch.arange(self.count, device=places.device), :, row, column][:, :, None, None]

    def frame(self, places: Tensor, angle: Tensor, half_height: Tensor, half_width: Tensor) -> tuple[Tensor, Tensor]:
        """(u, v), each (k, 1, h, w): coordinates of every pixel in turned frames, in units of their half axes (k,)."""
        height, width = self.size
        y = torch.arange(height, device=places.device).view(1, 1, -1, 1) + 0.5 - per_picture(places[:, 0])
        x = torch.arange(width, device=places.device).view(1, 1, 1, -1) + 0.5 - per_picture(places[:, 1])
        cosine, sine = angle.cos(), angle.sin()
        u = x * per_picture(cosine / half_width) + y * per_picture(sine / half_width)
        v = y * per_picture(cosine / half_height) - x * per_picture(sine / half_height)
        return u, v


Draw = Callable[[Scene], Tensor]


def mix(choices: Sequence[tuple[float, Draw]]) -> Draw:
    """A drawing that is one of several for each picture; pictures with the same choice are drawn together."""

    def draw(scene: Scene) -> Tensor:
        drawn: Tensor | None = None
        for position, members in grouped(scene.rng.choose(scene.count, [weight for weight, _ in choices])).items():
            if len(members) == scene.count:
                return choices[position][1](scene)
            part = choices[position][1](scene.take(members))
            if drawn is None:
                drawn = part.new_empty(scene.count, *part.shape[1:])
            drawn.index_copy_(0, torch.tensor(members, device=part.device), part)
        assert drawn is not None, "there is a picture"
        return drawn

    return draw


def grouped(choices: Sequence[int]) -> dict[int, list[int]]:
    """Which pictures chose what, in order of the choice."""
    groups: dict[int, list[int]] = {}
    for picture, choice in enumerate(choices):
        groups.setdefault(choice, []).append(picture)
    return dict(sorted(groups.items()))


def _foreground(images: Tensor, background: Tensor) -> Tensor:
    return ((images - background).abs_().amax(1, keepdim=True) > _FOREGROUND).float()


def border_samples(images: Tensor) -> Tensor:
    """Pixels of the outermost rows and columns: top, bottom, left, right, (k, 3, 4, samples)."""
    band = min(_BAND_PX, *images.shape[2:])
    strips = (images[:, :, :band], images[:, :, -band:], images[..., :band], images[..., -band:])
    sampled = []
    for strip in strips:
        flat = strip.flatten(2)
        index = torch.linspace(0, flat.shape[2] - 1, _BORDER_SAMPLES, device=images.device).long()
        sampled.append(flat.index_select(2, index))
    return torch.stack(sampled, 2)


def gathered(pictures: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Pixel (y, x) from (rows[y], columns[x]) of the same picture; rows (k, h), columns (k, w)."""
    index = (rows[:, :, None] * pictures.shape[3] + columns[:, None, :]).flatten(1)[:, None]
    return pictures.flatten(2).gather(2, index.expand(-1, pictures.shape[1], -1)).view_as(pictures)


def shifted(pictures: Tensor, dy: Tensor, dx: Tensor) -> Tensor:
    """Each picture rolled by its own whole shift (k,)."""
    height, width = pictures.shape[2:]
    rows = (torch.arange(height, device=dy.device) - dy[:, None]) % height
    columns = (torch.arange(width, device=dx.device) - dx[:, None]) % width
    return gathered(pictures, rows, columns)


def flipped(pictures: Tensor, vertical: Tensor, horizontal: Tensor) -> Tensor:
    """Mirrored where the flags (k,) are 1."""
    y = torch.arange(pictures.shape[2], device=pictures.device)
    x = torch.arange(pictures.shape[3], device=pictures.device)
    rows = torch.where(vertical[:, None] > 0, y.flip(0), y)
    columns = torch.where(horizontal[:, None] > 0, x.flip(0), x)
    return gathered(pictures, rows, columns)


def cell_means(pictures: Tensor, cells: int) -> Tensor:
    """Means over cells x cells parts, (k, c, cells, cells); matrix products, because pooling is slower."""
    height, width = pictures.shape[2:]
    rows, columns = _cell_weights(height, cells), _cell_weights(width, cells)
    return rows.to(pictures.device) @ pictures @ columns.T.to(pictures.device)


@lru_cache(maxsize=16)
def _cell_weights(length: int, cells: int) -> Tensor:
    """(cells, length), rows that sum to one."""
    cell = torch.arange(length) * cells // length
    member = (cell == torch.arange(cells)[:, None]).float()
    return member / member.sum(1, keepdim=True)


def box_blur(pictures: Tensor, radius: int) -> Tensor:
    """Box mean of width 2 radius + 1, edges repeated outward; sums of shifted views, because pooling is slower."""
    if radius == 0:
        return pictures
    padded = functional.pad(pictures, [radius] * 4, mode="replicate")
    width = 2 * radius + 1
    rows = padded[:, :, : pictures.shape[2]].clone()
    for offset in range(1, width):
        rows += padded[:, :, offset : offset + pictures.shape[2]]
    columns = rows[..., : pictures.shape[3]].clone()
    for offset in range(1, width):
        columns += rows[..., offset : offset + pictures.shape[3]]
    return columns.div_(width * width)


def soft_blur(pictures: Tensor, radius: int) -> Tensor:
    """Out of focus by about `radius` pixels: means on a coarse grid, interpolated; a wide blur costs no more."""
    coarse = functional.avg_pool2d(pictures, radius, ceil_mode=True, count_include_pad=False)
    return functional.interpolate(coarse, pictures.shape[2:], mode="bilinear", align_corners=False)
