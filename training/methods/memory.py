"""Memory: what a frozen encoder sees of good parts is kept, and what is far from all of it is a defect.

PatchCore (Roth et al., 2022). Nothing is trained: the network hands on features, and calibration/memory fits the memory
to them after the export.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from edge.core.manifest import BlendSpec, ImageScoreSpec, NormSpec, ScoreSpec, SmoothSpec
from training.methods.base import Design, Layout, Learner, OutputName, TrainingData, Variant
from training.networks.efficientnet_lite import TAPS, EfficientNetLite

# of a field of 256 x 256 px, in map pixels of 4 x 4; the score is the mean of one in a hundred
_MAP_SCALE: Literal[4] = 4
_SIGMA_PX, _TOP = 4, 0.01
_TAU = 8.0


class MemoryLearner(Learner):
    """The encoder, with every tap a memory may compare."""

    network: EfficientNetLite

    def __init__(self) -> None:
        super().__init__()
        self.network = EfficientNetLite([name for name in TAPS if name != "tap0"])

    def attach(self, data: TrainingData) -> None:
        super().attach(data)
        self.network.load_weights()


class Memory:
    """Method protocol."""

    name: Literal["memory"] = "memory"
    outputs: ClassVar[tuple[OutputName, ...]] = ("emb_dist",)
    ablations: ClassVar[tuple[str, ...]] = ()
    variants: ClassVar[dict[str, Variant]] = {"smoke": Variant(64, ()), "pretrained": Variant(256, ())}

    def learner(self, design: Design) -> Learner:
        return MemoryLearner()

    def score_candidates(self, size: int, layout: Layout) -> dict[str, ScoreSpec]:
        side = size // _MAP_SCALE
        spec = ScoreSpec(
            map_scale=_MAP_SCALE,
            norm=NormSpec(kind="global", tau=_TAU),
            blend=BlendSpec(mode="sum"),
            smooth=SmoothSpec(kind="gaussian", radius=max(1, round(_SIGMA_PX * size / 256 / _MAP_SCALE))),
            image_score=ImageScoreSpec(k=max(1, round(_TOP * side * side))),
        )
        return {"distance": spec}
