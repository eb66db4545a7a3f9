"""The deployed networks of the methods with a frozen encoder: their own outputs, and the taps a memory is fitted to.

All take (n, 3, h, w) in -1..1, h and w multiples of 32. Logits are enlarged to the size of the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from training.networks.blocks import EdgeTrunk
from training.networks.efficientnet_lite import TAPS
from training.networks.feature_decoder import FeatureDecoder
from training.networks.heads import (
    LEVELS,
    LOGIT_SCALE,
    ComparingHead,
    SegmentationHead,
    Standardised,
    at_full_size,
    encoder,
    handed_on,
)
from training.networks.slsg_graph import GraphLayer

Taps = dict[str, Tensor]
# of tap2, where an error of features is measured
ERROR_SCALE = TAPS["tap2"].stride
_KEYS = 32


def _grid(field: tuple[int, int], tap: str) -> tuple[int, int]:
    return field[0] // TAPS[tap].stride, field[1] // TAPS[tap].stride


class RelatedHead(nn.Module):
    """SLSG: the deepest features of the head pass through a graph layer, which relates every place to every other.

    ablations: `graph`, `dense` or `sparse` leave out that relation. Returns seg_logit and taps.
    """

    def __init__(self, field: tuple[int, int], *, aligned: bool, ablations: frozenset[str] = frozenset()) -> None:
        super().__init__()
        dense, sparse = "dense" not in ablations, "sparse" not in ablations
        self.encoder = encoder()
        self.graph: nn.Module = nn.Identity()
        if "graph" not in ablations and (dense or sparse):
            self.graph = GraphLayer(
                TAPS["tap4"].channels, _KEYS, _grid(field, "tap4"), dense=dense, sparse=sparse, place_code=aligned
            )
        self.head = SegmentationHead()

    def logit(self, taps: Taps) -> Tensor:
        """(n, 1, h/4, w/4)."""
        result: Tensor = self.head(taps | {"tap4": self.graph(taps["tap4"])})
        return result

    def forward(self, image: Tensor) -> Taps:
        taps = self.encoder(image)
        return {"seg_logit": at_full_size(self.logit(taps)), **handed_on(taps)}


class FeatureReconstructor(nn.Module):
    """KIST: features of good parts are rebuilt, and what cannot be is the evidence.

    Returns recon, a picture for people; seg_logit, the squared error of the features in standard deviations of good
    parts at each place (one place for all where parts have a free layout), and taps.
    """

    error_mean: Tensor
    error_inv_std: Tensor

    def __init__(self, field: tuple[int, int], *, aligned: bool) -> None:
        super().__init__()
        self.encoder = encoder()
        self.standardised = Standardised(LEVELS)
        self.decoder = FeatureDecoder(_grid(field, "tap4"), aligned=aligned)
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        for name in ("error_mean", "error_inv_std"):
            self.register_buffer(name, torch.zeros(1, 1, *_grid(field, "tap2")))

    def errors(self, taps: Taps) -> tuple[Tensor, Taps, Tensor]:
        """Squared error (n, 1, h/8, w/8) of the features, those features rebuilt, and the picture."""
        seen = self.standardised(taps)
        made, picture = self.decoder(seen["tap4"])
        return self.error_of(seen, made), made, picture

    def error_of(self, target: Taps, made: Taps) -> Tensor:
        """Squared error (n, 1, h/8, w/8) of standardised features: the mean of two scales, over 3 x 3 places."""
        deep, middle = ((target[name] - made[name]).square().mean(1, keepdim=True) for name in ("tap4", "tap2"))
        return functional.avg_pool2d((self.up(deep) + middle) / 2, 3, 1, 1, count_include_pad=False)

    def in_deviations(self, error: Tensor) -> Tensor:
        """The error in standard deviations above good parts; zero until those are measured."""
        return (error - self.error_mean) * self.error_inv_std

    def forward(self, image: Tensor) -> Taps:
        taps = self.encoder(image)
        error, _, picture = self.errors(taps)
        return {
            "recon": picture,
            "seg_logit": at_full_size(self.in_deviations(error), ERROR_SCALE),
            **handed_on(taps),
        }


class MaskedFeatures(nn.Module):
    """ISSTAD: a decoder rebuilds features and picture of a good part, and a head compares them with what is seen.

    difference: without it, the head is not shown the difference of the two. Returns recon, seg_logit and taps.
    """

    def __init__(self, field: tuple[int, int], *, aligned: bool, difference: bool = True) -> None:
        super().__init__()
        self.encoder = encoder()
        self.standardised = Standardised(LEVELS)
        self.decoder = FeatureDecoder(_grid(field, "tap4"), aligned=aligned)
        self.head = ComparingHead(difference=difference)

    def rebuilt(self, taps: Taps) -> tuple[Taps, Tensor]:
        """Standardised features and the picture in -1..1."""
        made, picture = self.decoder(self.standardised(taps)["tap4"])
        return made, picture

    def forward(self, image: Tensor) -> Taps:
        taps = self.encoder(image)
        seen = self.standardised(taps)
        made, picture = self.decoder(seen["tap4"])
        logit = self.head(seen, made, image, picture)[-1]
        return {"recon": picture, "seg_logit": at_full_size(logit, LOGIT_SCALE), **handed_on(taps)}


class SiameseSegmenter(nn.Module):
    """Sparsity prior: a generator repairs the picture, and the same encoder looks at both.

    Returns recon, seg_logit and taps.
    """

    def __init__(self, widths: tuple[int, ...], bottleneck: int) -> None:
        super().__init__()
        self.encoder = encoder()
        self.generator = EdgeTrunk(widths, bottleneck)
        self.segmenter = ComparingHead()

    def forward(self, image: Tensor) -> Taps:
        taps, recon = self.encoder(image), self.generator(image)
        logit = self.segmenter(taps, self.encoder(recon, LEVELS[0]), image, recon)[-1]
        return {"recon": recon, "seg_logit": at_full_size(logit, LOGIT_SCALE), **handed_on(taps)}
