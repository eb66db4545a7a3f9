"""The self-attentive graph layer of SLSG: every place of the deepest features asks every other what it should be."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

# nodes of one row or column that the sparse relation joins: every second one
_AXIAL_STEP = 2


class GraphLayer(nn.Module):
    """Relate the places of (n, c, *grid); same shape, added to what came in.

    dense: softmax attention of all places to all, queries tied to keys, so that similar places look at each other.
    sparse: the largest of what every second place of the same row and column has more than this one. Published with
    the most similar places instead, for which an engine would need TopK and Gather, outside of its INT8 regions.
    place_code: a learned vector per place, for parts that always lie the same way.

    The dense relation lowers the similarity of places that are near: convolutions see those already, and with tied
    queries every place would otherwise look at itself alone.
    """

    closeness: Tensor

    def __init__(
        self, channels: int, key_channels: int, grid: tuple[int, int], *, dense: bool, sparse: bool,
        place_code: bool, groups: int = 1,
    ) -> None:  # fmt: skip
        super().__init__()
        if not dense and not sparse:
            raise ValueError("a graph layer without any relation: leave the layer out instead")
        self.dense, self.sparse = dense, sparse
        self.enter = nn.Sequential(nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels))
        self.place = nn.Parameter(torch.zeros(1, channels, *grid)) if place_code else None
        key_norm = nn.BatchNorm2d(key_channels)
        # unit variance would make each place's similarity to itself drown all others
        nn.init.constant_(key_norm.weight, 0.5)
        self.key = nn.Sequential(nn.Conv2d(channels, key_channels, 1, bias=False), key_norm)
        if dense:
            self.value = nn.Conv2d(channels, channels, 3, 1, 1)
            self.told = nn.Conv2d(channels, channels, 1)
        joined = channels * (int(dense) + int(sparse))
        self.leave = nn.Sequential(
            nn.Conv2d(joined, joined, 1, groups=groups, bias=False),
            nn.BatchNorm2d(joined),
            nn.ReLU(inplace=True),
            nn.Conv2d(joined, channels, 1, bias=False),
            nn.BatchNorm2d(channels),
        )
        self.register_buffer("closeness", grid_closeness(grid), persistent=False)

    def forward(self, features: Tensor) -> Tensor:
        nodes = self.enter(features)
        if self.place is not None:
            nodes = nodes + self.place
        related = []
        if self.dense:
            related.append(nodes + self.told(self._attend(self.key(nodes), self.value(nodes))))
        if self.sparse:
            related.append(axial_max_relative(nodes))
        result: Tensor = features + self.leave(torch.cat(related, 1))
        return result

    def _attend(self, key: Tensor, value: Tensor) -> Tensor:
        flat = key.flatten(2)  # (n, d, g * g)
        similarity = flat.transpose(1, 2) @ flat / flat.shape[1] ** 0.5 - self.closeness
        # symmetric before the softmax: row i holds whom place i asks
        asked = functional.softmax(similarity, -1)
        return (value.flatten(2) @ asked.transpose(1, 2)).reshape(value.shape)


def axial_max_relative(nodes: Tensor) -> Tensor:
    """max over every second place j of the same row or column of node j - node i; never negative, as i counts too.

    Shifts wrap around, and double: three of them reach all of sixteen places.
    """
    largest = nodes
    for axis in (2, 3):
        along, shift = nodes, _AXIAL_STEP
        while shift < nodes.shape[axis]:
            along = torch.maximum(along, along.roll(shift, axis))
            shift *= 2
        largest = torch.maximum(largest, along)
    return largest - nodes


def grid_closeness(grid: tuple[int, int]) -> Tensor:
    """(r * c, r * c) for r rows and c columns: similarity of two places' sine and cosine codes, half a turn over the
    grid each way.

    1 for the same place, falling steadily to nearly -1 for opposite corners.
    """
    angles = [torch.arange(side) * (math.pi / side) for side in grid]
    down, across = (torch.cos(angle[:, None] - angle[None]) for angle in angles)  # sin sin + cos cos
    places = grid[0] * grid[1]
    return ((down[:, None, :, None] + across[None, :, None, :]) / 2).reshape(places, places)
