"""What both forms of ISSTAD's network share: how training looks at them, and the head that writes pixel logits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from training.networks.blocks import conv_block, mix, stem

PATCH = 16
# about one pixel in a hundred is defective: starting from even odds, the first steps would learn nothing but that
PRIOR_LOGIT = -4.6


@dataclass(frozen=True)
class Inspection:
    """What training sees of one batch: the reconstruction in -1..1, and logits from the coarsest to the deployed one.

    Logits are (n, 1, h, w); a coarse one speaks for whole cells of pixels.
    """

    recon: Tensor
    logits: list[Tensor]


class MaskedAutoencoder(nn.Module):
    """Takes (n, 3, s, s) in -1..1; `forward` gives the deployed outputs by name, `inspect` what they are taught by."""

    def reconstruct_masked(self, image: Tensor, masked: Tensor) -> Tensor:
        """Reconstruction (n, 3, s, s) without the masked patches, (n, 1, s/16, s/16) bool, as many in every picture."""
        raise NotImplementedError

    def inspect(self, image: Tensor) -> Inspection:
        raise NotImplementedError

    def slow_parameters(self) -> list[nn.Parameter]:
        """Those that learned from good parts alone, and should forget little of it."""
        raise NotImplementedError


def blanked(image: Tensor, masked: Tensor) -> Tensor:
    """The pictures with zero, the middle of the range, in their masked patches (n, 1, s/16, s/16)."""
    return image.masked_fill(masked.repeat_interleave(PATCH, 2).repeat_interleave(PATCH, 3), 0.0)


LogitLayer = TypeVar("LogitLayer", nn.Conv2d, nn.Linear)


def with_prior(layer: LogitLayer, prior: float = PRIOR_LOGIT) -> LogitLayer:
    """The layer, its bias set to the logit it shall start from."""
    assert layer.bias is not None, "a layer of logits has a bias"
    nn.init.constant_(layer.bias, prior)
    return layer


class LogitHead(nn.Module):
    """Pixel logits (n, 1, 2h, 2w) from features (n, inputs, h, w), the picture and what the reconstruction differs in.

    It looks at the picture itself, because the encoder learns slowly by then. The difference carries no gradient back:
    the head may read what the network could not explain, but not teach the reconstruction to mark defects.
    """

    def __init__(self, inputs: int, width: int, sees_difference: bool, prior: float = PRIOR_LOGIT) -> None:
        super().__init__()
        self.sees_difference = sees_difference
        self.look = stem(width, kernel=4, planes=6 if sees_difference else 3)
        self.mix = mix(inputs + width, width)
        self.smooth = conv_block(width, width)
        # the last convolution stays unquantised
        self.logit = nn.Sequential(with_prior(nn.Conv2d(width, 4, 3, 1, 1), prior), nn.PixelShuffle(2))

    def forward(self, features: Tensor, image: Tensor, recon: Tensor) -> Tensor:
        if self.sees_difference:
            image = torch.cat([image, (image - recon.detach()).abs()], 1)
        logit: Tensor = self.logit(self.smooth(self.mix(torch.cat([features, self.look(image)], 1))))
        return logit
