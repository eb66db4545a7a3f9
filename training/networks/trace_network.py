"""A small U-Net that says where a picture of two tones is defective, at the picture's own scale."""

from __future__ import annotations

import itertools
from typing import Final

import torch
from torch import Tensor, nn

from training.networks.blocks import conv_block, stem

WIDTHS = (16, 32, 48, 64)
# pixels each way that one logit stands for
SCALE: Final = 2


class TraceNetwork(nn.Module):
    """Pictures (n, 3, h, w) in -1..1 → {"seg_logit": (n, 1, h, w)}, equal in squares of SCALE pixels.

    Sides are multiples of `stride`.
    Skip connections on every level: a nick of five pixels must reach the last layer, and nothing is reconstructed.
    0.65 GMAC for 320 x 320 px with WIDTHS.
    """

    def __init__(self, widths: tuple[int, ...] = WIDTHS) -> None:
        super().__init__()
        self.stride = 2 ** len(widths)
        self.down = nn.ModuleList([nn.Sequential(stem(widths[0], 4), conv_block(widths[0], widths[0]))])
        self.up = nn.ModuleList()
        for narrow, wide in itertools.pairwise(widths):
            self.down.append(nn.Sequential(conv_block(narrow, wide, stride=2), conv_block(wide, wide)))
            self.up.insert(0, conv_block(wide + narrow, narrow))
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.head = nn.Conv2d(widths[0], 1, 1)
        # few pixels are defective: begin by saying so, or the first hundred steps learn nothing else
        assert self.head.bias is not None
        nn.init.constant_(self.head.bias, -4.0)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        # nearest, so that a map of half the side is exactly what was computed
        return {"seg_logit": self.enlarge(self.logit(image))}

    def logit(self, image: Tensor) -> Tensor:
        """(n, 1, h / 2, w / 2)."""
        levels, hidden = [], image
        for block in self.down:
            hidden = block(hidden)
            levels.append(hidden)
        for block, level in zip(self.up, levels[-2::-1], strict=True):
            hidden = block(torch.cat([self.enlarge(hidden), level], 1))
        found: Tensor = self.head(hidden)
        return found
