"""A decoder of features: from what a frozen encoder sees, through a bottleneck, to what it would see of a good part."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from training.networks.blocks import conv_block
from training.networks.efficientnet_lite import TAPS

_WIDTHS = (64, 48, 32)
# parts that lie the same way pass few numbers at 1/32, so that a missing or foreign part cannot; other layouts need
# many more, at 1/16
_ALIGNED, _FREE = 16, 48


class FeatureDecoder(nn.Module):
    """Standardised tap4 → standardised tap4, tap2 and tap1, and the picture (n, 3, h, w) in -1..1.

    grid: (rows, columns) of tap4. aligned: a narrow bottleneck, and a learned code for each place.
    """

    def __init__(self, grid: tuple[int, int], *, aligned: bool) -> None:
        super().__init__()
        deep, middle, fine = _WIDTHS
        stride, narrow = (2, _ALIGNED) if aligned else (1, _FREE)
        self.squeeze = nn.Sequential(conv_block(TAPS["tap4"].channels, deep, stride), nn.Conv2d(deep, narrow, 1))
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.expand = nn.Sequential(conv_block(narrow, deep), *([self.up] if aligned else []))
        self.place = nn.Parameter(torch.zeros(1, deep, *grid)) if aligned else None
        self.deep, self.middle, self.fine = conv_block(deep, deep), conv_block(deep, middle), conv_block(middle, fine)
        levels = zip(_WIDTHS, ("tap4", "tap2", "tap1"), strict=True)
        self.tap4, self.tap2, self.tap1 = (nn.Conv2d(width, TAPS[name].channels, 1) for width, name in levels)
        self.picture = nn.Sequential(nn.Conv2d(fine, 48, 3, 1, 1), nn.PixelShuffle(4))

    def forward(self, deepest: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """The features by tap, and the picture."""
        x = self.expand(self.squeeze(deepest))
        if self.place is not None:
            x = x + self.place
        x = self.deep(x)
        made = {"tap4": self.tap4(x)}
        x = self.middle(self.up(x))
        made["tap2"] = self.tap2(x)
        x = self.fine(self.up(x))
        made["tap1"] = self.tap1(x)
        return made, self.picture(x)
