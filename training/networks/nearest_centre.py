"""How far each place of a picture is from what good parts hold anywhere: distance to the nearest of many centres."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

_DEPTH, _CENTRES = 64, 512
# places that principal axes and centres are fitted to
_PLACES = 20_000
_ROUNDS = 10


class NearestCentre(nn.Module):
    """Features (n, fine, g, g) and (n, coarse, g / 2, g / 2) → distance >= 0, (n, 1, g, g), in float32.

    Both are standardised and turned into their first 64 principal axes, averaged over 3 x 3 places, and compared with
    512 centres. |p - c|^2 = |p|^2 + (|c|^2 - 2 p c), and what is in brackets is a 1x1 convolution: a memory of good
    places (PatchCore: Roth et al., 2022) in the operators of an engine. Nothing in it learns; `fit` computes all.
    """

    def __init__(self, fine: int, coarse: int) -> None:
        super().__init__()
        self.fine = nn.Conv2d(fine, _DEPTH, 1)
        self.coarse = nn.Conv2d(coarse, _DEPTH, 1, bias=False)
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.average = nn.AvgPool2d(3, 1, 1, count_include_pad=False)
        self.centres = nn.Conv2d(_DEPTH, _CENTRES, 1)
        self.requires_grad_(False)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        places = self.places(fine, coarse)
        nearest = self.centres(places).amin(1, keepdim=True)
        return (nearest + places.square().sum(1, keepdim=True)).clamp(min=0).sqrt()

    def places(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """(n, 64, g, g): what is compared."""
        result: Tensor = self.average(self.fine(fine.float()) + self.enlarge(self.coarse(coarse.float())))
        return result

    @torch.no_grad()
    def fit(self, batches: Callable[[], list[tuple[Tensor, Tensor]]], random: torch.Generator) -> None:
        """batches: features of good parts as in `forward`, a few parts at a time; asked for twice."""
        joined = [torch.cat([fine.float(), self.enlarge(coarse.float())], 1) for fine, coarse in batches()]
        raw = _some_places(joined, random)
        mean, spread = raw.mean(0), raw.std(0).clamp(min=1e-6)
        _, _, axes = torch.linalg.svd((raw - mean) / spread, full_matrices=False)
        turn = (axes[:_DEPTH] / spread)[:, :, None, None]
        split = self.fine.in_channels
        self.fine.weight.copy_(turn[:, :split])
        self.coarse.weight.copy_(turn[:, split:])
        assert self.fine.bias is not None and self.centres.bias is not None, "both are built with a bias"
        self.fine.bias.copy_(-(turn[:, :, 0, 0] @ mean))
        places = _some_places([self.places(fine, coarse) for fine, coarse in batches()], random)
        centres = centres_of(places, min(_CENTRES, len(places)), random)
        # with fewer places than centres, some centres stand twice
        centres = centres[torch.arange(_CENTRES, device=centres.device) % len(centres)]
        self.centres.weight.copy_(-2 * centres[:, :, None, None])
        self.centres.bias.copy_(centres.square().sum(1))


def _some_places(maps: list[Tensor], random: torch.Generator) -> Tensor:
    """(p, c): at most _PLACES places of maps (n, c, g, g), as many of each batch as its share."""
    flat = [values.permute(0, 2, 3, 1).flatten(0, 2) for values in maps]
    share = min(1.0, _PLACES / sum(len(rows) for rows in flat))
    picked = [torch.randperm(len(rows), generator=random)[: round(share * len(rows))].to(rows.device) for rows in flat]
    return torch.cat([rows[index] for rows, index in zip(flat, picked, strict=True)])


def centres_of(places: Tensor, count: int, random: torch.Generator) -> Tensor:
    """(count, c) centres of places (p, c): k-means, begun with places far from each other.

    What is rare on good parts is far from all else, and so gets a centre of its own.
    """
    first = int(torch.randint(len(places), (), generator=random))
    chosen, distance = [first], (places - places[first]).square().sum(1)
    while len(chosen) < count:
        chosen.append(int(distance.argmax()))
        distance = torch.minimum(distance, (places - places[chosen[-1]]).square().sum(1))
    centres = places[chosen]
    for _ in range(_ROUNDS):
        nearest = torch.cdist(places, centres).argmin(1)
        members = functional.one_hot(nearest, count).to(places.dtype)
        counts = members.sum(0)[:, None]
        centres = torch.where(counts > 0, (members.T @ places) / counts.clamp(min=1), centres)
    return centres
