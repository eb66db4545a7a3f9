"""Large depth-wise kernels in place of attention: a masked autoencoder that quantises, with a pixel-wise defect head.

The reconstruction passes a bottleneck and has no skip connections. The evidence path beside it has them, and sees the
difference between the picture and its reconstruction: a defect of two pixels must reach the last layer undiminished.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from training.networks.blocks import conv_block, mix, stem
from training.networks.masked_autoencoder import Inspection, LogitHead, MaskedAutoencoder, blanked, with_prior

KERNEL = 7
# scales with a logit of their own in training: a half, a quarter and an eighth of the side
SUPERVISED_SCALES = 3


class LargeKernelBlock(nn.Module):
    """Depth-wise 7x7, then two 1x1 convolutions with one ReLU between; added to its input, (n, width, h, w)."""

    def __init__(self, width: int, expansion: int = 2) -> None:
        super().__init__()
        self.change = nn.Sequential(
            nn.Conv2d(width, width, KERNEL, 1, KERNEL // 2, groups=width, bias=False),
            nn.BatchNorm2d(width),
            nn.Conv2d(width, expansion * width, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(expansion * width, width, 1, bias=False),
            nn.BatchNorm2d(width),
        )

    def forward(self, features: Tensor) -> Tensor:
        result: Tensor = features + self.change(features)
        return result


class LargeKernelNetwork(MaskedAutoencoder):
    """Reconstruct pictures (n, 3, s, s) in -1..1 and say where they are defective; s is a multiple of `stride`.

    widths: channels at a half, a quarter ... of the side. blocks: large-kernel blocks of each. The first level has
    plain 3x3 convolutions, because depth-wise ones at half the side cost more than they see.
    """

    def __init__(
        self, widths: Sequence[int], blocks: Sequence[int], bottleneck: int, sees_difference: bool = True
    ) -> None:
        super().__init__()
        self.stride = 2 ** len(widths)
        levels = [stem(widths[0])]
        for (narrow, wide), count in zip(itertools.pairwise(widths), blocks, strict=True):
            levels.append(
                nn.Sequential(conv_block(narrow, wide, stride=2), *(LargeKernelBlock(wide) for _ in range(count)))
            )
        self.encoder = nn.ModuleList(levels)
        self.squeeze = nn.Conv2d(widths[-1], bottleneck, 1)
        self.expand = conv_block(bottleneck, widths[-1])
        # from coarse to fine
        self.decoder = nn.ModuleList(
            nn.Sequential(mix(wide, narrow), nn.Upsample(scale_factor=2, mode="nearest"), conv_block(narrow, narrow))
            for wide, narrow in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        # named apart: export leaves it unquantised so that the INT8 step is not the residual's floor
        self.head = nn.Sequential(nn.Conv2d(widths[0], 12, 3, 1, 1), nn.PixelShuffle(2))
        inner = widths[:0:-1]
        below = (0, *inner[:-1])
        self.evidence = nn.ModuleList(
            nn.Sequential(mix(2 * width + coarser, width), LargeKernelBlock(width))
            for width, coarser in zip(inner, below, strict=True)
        )
        self.coarse_logits = nn.ModuleList(
            with_prior(nn.Conv2d(width, 1, 1)) for width in inner[-SUPERVISED_SCALES + 1 :]
        )
        self.enlarge = nn.Upsample(scale_factor=2, mode="nearest")
        self.logit_head = LogitHead(2 * widths[0] + widths[1], widths[0], sees_difference)

    def slow_parameters(self) -> list[nn.Parameter]:
        return [*self.encoder.parameters(), *self.squeeze.parameters()]

    def reconstruct_masked(self, image: Tensor, masked: Tensor) -> Tensor:
        recon: Tensor = self.head(self._decode(self._encode(blanked(image, masked)))[-1])
        return recon

    def inspect(self, image: Tensor) -> Inspection:
        encoded = self._encode(image)
        decoded = self._decode(encoded)
        recon = self.head(decoded[-1])
        *steps, finest = self._evidence(encoded, decoded)
        coarse = steps[-len(self.coarse_logits) :]
        logits = [head(features) for head, features in zip(self.coarse_logits, coarse, strict=True)]
        return Inspection(recon, [*logits, self.logit_head(finest, image, recon)])

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        encoded = self._encode(image)
        decoded = self._decode(encoded)
        recon = self.head(decoded[-1])
        finest = self._evidence(encoded, decoded)[-1]
        return {"recon": recon, "seg_logit": self.logit_head(finest, image, recon)}

    def _encode(self, image: Tensor) -> list[Tensor]:
        """Features of every level, fine to coarse."""
        features = []
        for level in self.encoder:
            image = level(image)
            features.append(image)
        return features

    def _decode(self, encoded: list[Tensor]) -> list[Tensor]:
        """Features of every level, coarse to fine, from the bottleneck alone."""
        features = [self.expand(self.squeeze(encoded[-1]))]
        for level in self.decoder:
            features.append(level(features[-1]))
        return features

    def _evidence(self, encoded: list[Tensor], decoded: list[Tensor]) -> list[Tensor]:
        """What was seen beside what was expected, coarse to fine; the last is the input of the logit head."""
        features: list[Tensor] = []
        for level, seen, expected in zip(self.evidence, encoded[:0:-1], decoded[:-1], strict=True):
            coarser = [self.enlarge(features[-1])] if features else []
            features.append(level(torch.cat([seen, expected, *coarser], 1)))
        features.append(torch.cat([encoded[0], decoded[-1], self.enlarge(features[-1])], 1))
        return features
