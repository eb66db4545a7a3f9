"""A model bundle on disk, as it is read: every file verified by the hash that manifest.json gives it.

manifest.json is the one commit point; `edge/bundles/versions.py` writes it.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edge.bundles.calibration import RECALIBRATE, Calibration, calibration_from_bytes
from edge.bundles.format import MAXIMUM_MANIFEST_BYTES, manifest_from_bytes
from edge.bundles.onnx_check import OnnxFileError, check_self_contained
from edge.core.errors import BundleError, CalibrationMismatch
from edge.core.files.atomic_file import sync_directory, write_atomic
from edge.core.files.safe_file import read_safe
from edge.core.manifest import Manifest
from edge.monitoring.drift.reference import DriftReference, reference_from_bytes
from edge.preprocessing.preprocess import Preprocess

log = logging.getLogger("edge.bundles.bundle")

# the target of what runs on a processor, whichever backend runs it; the others are products of TensorRT
CPU = "cpu"
MANIFEST = "manifest.json"
# the key of the picture that all others are compared with
GOLDEN = "golden"
_RETRAIN = "copy the bundle again from where it was made, or make it anew with `edge-inspect train`"


@dataclass(frozen=True)
class ModelBundle:
    """A verified bundle. Its hash is that of manifest.json, which names every file by content."""

    path: Path
    manifest: Manifest
    sha256: str

    @property
    def preprocess(self) -> Preprocess:
        manifest = self.manifest
        roi, network, tiles = manifest.preprocess, manifest.input, manifest.preprocess.tiles
        tile = None if tiles is None else (network.height, network.width, tiles.halo)
        return Preprocess(*manifest.field, roi.rectangle, roi.polygon, roi.align, roi.fit, tile)

    def read(self, key: str) -> bytes:
        """The content of one file, verified; raises BundleError when it is missing, altered or not self-contained."""
        entry = self.manifest.files.get(key)
        if entry is None:
            raise BundleError(f"{self.path}: the bundle has no {key}", fix=_missing_fix(key))
        file = self.path / entry.name
        data = _read(self.path, entry.name, entry.bytes)
        found = hashlib.sha256(data).hexdigest()
        if found != entry.sha256:
            state = f"{len(data)} of {entry.bytes} bytes" if len(data) != entry.bytes else "same size, other content"
            raise BundleError(
                f"{file} is damaged ({state}): sha256 {found[:12]}…, the manifest says {entry.sha256[:12]}…",
                fix=_RETRAIN,
            )
        if key.startswith("model_"):
            try:
                check_self_contained(data)
            except OnnxFileError as error:
                raise BundleError(f"{file} is not a network that may be run: {error}", fix=_RETRAIN) from error
        return data

    def model_sha256(self, precision: str, target: str = CPU) -> str:
        """What names the model of this precision: the hash of its ONNX file; on a GPU, of the engine calibrated for."""
        if target != CPU:
            return self.calibration(precision, target=target).model_sha256
        key = f"model_{precision}"
        if key not in self.manifest.files:
            raise BundleError(f"{self.path}: the bundle has no {key}", fix=_missing_fix(key))
        return self.manifest.files[key].sha256

    def precision(self, wanted: str, target: str = CPU) -> str:
        """The precision to run: the one wanted; for `auto` what was deployed on this target, else INT8 where it is.

        A precision that the gate refused runs only when it is asked for by name, and with a warning. Raises BundleError
        for `auto` on a GPU that nothing was calibrated for.
        """
        deployed = self.manifest.deployments.get(target)
        if wanted == "auto" and deployed is None and target != CPU:
            raise BundleError(f"{self.path}: nothing was calibrated for {target}", fix=_calibrate_for(target))
        if wanted == "auto":
            rounded = "int8" if "model_int8" in self.manifest.files else "fp32"
            return rounded if deployed is None else deployed.precision
        if deployed is not None and wanted == "int8" and deployed.refused("int8"):
            log.warning("%s: the gate refused int8 (see gate.html); it runs because it was asked for", self.path)
        return wanted

    def calibration(self, precision: str, *, target: str = CPU, uncalibrated: bool = False) -> Calibration:
        """Statistics for the network of this precision on a target.

        Raises CalibrationMismatch when they were measured on another model or another preprocessing; `uncalibrated`
        lets the other model pass. Engines for a GPU are no part of the bundle: that the one of this calibration runs
        is up to who looks for it.
        """
        data = self.read(calibration_key(precision, target))
        calibration = calibration_from_bytes(data, self.manifest.map_shape)
        if self.manifest.score.norm.distances == "pooled" and np.ndim(calibration.emb_mean):
            raise BundleError(f"{self.path}: distances have statistics by place, and should not", fix=RECALIBRATE)
        if target == CPU:
            self._require_model(precision, calibration, uncalibrated)
        if calibration.preprocess_sha256 != self.preprocess.sha256:
            raise CalibrationMismatch(
                f"{self.path}: statistics were measured with another preprocessing (size, region, fit, alignment)",
                fix=RECALIBRATE,
            )
        return calibration

    def drift_reference(self) -> DriftReference | None:
        """What pictures of good parts measure; None for a bundle that was calibrated without."""
        return reference_from_bytes(self.read("drift")) if "drift" in self.manifest.files else None

    def _require_model(self, precision: str, calibration: Calibration, uncalibrated: bool) -> None:
        model = self.model_sha256(precision)
        if calibration.model_sha256 != model and not uncalibrated:
            raise CalibrationMismatch(
                f"{self.path}: statistics were measured on model {calibration.model_sha256[:12]}…, "
                f"the bundle's {precision} model is {model[:12]}…",
                fix=f"{RECALIBRATE}; --uncalibrated runs it nevertheless, and every verdict says so",
            )

    def verify(self) -> None:
        """Read every file and check its hash."""
        for key in self.manifest.files:
            self.read(key)


def calibration_key(precision: str, target: str = CPU) -> str:
    """What a calibration is called in the manifest."""
    return f"calibration_{precision}" if target == CPU else f"calibration_{target}_{precision}"


def calibrations(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """(precision, target) of every calibration that a bundle has."""
    for key in sorted(manifest.files):
        if key.startswith("calibration_"):
            target, _, precision = key.removeprefix("calibration_").rpartition("_")
            yield precision, target or CPU


def _missing_fix(key: str) -> str:
    target, _, _ = key.removeprefix("calibration_").rpartition("_")
    if key.startswith("calibration_") and target:
        return _calibrate_for(target)
    return _MISSING_PART.get(key, _RETRAIN)


def _calibrate_for(target: str) -> str:
    return f"on this machine, run `edge-inspect calibrate --bundle BUNDLE --data NORMALS --backend {target}`"


_MISSING_PART = {
    "ranges": "run `edge-inspect quantize --bundle BUNDLE --data NORMALS`, or use `--precision fp32`",
    "quantization": "run `edge-inspect quantize --bundle BUNDLE --data NORMALS`, or use `--precision fp32`",
    "model_int8": "run `edge-inspect quantize --bundle BUNDLE --data NORMALS`, or use `--precision fp32`",
    "calibration_int8": RECALIBRATE,
    "calibration_fp32": RECALIBRATE,
}


def load_bundle(path: Path) -> ModelBundle:
    """Read and check the manifest; files are verified when they are read."""
    if not path.is_dir():
        raise BundleError(
            f"{path}: no such bundle directory",
            fix="check --bundle, inspection.bundle or recipes.yaml, or make one: `edge-inspect train`",
        )
    return bundle_of_manifest(path, MANIFEST)


def bundle_of_manifest(path: Path, name: str) -> ModelBundle:
    """The version of the bundle at `path` that this manifest file of it describes; raises BundleError."""
    data = _read(path, name, MAXIMUM_MANIFEST_BYTES)
    return ModelBundle(path, manifest_from_bytes(path / name, data), sha256_of(data))


def _read(path: Path, name: str, limit_bytes: int) -> bytes:
    try:
        return read_safe(path, name, limit_bytes)
    except (OSError, RuntimeError) as error:
        # older Pythons raise RuntimeError for a link that leads to itself
        raise BundleError(f"{path / name}: {getattr(error, 'strerror', error)}", fix=_RETRAIN) from error


def sha256_of(data: bytes) -> str:
    """The hash that names a file or a network."""
    return hashlib.sha256(data).hexdigest()


def write_atomically(file: Path, data: bytes) -> None:
    """After a power cut the file is the old or the new one; raises BundleError."""
    try:
        write_atomic(file, data)
        sync_directory(file.parent)
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}", fix="free some space or choose a writable directory") from error
