"""quantize, calibrate, gate: from an FP32 network to the one that runs, with the proof that its verdicts survived."""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.backends import calibrated_backends, choose_backend, open_backend
from edge.backends.cpu import open_network
from edge.bundle import Calibration, ModelBundle, load_bundle, sha256_of, write_bundle
from edge.cli.optional import needs
from edge.cli.progress import progress_bar, say
from edge.cli.regions import region_of_interest
from edge.cli.specimens import Specimens, calibration_pictures, exhibits, fitting_normals, range_images
from edge.config import AlignSettings, RoiSettings, Settings
from edge.drift.reference import reference_of
from edge.manifest import Deployment, PreprocessSpec
from edge.normals import aligned_to_parts
from edge.preprocess import Preprocess
from edge.whole_file import write_whole

if TYPE_CHECKING:
    from export.gate import GateReport, Judge
    from export.ladder import Attempt, Rung

_RANGE_PICTURES = 96
_TARGET = "cpu"


def quantize(options: argparse.Namespace, settings: Settings) -> int:
    """Ranges on good parts → INT8 ONNX for processors; what was chosen and why is kept in the bundle."""
    ranges_module = needs("calibration.ranges", "export")
    bundle = load_bundle(options.bundle)
    model, manifest, threads = bundle.read("model_fp32"), bundle.manifest, settings.inspection.threads
    images = range_images(bundle, options.data, _RANGE_PICTURES)
    shown = exhibits(bundle, options.data)
    activations = ranges_module.collect_activations(model, images, threads)
    choice = needs("calibration.range_choice", "export").choose_ranges(model, manifest, activations, shown, threads)
    say(f"ranges of {len(choice.ranges)} tensors on {len(images)} parts: {choice.summary()}")
    with progress_bar("leaving layers out of INT8") as advance:
        sensitivity = needs("export.sensitivity", "export").find_sensitive_layers(
            model, manifest, choice.ranges, shown, threads, advance
        )
    say(sensitivity.summary())
    ladder = needs("export.ladder", "export")
    report = needs("export.operators", "export").operator_report(model, sensitivity.floating)
    record = {
        "estimator": choice.as_dict(),
        "defects": shown.source,
        "range_pictures": len(images),
        "sensitivity": sensitivity.as_dict(),
        "operators": report.as_dict(),
    }
    parts = {
        "model_int8": (
            "model_int8.onnx",
            ladder.graph_of_rung("int8", "cpu", model, choice.ranges, sensitivity.floating),
        ),
        "ranges": ("ranges.json", ranges_module.ranges_to_bytes(choice.ranges)),
        "quantization": ("quantization.json", json.dumps(record, indent=1).encode()),
    }
    # what was found out about an older INT8 network does not hold for this one
    write_bundle(bundle.path, manifest.model_copy(update={"deployments": {}}), parts)
    say(f"{len(parts['model_int8'][1]) / 1e6:.2f} MB of INT8 ONNX; {report.shares()}")
    return 0


def calibrate(options: argparse.Namespace, settings: Settings) -> int:
    """Statistics and threshold of both precisions, through the backend that will run, and the gate between them."""
    bundle = load_bundle(options.bundle)
    rectangle, polygon = region_of_interest(settings.roi)
    if settings.roi != RoiSettings():
        align = bundle.manifest.preprocess.align
        roi = PreprocessSpec(rectangle=rectangle, polygon=polygon, align=align)
        bundle = ModelBundle(bundle.path, bundle.manifest.model_copy(update={"preprocess": roi}), bundle.sha256)
    if settings.align.mode is not None:
        bundle = _realigned(bundle, options.data, settings.align)
    backend = choose_backend(settings.inspection.backend)
    line = _Line(bundle, backend, settings, options.data, options.false_reject / 100)
    reference = line.made("fp32", bundle.read("model_fp32"))
    parts = {"calibration_fp32": ("calibration_fp32.npz", reference.calibration.to_bytes())}
    # pictures measure the same whether the network was trained on them or not
    normal = reference_of((part.picture for part in fitting_normals(bundle, options.data)), bundle.preprocess)
    if normal is not None:
        parts["drift"] = ("drift.npz", normal.to_bytes())
    manifest = bundle.manifest
    if "model_int8" in manifest.files:
        deployed, more = _deployed(line, reference)
        manifest = manifest.model_copy(update={"deployments": {**manifest.deployments, _TARGET: deployed}})
        parts |= more
    line.close()
    write_bundle(bundle.path, manifest, parts)
    return 0


def _realigned(bundle: ModelBundle, data: Path, settings: AlignSettings) -> ModelBundle:
    """The bundle with the alignment that the settings ask for, made of these parts."""
    spec = bundle.manifest.preprocess
    upright = Preprocess(bundle.manifest.input.size, spec.rectangle, spec.polygon)
    found = spec.model_copy(update={"align": aligned_to_parts(upright, data, settings).align})
    return ModelBundle(bundle.path, bundle.manifest.model_copy(update={"preprocess": found}), bundle.sha256)


