"""The INT8 network of a bundle, from ranges on good parts: chosen anew, or with what an earlier choice found."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from calibration.pipeline.gate_samples import evaluation_set, range_images
from calibration.pipeline.memory_folds import Folds, refitted
from calibration.pipeline.sample_cache import NormalSamples
from calibration.range_choice import ESTIMATORS, choose_ranges
from calibration.ranges import Activations, collect_activations, max_ranges, ranges_from_bytes, ranges_to_bytes
from edge.bundles.bundle import ModelBundle
from edge.core.errors import BundleError
from edge.core.progress import progress_bar, say, working
from export.operators import operator_report
from export.precision_fallback import graph_of_precision
from export.sensitivity import find_sensitive_layers
from export.tensor_ranges import Ranges

_RANGE_PICTURES = 96
_QUANTISE = "run `edge-inspect quantize --bundle BUNDLE --data NORMALS`"


@dataclass(frozen=True)
class Networks:
    """The networks of a bundle, and how INT8 came about; None where there is no INT8.

    record: what quantization.json holds. floating: convolutions that are left out of INT8.
    """

    fp32: bytes
    int8: bytes | None = None
    ranges: Ranges | None = None
    record: Mapping[str, Any] | None = None

    @property
    def floating(self) -> list[str]:
        return [] if self.record is None else list(self.record["sensitivity"]["floating"])

    def with_floating_ends(self) -> bytes:
        """INT8 with the first and last stage in floating point."""
        if self.ranges is None:
            raise BundleError("the bundle has no ranges to quantise with", fix=_QUANTISE)
        return graph_of_precision("int8_float_ends", "cpu", self.fp32, self.ranges, self.floating)

    def files(self) -> dict[str, tuple[str, bytes]]:
        """What a bundle keeps of INT8."""
        assert self.int8 is not None and self.ranges is not None
        return {
            "model_int8": ("model_int8.onnx", self.int8),
            "ranges": ("ranges.json", ranges_to_bytes(self.ranges)),
            "quantization": ("quantization.json", json.dumps(self.record, indent=1).encode()),
        }


def networks_of(bundle: ModelBundle) -> Networks:
    """As they lie in the bundle; raises BundleError when the record of the quantisation cannot be read."""
    fp32, files = bundle.read("model_fp32"), bundle.manifest.files
    if "model_int8" not in files:
        return Networks(fp32)
    ranges = record = None
    if "ranges" in files and "quantization" in files:
        try:
            ranges = ranges_from_bytes(bundle.read("ranges"))
            record = json.loads(bundle.read("quantization"))
            # read once here, where a damaged record can be told
            _ = list(record["sensitivity"]["floating"]), record["estimator"]["chosen"]
        except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
            raise BundleError(
                f"{bundle.path}: the record of the quantisation cannot be read ({error})", fix=_QUANTISE
            ) from error
    return Networks(fp32, bundle.read("model_int8"), ranges, record)


class Quantizer:
    """What makes INT8 networks on some good parts, each look at them taken once.

    pictures: that ranges are taken on. folds: memories that have not seen the parts. model: FP32, None: the bundle's.
    """

    def __init__(
        self,
        parts: NormalSamples,
        threads: int | None,
        pictures: int = _RANGE_PICTURES,
        folds: Folds | None = None,
        model: bytes | None = None,
    ) -> None:
        self._parts, self._threads, self._most = parts, threads, pictures
        self._folds = folds
        self._model = parts.bundle.read("model_fp32") if model is None else model

    @cached_property
    def _activations(self) -> tuple[Activations, int]:
        images = range_images(self._parts, self._most)
        with working("INT8: looking at what every layer makes of good parts"):
            collected = collect_activations(self._model, images, self._threads)
        return collected, len(images)

    def chosen(self) -> Networks:
        """Try every estimator of ranges, and find the layers that INT8 hurts most."""
        # what INT8 changes shows in tiles, too
        manifest, threads = self._parts.bundle.manifest.of_one_tile, self._threads
        activations, pictures = self._activations
        folds, model = self._folds, self._model
        rounded = model
        if folds is not None:
            # by one memory, on the parts that it has not seen: rounding is of the encoder, which all have in common
            model = folds.graph(model, 0)
            # what rounding moves everywhere alike is no damage: the memory will know
            _, own = refitted(self._int8(max_ranges(activations), ()), "int8", self._parts, folds, threads)
            rounded = own.graph(rounded, 0)
        with working("INT8: drawing defects to compare the ways of rounding with"):
            shown = evaluation_set(
                self._parts, lambda part: folds is None or folds.fold_of.get(part.sha256, 0) == 0
            )  # fmt: skip
        with working("INT8: trying the ways of rounding"):
            choice = choose_ranges(model, manifest, activations, shown, threads, rounded)
        say(f"ranges of {len(choice.ranges)} tensors on {pictures} parts: {choice.summary()}")
        with progress_bar("leaving layers out of INT8") as advance:
            sensitivity = find_sensitive_layers(model, manifest, choice.ranges, shown, threads, advance, rounded)
        say(sensitivity.summary())
        report = operator_report(self._model, sensitivity.floating)
        record = {
            "estimator": choice.as_dict(),
            "defects": shown.source,
            "range_pictures": pictures,
            "sensitivity": sensitivity.as_dict(),
            "operators": report.as_dict(),
        }
        int8 = self._int8(choice.ranges, sensitivity.floating)
        say(f"{len(int8) / 1e6:.2f} MB of INT8 ONNX; {report.shares()}")
        return Networks(self._model, int8, choice.ranges, record)

    def as_before(self, earlier: Networks) -> Networks:
        """New ranges, by the estimator and with the layers in floating point that were found best before."""
        assert earlier.record is not None
        name = earlier.record["estimator"]["chosen"]
        if name not in ESTIMATORS:
            raise BundleError(f"the bundle's ranges come from {name!r}, which is not known here", fix="--choose-again")
        activations, pictures = self._activations
        ranges = ESTIMATORS[name](activations)
        say(f"ranges of {len(ranges)} tensors on {pictures} parts, by {name} as before")
        record = {**earlier.record, "range_pictures": pictures}
        return Networks(self._model, self._int8(ranges, earlier.floating), ranges, record)

    def _int8(self, ranges: Ranges, floating: Sequence[str]) -> bytes:
        return graph_of_precision("int8", "cpu", self._model, ranges, floating)
