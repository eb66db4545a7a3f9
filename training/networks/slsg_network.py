"""The network of SLSG: encoder, graph layer, attended skips, decoder to an anomaly logit and an embedding distance."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from training.networks.blocks import conv_block
from training.networks.checkpoints import load_in_order
from training.networks.slsg_graph import GraphLayer

_EMBEDDING_CHANNELS, _AUX_CHANNELS = 32, 32


@dataclass(frozen=True)
class Shape:
    """Sizes of one variant.

    widths: channels at 1/2, 1/4, 1/8 ... of the side. decoder: channels of the decoder at the same places but the last.
    residual: encoder of residual blocks, two a level, as ResNet-18 without its max-pool.
    """

    size: int
    widths: tuple[int, ...]
    decoder: tuple[int, ...]
    key_channels: int
    residual: bool = False
    groups: int = 1

    @property
    def grid(self) -> int:
        return self.size >> len(self.widths)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions beside a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.body = nn.Sequential(
            conv_block(inputs, outputs, stride),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )  # fmt: skip
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return result


class PyramidEncoder(nn.Module):
    """(n, 3, s, s) → features at 1/2, 1/4, ... of the side, one per width."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        kernel = 7 if shape.residual else 6
        stem = nn.Sequential(
            nn.Conv2d(3, shape.widths[0], kernel, stride=2, padding=(kernel - 1) // 2, bias=False),
            nn.BatchNorm2d(shape.widths[0]),
            nn.ReLU(inplace=True),
        )
        block = BasicBlock if shape.residual else conv_block
        first = [block(shape.widths[0], shape.widths[0]) for _ in range(2 if shape.residual else 1)]
        levels = [nn.Sequential(stem, *first)]
        for narrow, wide in itertools.pairwise(shape.widths):
            levels.append(nn.Sequential(block(narrow, wide, 2), block(wide, wide)))
        self.levels = nn.ModuleList(levels)

    def forward(self, image: Tensor) -> list[Tensor]:
        features = [image]
        for level in self.levels:
            features.append(level(features[-1]))
        return features[1:]

    def load_weights(self, file: Path) -> str:
        """Those of a ResNet-18 as torchvision saves it, for residual blocks; gives the file's sha256.

        Raises UsageError where the file does not fit.
        """
        return load_in_order(self, file, "ResNet-18")


class LargeKernelAttention(nn.Module):
    """Let a wide neighbourhood decide what of a skip is passed on: x + conv(relu(x * far(near(x)))).

    Published with a 3x3 kernel of dilation 3, whose weight gradient came out as NaN now and then in bfloat16 on a CPU
    (torch 2.13); a 7x7 kernel sees the same square and holds that one among others.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weigh = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=channels),
            nn.Conv2d(channels, channels, 7, padding=3, groups=channels),
            nn.Conv2d(channels, channels, 1),
        )
        self.relu = nn.ReLU(inplace=True)
        self.leave = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = x + self.leave(self.relu(x * self.weigh(x)))
        return result


class SlsgNetwork(nn.Module):
    """Picture in -1..1 → `seg_logit` (n, 1, s, s), the auxiliary logit added, and `emb_dist` (n, 1, g, g).

    ablations: `graph`, `dense` or `sparse` leave out that relation. emb_dist is sqrt(|embedding - centre|^2 + 1) - 1.
    """

    centre: Tensor

    def __init__(self, shape: Shape, *, aligned: bool, ablations: frozenset[str] = frozenset()) -> None:
        super().__init__()
        deepest = shape.widths[-1]
        dense, sparse = "dense" not in ablations, "sparse" not in ablations
        self.encoder = PyramidEncoder(shape)
        self.graph: nn.Module = nn.Identity()
        if "graph" not in ablations and (dense or sparse):
            self.graph = GraphLayer(
                deepest, shape.key_channels, (shape.grid, shape.grid), dense=dense, sparse=sparse,
                place_code=aligned, groups=shape.groups,
            )  # fmt: skip
        # the first skip is the widest plane and says the least: it passes as it is
        self.skips = nn.ModuleList([nn.Identity(), *(LargeKernelAttention(width) for width in shape.widths[1:-1])])
        self.aux_features = conv_block(deepest, _AUX_CHANNELS)
        self.aux_head = nn.Conv2d(_AUX_CHANNELS, 1, 1)
        self.aux_scale = nn.Upsample(scale_factor=2 ** len(shape.widths), mode="nearest")
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        inputs = (*shape.decoder[1:], deepest)
        self.reduce = nn.ModuleList(conv_block(i, o) for i, o in zip(inputs, shape.decoder, strict=True))
        self.merge = nn.ModuleList()
        # the two deepest stages hear the auxiliary features
        self.hears_aux = [level >= len(shape.decoder) - 2 for level in range(len(shape.decoder))]
        for hears, width, outputs in zip(self.hears_aux, shape.widths, shape.decoder, strict=False):
            self.merge.append(conv_block(outputs + width + (_AUX_CHANNELS if hears else 0), outputs))
        # named apart: export leaves the last convolution of each output unquantised
        self.head = nn.Sequential(nn.Conv2d(shape.decoder[0], 4, 3, 1, 1), nn.PixelShuffle(2))
        self.embed = nn.Conv2d(deepest, _EMBEDDING_CHANNELS, 1)
        self.register_buffer("centre", torch.zeros(1, _EMBEDDING_CHANNELS, 1, 1))

    def features(self, image: Tensor) -> list[Tensor]:
        """Features of every level; the last has been through the graph."""
        *skips, deepest = self.encoder(image)
        return [*skips, self.graph(deepest)]

    def distance(self, embedding: Tensor) -> Tensor:
        """Pseudo-Huber distance of an embedding to the centre of normal parts, >= 0, (n, 1, g, g)."""
        # not in half precision: near the centre the root would lose what it tells apart
        squared = (embedding.float() - self.centre).square().sum(1, keepdim=True)
        return torch.sqrt(squared + 1) - 1

    def parts(self, image: Tensor) -> dict[str, Tensor]:
        """seg_logit, aux_logit (both at full size) and centre_dist: what training looks at."""
        *skips, deepest = self.features(image)
        seg_logit, aux_logit = self._logits(skips, deepest)
        return {"seg_logit": seg_logit, "aux_logit": aux_logit, "centre_dist": self.distance(self.embed(deepest))}

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        *skips, deepest = self.features(image)
        return {"seg_logit": self._logits(skips, deepest)[0], "emb_dist": self.distance(self.embed(deepest))}

    def _logits(self, skips: list[Tensor], deepest: Tensor) -> tuple[Tensor, Tensor]:
        """seg_logit, which contains the auxiliary one, and aux_logit."""
        aux_plane = self.aux_features(deepest)
        aux = self.aux_scale(self.aux_head(aux_plane))
        x = deepest
        for level in reversed(range(len(skips))):
            x, aux_plane = self.reduce[level](self.up(x)), self.up(aux_plane)
            joined = [x, self.skips[level](skips[level])] + ([aux_plane] if self.hears_aux[level] else [])
            x = self.merge[level](torch.cat(joined, 1))
        return self.head(x) + aux, aux


class MirroredDecoder(nn.Module):
    """Deepest features → (n, 3, s, s) in -1..1; light, without skips, and thrown away after pre-training."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        blocks: list[nn.Module] = []
        for wide, narrow in itertools.pairwise(reversed(shape.widths)):
            blocks += [nn.Upsample(scale_factor=2, mode="nearest"), conv_block(wide, narrow)]
        self.body = nn.Sequential(*blocks)
        self.head = nn.Sequential(nn.Conv2d(shape.widths[0], 12, 3, 1, 1), nn.PixelShuffle(2))

    def forward(self, deepest: Tensor) -> Tensor:
        result: Tensor = self.head(self.body(deepest))
        return result
