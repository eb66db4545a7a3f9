"""A segmenter that compares a picture with its reconstruction, from the reconstructor's own features."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from training.networks.blocks import TrunkFeatures, conv_block

# a pixel's probability before anything is learned: defects are rare, and starting at one half wastes steps on saying so
_PRIOR_LOGIT = -4.0


class Comparison(nn.Module):
    """What two feature maps and their absolute difference say, in `outputs` channels; before a ReLU.

    Equal to one convolution over all three joined. Kept apart, each has a scale of its own in INT8, and the small
    differences of good parts are not rounded to the scale of the features; the difference itself is taken in floating
    point. difference: False leaves it out.
    """

    def __init__(self, inputs: int, outputs: int, stride: int = 1, *, difference: bool = True) -> None:
        super().__init__()

        def lateral() -> nn.Sequential:
            return nn.Sequential(
                nn.Conv2d(inputs, outputs, stride, stride, bias=False), nn.BatchNorm2d(outputs)
            )  # fmt: skip

        self.seen, self.made = lateral(), lateral()
        self.difference = lateral() if difference else None

    def forward(self, seen: Tensor, made: Tensor) -> Tensor:
        compared: Tensor = self.seen(seen) + self.made(made)
        return compared if self.difference is None else compared + self.difference((seen - made).abs())


class FusionSegmenter(nn.Module):
    """One logit per pixel by progressive fusion, from the coarsest level of an EdgeTrunk to the picture itself.

    At each level what the encoder sees of the picture is compared with what it sees of the reconstruction, and added to
    the up-sampled result of the coarser level; a 3x3 convolution follows. widths: of the trunk, finest first.
    """

    def __init__(self, widths: tuple[int, ...], width: int) -> None:
        super().__init__()
        # the picture joins the finest level, which has half its side
        self.pictures = Comparison(3, width, stride=2)
        self.levels = nn.ModuleList(Comparison(channels, width) for channels in widths)
        self.fusions = nn.ModuleList(conv_block(width, width) for _ in widths)
        last = nn.Conv2d(width, 4, 3, 1, 1)
        nn.init.constant_(last.bias, _PRIOR_LOGIT)  # type: ignore[arg-type]
        self.head = nn.Sequential(last, nn.PixelShuffle(2))

    def forward(self, image: Tensor, features: TrunkFeatures) -> Tensor:
        """(n, 1, s, s) from a picture (n, 3, s, s) in -1..1 and what a trunk made of it."""
        compared = [
            level(seen, made)
            for level, seen, made in zip(self.levels, features.seen, features.made, strict=True)
        ]  # fmt: skip
        compared[0] = compared[0] + self.pictures(image, features.reconstruction)
        fused: Tensor | None = None
        for comparison, fusion in zip(reversed(compared), reversed(self.fusions), strict=True):
            hidden = functional.relu(comparison)
            if fused is not None:
                hidden = hidden + functional.interpolate(fused, scale_factor=2.0, mode="nearest")
            fused = fusion(hidden)
        logit: Tensor = self.head(fused)
        return logit
