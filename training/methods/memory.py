"""Memory: what a frozen encoder sees of good parts is kept, and what is far from all of it is a defect.

PatchCore (Roth et al., 2022). Nothing is trained: the network hands on features, and calibration/memory fits the memory
to them after the export.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from edge.core.manifest import ScoreSpec
from training.methods.base import Design, Layout, Learner, OutputName, TrainingData, Variant
from training.methods.score_candidates import sum_candidates
from training.networks.efficientnet_lite import EfficientNetLite
from training.networks.heads import encoder

# no deeper: two thirds of the operations and a quarter of the weights, and what is missing or out of place shows less
_LIGHT = ("tap2", "tap3", "tap4")


class MemoryLearner(Learner):
    """The encoder, with the taps that memories compare: all, or those of `light`."""

    network: EfficientNetLite

    def __init__(self, light: bool) -> None:
        super().__init__()
        self.network = EfficientNetLite(_LIGHT) if light else encoder()

    def attach(self, data: TrainingData) -> None:
        super().attach(data)
        self.weights_sha256 = self.network.load_weights(data.weights)


class Memory:
    """Method protocol."""

    name: Literal["memory"] = "memory"
    outputs: ClassVar[tuple[OutputName, ...]] = ("emb_dist",)
    ablations: ClassVar[tuple[str, ...]] = ()
    variants: ClassVar[dict[str, Variant]] = {
        "smoke": Variant(64, (), pretrained=True, takes_weights=True),
        "pretrained": Variant(256, (), pretrained=True, takes_weights=True),
        "light": Variant(256, (), pretrained=True, takes_weights=True),
    }

    def learner(self, design: Design) -> Learner:
        return MemoryLearner(design.variant == "light")

    def score_candidates(self, size: int, layout: Layout) -> dict[str, ScoreSpec]:
        return sum_candidates(self.outputs, (size, size), layout)