def gate(options: argparse.Namespace, settings: Settings) -> int:
    """Replay the site's parts through FP32 and what runs; 1 when the gate refuses it."""
    gating = needs("export.gate", "cpu")
    bundle = load_bundle(options.bundle)
    inspection = settings.inspection
    precision = bundle.precision(inspection.precision)
    judges = []
    for name in ("fp32", precision):
        calibration = bundle.calibration(name)
        opened = open_backend(bundle, inspection.backend, name, inspection.threads)
        judges.append(gating.Judge(opened, calibration.threshold))
    specimens = Specimens(bundle, options.data, options.ng)
    replayed = gating.replay(specimens, *judges)
    report = gating.gate_report(
        replayed, *judges, settings.gate, budget=calibration.false_reject_budget, target=_TARGET, rung=precision,
        defects=specimens.defects, created_utc=_now_utc(),
    )  # fmt: skip
    for judge in judges:
        judge.backend.close()
    if options.page is not None:
        write_whole(options.page, needs("export.gate_page", "cpu").gate_page(report, replayed))
    print(json.dumps(report.as_dict(), indent=1) if options.json else "\n".join(report.summary()))
    return 0 if report.passed else 1


@dataclass(frozen=True)
class _Made:
    """One network of the bundle, calibrated and running."""

    precision: str
    model: bytes
    calibration: Calibration
    judge: Judge


class _Line:
    """What every network of one bundle is calibrated and compared with."""

    def __init__(self, bundle: ModelBundle, backend: str, settings: Settings, data: Path, budget: float) -> None:
        self.bundle, self.backend, self.settings, self.budget = bundle, backend, settings, budget
        self._data = data
        self._open: list[_Made] = []
        self._specimens: Specimens | None = None

    @property
    def specimens(self) -> Specimens:
        if self._specimens is None:
            self._specimens = Specimens(self.bundle, self._data, None)
        return self._specimens

    def made(self, precision: str, model: bytes) -> _Made:
        """Open a network and fit its statistics and threshold."""
        bundle, manifest = self.bundle, self.bundle.manifest
        network = open_network(self.backend, model, manifest, self.settings.inspection.threads)
        calibration = needs("calibration.baseline", "cpu").calibrate(
            network,
            sha256_of(model),
            manifest,
            bundle.preprocess,
            calibration_pictures(bundle, self._data, trained=False),
            trained=calibration_pictures(bundle, self._data, trained=True),
            budget=self.budget,
            created_utc=_now_utc(),
        )
        network.close()
        say(f"{precision} on {self.backend}: {calibration.summary()}")
        threads = self.settings.inspection.threads
        (opened,) = calibrated_backends(self.backend, model, manifest, bundle.preprocess, calibration, threads)
        judge = needs("export.gate", "cpu").Judge(opened, calibration.threshold)
        self._open.append(_Made(precision, model, calibration, judge))
        return self._open[-1]

    def close(self) -> None:
        for made in self._open:
            made.judge.backend.close()


def _deployed(line: _Line, reference: _Made) -> tuple[Deployment, dict[str, tuple[str, bytes]]]:
    """Go down the ladder; the precision that passed, and files of the bundle: INT8 with its calibration, the reports.

    When no INT8 rung passes, the last one stays in the bundle, to be looked at; `auto` does not run it.
    """
    gating, ladder = needs("export.gate", "cpu"), needs("export.ladder", "cpu")
    reports: list[GateReport] = []
    files: dict[str, tuple[str, bytes]] = {}

    def attempt(rung: Rung) -> Attempt[_Made]:
        if rung == "fp32":
            return ladder.Attempt(reference, sha256_of(reference.model), ())  # type: ignore[no-any-return]
        made = line.made("int8", line.bundle.read("model_int8") if rung == "int8" else _with_floating_ends(line.bundle))
        replayed = gating.replay(line.specimens, reference.judge, made.judge)
        report = gating.gate_report(
            replayed, reference.judge, made.judge, line.settings.gate, budget=line.budget, target=_TARGET, rung=rung,
            defects=line.specimens.defects, created_utc=_now_utc(),
        )  # fmt: skip
        for text in report.summary():
            say(text)
        reports.append(report)
        files.update(
            {
                "model_int8": ("model_int8.onnx", made.model),
                "calibration_int8": ("calibration_int8.npz", made.calibration.to_bytes()),
                "gate_cpu": ("gate.json", json.dumps([entry.as_dict() for entry in reports], indent=1).encode()),
                "gate_page_cpu": ("gate.html", needs("export.gate_page", "cpu").gate_page(report, replayed)),
            }
        )
        return ladder.Attempt(made, sha256_of(made.model), report.exceeded)  # type: ignore[no-any-return]

    descent = ladder.descend(ladder.RUNGS[_TARGET], attempt)
    precision = ladder.PRECISIONS[descent.rung]
    say(f"deployed on {_TARGET}: {descent.rung}")
    return Deployment(precision=precision, backend=line.backend, tried=descent.tried), files


def _with_floating_ends(bundle: ModelBundle) -> bytes:
    """INT8 with the first and last stage in floating point, from the ranges in the bundle."""
    ranges = needs("calibration.ranges", "export").ranges_from_bytes(bundle.read("ranges"))
    record: dict[str, Any] = json.loads(bundle.read("quantization"))
    floating = record["sensitivity"]["floating"]
    model: bytes = needs("export.ladder", "export").graph_of_rung(
        "int8_float_ends", _TARGET, bundle.read("model_fp32"), ranges, floating
    )
    return model


def _now_utc() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
