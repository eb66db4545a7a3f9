"""ISSTAD for printed circuits and other free layouts of two tones: the second stage alone, at the pictures' own scale.

Nothing is masked and nothing reconstructed: a trace that is not there cannot be told from what is left, and a via may
be anywhere. A small U-Net learns from artificial defects (preset `board`) to say where traces are eaten, grown, cut or
joined. What only the plan of the board knows (a round hole too many) it cannot find; a golden picture does
(edge/backends/golden.py).
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from edge.core.manifest import ImageScoreSpec, NormSpec, ScoreSpec, SmoothSpec
from training.losses import focal_loss
from training.methods.base import Batch, Learner, Stage, TrainingData, Variant, network_range
from training.networks.trace_network import SCALE, TraceNetwork

# the focal loss alone is small where few pixels are hard; the overlap alone has no gradient where nothing is found
_FOCAL, _OVERLAP = 4.0, 0.3


# one alone: the defects that score paths are chosen by say nothing of circuits
_SCORE = ScoreSpec(
    map_scale=SCALE,
    norm=NormSpec(kind="global"),
    smooth=SmoothSpec(kind="gaussian", radius=1),
    image_score=ImageScoreSpec(k=1),
)

BOARD = Variant(
    160,
    (Stage("defects", 1200, 8, 2e-3, preset="board"),),
    outputs=("seg_logit",),
    ablations=("overlap",),
    native=True,
    scores={"probability alone, sigma 1 of a half-size map, its largest place": _SCORE},
)


class BoardLearner(Learner):
    """Trains the U-Net."""

    network: TraceNetwork

    def __init__(self, ablations: frozenset[str] = frozenset()) -> None:
        super().__init__()
        self.network = TraceNetwork()
        self.ablations = ablations

    def attach(self, data: TrainingData) -> None:
        super().attach(data)
        if len(data.weak):
            data.notice(f"isstad learns from good parts alone: the {len(data.weak)} parts in train/weak/ are not used")

    def losses(self, stage: Stage, batch: Batch, share: float) -> dict[str, Tensor]:
        logit = self.network.logit(network_range(batch.corrupted)).float()
        # a place is defective if any of its pixels is
        masks = functional.max_pool2d(batch.masks, SCALE)
        focal = focal_loss(logit, masks).mean()
        probability = logit.sigmoid()
        overlap = 1 - (2 * (probability * masks).sum() + 1) / (probability.sum() + masks.sum() + 1)
        weight = 0.0 if "overlap" in self.ablations else _OVERLAP
        return {"total": _FOCAL * focal + weight * overlap, "focal": focal, "overlap": overlap}
