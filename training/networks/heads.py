"""Heads on the features of the frozen encoder: one that reads them, one that compares two sets of them."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.blocks import conv_block, mix
from training.networks.efficientnet_lite import TAPS, EfficientNetLite
from training.networks.fusion import Comparison
from training.networks.masked_autoencoder import with_prior

# from the coarsest to the finest: where a head begins, and what joins on its way
LEVELS = ("tap4", "tap2", "tap1")
# the finest of them has a quarter of the picture's side
LOGIT_SCALE = 4
_COARSE, _FINE = 32, 24
_FEWEST_DEVIATIONS = 1e-3


def encoder() -> EfficientNetLite:
    """The encoder with every tap that heads or a memory may look at."""
    return EfficientNetLite([name for name in TAPS if name != "tap0"])


def handed_on(taps: dict[str, Tensor]) -> dict[str, Tensor]:
    """The taps that a memory may be fitted to, as a network returns them."""
    return {name: values for name, values in taps.items() if name != "tap1"}


def at_full_size(plane: Tensor, scale: int = LOGIT_SCALE) -> Tensor:
    """(n, 1, h, w) → (n, 1, scale h, scale w)."""
    return functional.interpolate(plane, scale_factor=float(scale), mode="bilinear", align_corners=False)


class Standardised(nn.Module):
    """Taps in standard deviations of good parts, channel by channel; `fit` says what those are."""

    def __init__(self, taps: tuple[str, ...]) -> None:
        super().__init__()
        self.taps = taps
        for name in taps:
            channels = TAPS[name].channels
            self.register_buffer(f"{name}_mean", torch.zeros(1, channels, 1, 1))
            self.register_buffer(f"{name}_inv_std", torch.ones(1, channels, 1, 1))

    @torch.no_grad()
    def fit(self, taps: dict[str, Tensor]) -> None:
        """taps: of some good parts, (n, c, h, w) each."""
        for name in self.taps:
            spread, mean = torch.std_mean(taps[name].float(), (0, 2, 3), keepdim=True)
            self._buffer(name, "mean").copy_(mean)
            self._buffer(name, "inv_std").copy_(1 / spread.clamp(min=_FEWEST_DEVIATIONS))

    def forward(self, taps: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: (taps[name] - self._buffer(name, "mean")) * self._buffer(name, "inv_std") for name in self.taps}

    def _buffer(self, tap: str, what: str) -> Tensor:
        return cast(Tensor, getattr(self, f"{tap}_{what}"))


class SegmentationHead(nn.Module):
    """One logit per 4 x 4 pixels, (n, 1, h/4, w/4), from the taps of LEVELS: 0.07 GMAC at 256 x 256."""

    def __init__(self) -> None:
        super().__init__()
        deep, middle, fine = (TAPS[name].channels for name in LEVELS)
        self.deep = mix(deep, _COARSE)
        self.up = nn.Upsample(scale_factor=2, mode="nearest")
        self.middle = conv_block(_COARSE + middle, _COARSE)
        self.fine = conv_block(_COARSE + fine, _FINE)
        # named apart: export leaves the last convolution unquantised
        self.logit = with_prior(nn.Conv2d(_FINE, 1, 3, 1, 1))

    def forward(self, taps: dict[str, Tensor]) -> Tensor:
        x = self.middle(torch.cat([self.up(self.deep(taps["tap4"])), taps["tap2"]], 1))
        result: Tensor = self.logit(self.fine(torch.cat([self.up(x), taps["tap1"]], 1)))
        return result


class ComparingHead(nn.Module):
    """Logits from what is seen beside what was made of it, coarsest first, the last at a quarter of the side.

    At each level of LEVELS the features seen, those made and their absolute difference are joined; at the finest the
    picture and its reconstruction join too. The difference carries no gradient back: the head may read what could not
    be made, but not teach it to mark defects. difference: without it, the head sees the two apart.
    """

    def __init__(self, *, difference: bool = True) -> None:
        super().__init__()
        self.levels = nn.ModuleDict(
            {name: Comparison(TAPS[name].channels, _COARSE, difference=difference) for name in LEVELS}
        )
        self.pictures = Comparison(3, _COARSE, stride=LOGIT_SCALE, difference=difference)
        self.fusions = nn.ModuleDict({name: conv_block(_COARSE, _COARSE) for name in LEVELS})
        self.logits = nn.ModuleDict({name: with_prior(nn.Conv2d(_COARSE, 1, 1)) for name in LEVELS[:-1]})
        self.logits[LEVELS[-1]] = with_prior(nn.Conv2d(_COARSE, 1, 3, 1, 1))
        self.up = nn.Upsample(scale_factor=2, mode="nearest")

    def forward(self, seen: dict[str, Tensor], made: dict[str, Tensor], image: Tensor, recon: Tensor) -> list[Tensor]:
        logits: list[Tensor] = []
        fused: Tensor | None = None
        for name in LEVELS:
            compared = self.levels[name](seen[name], made[name].detach())
            if name == LEVELS[-1]:
                compared = compared + self.pictures(image, recon.detach())
            hidden = functional.relu(compared)
            if fused is not None:
                hidden = hidden + (self.up(fused) if fused.shape[-1] < hidden.shape[-1] else fused)
            fused = self.fusions[name](hidden)
            logits.append(self.logits[name](fused))
        return logits
