"""Trained module → FP32 ONNX with the contract's names: `image` in, `recon`, `seg_logit`, `emb_dist` out."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edge.core.datatypes import F32
from edge.core.errors import UsageError
from export.memory_graph import TAP_PREFIX
from export.operators import operator_report

if TYPE_CHECKING:
    from torch import nn

OPSET = 18
# largest difference tolerated between torch and the exported graph, in network range -1..1
EXPORT_TOLERANCE = 1e-3


def with_folded_norms(module: nn.Module) -> nn.Module:
    """A copy in which every batch norm that follows a convolution is part of it.

    The exporter's own folding leaves the norms of layers that run twice, such as an encoder that looks at a picture and
    at its repair.
    """
    import copy

    from torch import nn
    from torch.nn.utils.fusion import fuse_conv_bn_eval

    folded = copy.deepcopy(module)
    for sequence in [part for part in folded.modules() if isinstance(part, nn.Sequential)]:
        for index in range(len(sequence) - 1):
            convolution, norm = sequence[index], sequence[index + 1]
            if isinstance(convolution, nn.Conv2d) and isinstance(norm, nn.BatchNorm2d):
                sequence[index], sequence[index + 1] = fuse_conv_bn_eval(convolution, norm), nn.Identity()
    return folded


def exported_names(module: nn.Module, shape: tuple[int, int], outputs: Sequence[str]) -> tuple[str, ...]:
    """What a network gives of a bundle's outputs, then the features that it hands on for a memory, by TAP_PREFIX."""
    import torch

    with torch.no_grad():
        named = module.eval()(torch.zeros(1, 3, *shape))
    return (*(name for name in outputs if name in named), *(name for name in named if name.startswith(TAP_PREFIX)))


def onnx_from_module(
    module: nn.Module, shape: tuple[int, int], outputs: Sequence[str], pictures: Sequence[F32] = ()
) -> bytes:
    """Export for one picture of shape = (height, width); batch norm is folded into the convolutions.

    pictures: float32 (3, height, width) in -1..1, on which the graph is compared with torch; noise when there are none.
    Raises UsageError when they differ by more than EXPORT_TOLERANCE, or for an operator that no target is given.
    """
    import onnx
    import onnxruntime
    import torch

    class Ordered(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.module = module

        def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, ...]:
            named = self.module(image)
            return tuple(named[name] for name in outputs)

    ordered = with_folded_norms(Ordered().eval().to("cpu", torch.float32))
    noise = torch.rand(1, 3, *shape, generator=torch.Generator().manual_seed(0)) * 2 - 1
    shown = [torch.from_numpy(np.asarray(picture))[None] for picture in pictures] or [noise]
    # it would warn of torchvision, which nothing here uses
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            ordered, (noise,), dynamo=True, opset_version=OPSET, input_names=["image"], output_names=list(outputs),
            verbose=False,
        )  # fmt: skip
        assert program is not None
        expected = [[value.numpy() for value in ordered(picture)] for picture in shown]
    model = program.model_proto
    onnx.checker.check_model(model, full_check=True)
    # names and doc strings of the exporter carry paths of the machine that exported
    for node in model.graph.node:
        del node.metadata_props[:]
    data: bytes = model.SerializeToString()
    operator_report(data).require(["cpu"])
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    differences = [
        np.abs(wanted - given).max()
        for picture, computed in zip(shown, expected, strict=True)
        for wanted, given in zip(computed, session.run(list(outputs), {"image": picture.numpy()}), strict=True)
    ]
    # np.max keeps a NaN, which then is not within the tolerance
    worst = float(np.max(differences))
    if not worst <= EXPORT_TOLERANCE:
        raise UsageError(
            f"the exported graph differs from the trained network by {worst:.2g}, more than {EXPORT_TOLERANCE}",
            fix="report this with the versions of torch and onnxscript; the checkpoint is untouched",
        )
    return data
