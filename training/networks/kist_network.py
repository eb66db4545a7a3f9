"""The reconstructors of KIST: a trunk with a bottleneck for the edge, a U-Net on high frequencies for a GPU."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.blocks import EdgeTrunk, conv_block


class Reconstructor(nn.Module):
    """EdgeTrunk with its output named."""

    def __init__(self, widths: tuple[int, ...], bottleneck: int) -> None:
        super().__init__()
        self.trunk = EdgeTrunk(widths, bottleneck)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        return {"recon": self.trunk(image)}


class HighPassReconstructor(nn.Module):
    """Reconstruct (n, 3, s, s) in -1..1 from its high frequencies; s is a multiple of 16.

    The network must know what belongs to the edges it sees: colours and grey levels are not shown to it, and cannot be
    copied. So encoder features may be added to the decoder's, but for those of full resolution, which would let fine
    defects pass. Five levels, two convolutions each on the way down and up, of `width` times 1, 2, 4, 8 and 8 channels.
    """

    BOX = 15

    def __init__(self, width: int) -> None:
        super().__init__()
        widths = [width, 2 * width, 4 * width, 8 * width, 8 * width]
        # a convolution with fixed weights and not a subtraction: quantisation knows the one, and not the other
        self.high_pass = nn.Conv2d(6, 3, 1, bias=False)
        self.high_pass.weight.requires_grad_(False)
        with torch.no_grad():
            self.high_pass.weight.copy_(torch.cat([torch.eye(3), -torch.eye(3)], 1)[:, :, None, None])
        self.down = nn.ModuleList(
            nn.Sequential(conv_block(narrow, wide), conv_block(wide, wide))
            for narrow, wide in itertools.pairwise([3, *widths])
        )
        self.up = nn.ModuleList(
            nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), conv_block(wide, narrow))
            for wide, narrow in itertools.pairwise(widths[::-1])
        )
        self.join = nn.ModuleList(conv_block(channels, channels) for channels in widths[-2::-1])
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Conv2d(width, 3, 3, 1, 1)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        low = functional.avg_pool2d(image, self.BOX, 1, self.BOX // 2, count_include_pad=False)
        features = self.down[0](self.high_pass(torch.cat([image, low], 1)))
        kept = []
        for level in itertools.islice(self.down, 1, None):
            features = level(self.pool(features))
            kept.append(features)
        kept.pop()
        for up, join in zip(self.up, self.join, strict=True):
            features = up(features)
            features = join(features + kept.pop() if kept else features)
        return {"recon": self.head(features)}
