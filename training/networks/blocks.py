"""Network parts that quantise cleanly: 3x3 convolution, batch norm, ReLU, nearest up-sampling, pixel shuffle."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

from torch import Tensor, nn


def stem(width: int, kernel: int = 6, planes: int = 3) -> nn.Sequential:
    """Planes → `width` at half the side; kernel 6 equals space-to-depth and a 3x3 convolution, in one step."""
    return nn.Sequential(
        nn.Conv2d(planes, width, kernel, stride=2, padding=kernel // 2 - 1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(inplace=True),
    )


def mix(inputs: int, outputs: int) -> nn.Sequential:
    """1x1 convolution, batch norm, ReLU."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs), nn.ReLU(inplace=True))


def conv_block(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """3x3 convolution, batch norm, ReLU; the batch norm folds into the convolution at export."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


@dataclass(frozen=True)
class TrunkFeatures:
    """What the encoder of an EdgeTrunk sees of a picture, and of its reconstruction: finest level first, level l at a
    side of s / 2^(l + 1). One encoder saw both, so that the two can be compared.
    """

    seen: list[Tensor]
    made: list[Tensor]
    reconstruction: Tensor


class EdgeTrunk(nn.Module):
    """Reconstruct (n, 3, s, s) in -1..1 through an information bottleneck; s is a multiple of `stride`.

    Half the side from the first layer on, because narrow full-resolution layers are what costs on a CPU
    (docs/methods.md, network shapes). There are no skip connections: what the bottleneck cannot carry must show up in
    the residual.
    """

    def __init__(self, widths: tuple[int, ...], bottleneck: int) -> None:
        super().__init__()
        self.stride = 2 ** len(widths)
        encoder: list[nn.Module] = [stem(widths[0]), conv_block(widths[0], widths[0])]
        for narrow, wide in itertools.pairwise(widths):
            encoder += [conv_block(narrow, wide, stride=2), conv_block(wide, wide)]
        encoder += [nn.Conv2d(widths[-1], bottleneck, 1)]
        decoder: list[nn.Module] = [conv_block(bottleneck, widths[-1])]
        for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True):
            decoder += [
                nn.Upsample(scale_factor=2, mode="nearest"),
                conv_block(wide, narrow),
                conv_block(narrow, narrow),
            ]
        self.encoder = nn.Sequential(*encoder)
        self.decoder = nn.Sequential(*decoder)
        # named apart: export leaves it unquantised so that the INT8 step is not the residual's floor
        self.head = nn.Sequential(nn.Conv2d(widths[0], 12, 3, 1, 1), nn.PixelShuffle(2))

    def forward(self, image: Tensor) -> Tensor:
        reconstruction: Tensor = self.head(self.decoder(self.encoder(image)))
        return reconstruction

    def features(self, image: Tensor) -> TrunkFeatures:
        """The reconstruction, with what the encoder sees of it and of the picture."""
        seen, code = self._encoded(image)
        reconstruction: Tensor = self.head(self.decoder(code))
        return TrunkFeatures(seen, self._encoded(reconstruction)[0], reconstruction)

    def _encoded(self, image: Tensor) -> tuple[list[Tensor], Tensor]:
        """Features of every level, and the code that passes the bottleneck."""
        levels, hidden = [], image
        for index, layer in enumerate(self.encoder):
            hidden = layer(hidden)
            # two layers a level; behind the last level follows the bottleneck alone
            if index % 2:
                levels.append(hidden)
        return levels, hidden
