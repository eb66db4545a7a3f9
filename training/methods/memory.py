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


class MemoryLearner(Learner):
    """The encoder, with every tap a memory may compare."""

    network: EfficientNetLite

    def __init__(self) -> None:
        super().__init__()
        self.network = encoder()

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
    }

    def learner(self, design: Design) -> Learner:
        return MemoryLearner()

    def score_candidates(self, size: int, layout: Layout) -> dict[str, ScoreSpec]:
        return sum_candidates(self.outputs, (size, size), layout)
