"""quantize, calibrate, gate: from an FP32 network to the one that runs, with the proof that its verdicts survived."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.backends import GPU_BACKENDS, calibrated_backends, choose_backend, open_backend, target_of
from edge.backends.base import Backend
from edge.backends.cpu import Network, open_network
from edge.bundle import CPU, Calibration, ModelBundle, calibration_key, load_bundle, sha256_of, write_bundle
from edge.cli.engine_line import EngineLine, build_options
from edge.cli.optional import needs
from edge.cli.progress import progress_bar, say
from edge.cli.regions import region_of_interest
from edge.cli.specimens import Specimens, calibration_pictures, exhibits, range_images
from edge.config import RoiSettings, Settings
from edge.manifest import Deployment, PreprocessSpec
from edge.whole_file import write_whole

if TYPE_CHECKING:
    from export.gate import GateReport, Judge
    from export.ladder import Attempt, Rung

_RANGE_PICTURES = 96


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
        roi = PreprocessSpec(rectangle=rectangle, polygon=polygon)
        bundle = ModelBundle(bundle.path, bundle.manifest.model_copy(update={"preprocess": roi}), bundle.sha256)
    wanted = settings.inspection.backend
    target = target_of(wanted)
    # engines are compared with FP32 on the processor, where nothing of theirs is
    line = _Line(bundle, choose_backend("auto" if wanted in GPU_BACKENDS else wanted), settings, options)
    manifest = bundle.manifest
    try:
        reference = line.made("fp32", bundle.read("model_fp32"))
        parts = {"calibration_fp32": ("calibration_fp32.npz", reference.calibration.to_bytes())}
        if target != CPU or "model_int8" in manifest.files:
            deployed, more = _deployed(line, reference, target)
            manifest = manifest.model_copy(update={"deployments": {**manifest.deployments, target: deployed}})
            parts |= more
    finally:
        line.close()
    write_bundle(bundle.path, manifest, parts)
    return 0


def gate(options: argparse.Namespace, settings: Settings) -> int:
    """Replay the site's parts through FP32 and what runs; 1 when the gate refuses it."""
    gating = needs("export.gate", "cpu")
    bundle = load_bundle(options.bundle)
    inspection = settings.inspection
    target = target_of(inspection.backend)
    precision = bundle.precision(inspection.precision, target)
    reference = "auto" if target != CPU else inspection.backend
    judges = []
    for name, backend, where in (("fp32", reference, CPU), (precision, inspection.backend, target)):
        calibration = bundle.calibration(name, target=where)
        opened = open_backend(bundle, backend, name, inspection.threads, engines=inspection.engines_folder)
        judges.append(gating.Judge(opened, calibration.threshold))
    specimens = Specimens(bundle, options.data, options.ng)
    replayed = gating.replay(specimens, *judges)
    report = gating.gate_report(
        replayed, *judges, settings.gate, budget=calibration.false_reject_budget, target=target, rung=precision,
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
    """One network of the bundle, calibrated and running; model: its ONNX where the bundle shall keep it."""

    precision: str
    model: bytes | None
    calibration: Calibration
    judge: Judge


class _Line:
    """What every network of one bundle is calibrated and compared with."""

    def __init__(self, bundle: ModelBundle, backend: str, settings: Settings, options: argparse.Namespace) -> None:
        self.bundle, self.backend, self.settings, self.options = bundle, backend, settings, options
        self.budget = options.false_reject / 100
        self._data: Path = options.data
        self._open: list[_Made] = []
        self._specimens: Specimens | None = None

    @property
    def specimens(self) -> Specimens:
        if self._specimens is None:
            self._specimens = Specimens(self.bundle, self._data, None)
        return self._specimens

    def made(self, precision: str, model: bytes) -> _Made:
        """Open a network and fit its statistics and threshold."""
        bundle, manifest, threads = self.bundle, self.bundle.manifest, self.settings.inspection.threads
        network = open_network(self.backend, model, manifest, threads)
        calibration = self._calibrate(network, sha256_of(model))
        network.close()
        say(f"{precision} on {self.backend}: {calibration.summary()}")
        (opened,) = calibrated_backends(self.backend, model, manifest, bundle.preprocess, calibration, threads)
        return self._running(precision, model, calibration, opened)

    def made_engine(self, engines: EngineLine, rung: Rung) -> _Made:
        """Build, calibrate and open an engine."""
        backend, calibration = engines.calibrated(rung, self._calibrate)
        say(f"{rung} on {backend.name}: {calibration.summary()}")
        return self._running(needs("export.ladder", "cpu").PRECISIONS[rung], None, calibration, backend)

    def _calibrate(self, network: Network, engine_sha256: str) -> Calibration:
        bundle = self.bundle
        calibration: Calibration = needs("calibration.baseline", "cpu").calibrate(
            network,
            engine_sha256,
            bundle.manifest,
            bundle.preprocess,
            calibration_pictures(bundle, self._data, trained=False),
            trained=calibration_pictures(bundle, self._data, trained=True),
            budget=self.budget,
            created_utc=_now_utc(),
        )
        return calibration

    def _running(self, precision: str, model: bytes | None, calibration: Calibration, backend: Backend) -> _Made:
        judge = needs("export.gate", "cpu").Judge(backend, calibration.threshold)
        self._open.append(_Made(precision, model, calibration, judge))
        return self._open[-1]

    def close(self) -> None:
        for made in self._open:
            made.judge.backend.close()


def _deployed(line: _Line, reference: _Made, target: str) -> tuple[Deployment, dict[str, tuple[str, bytes]]]:
    """Go down the ladder; the precision that passed, and files of the bundle: network, calibration, reports.

    When no INT8 rung passes, the last one stays in the bundle, to be looked at; `auto` does not run it.
    """
    gating, ladder = needs("export.gate", "cpu"), needs("export.ladder", "cpu")
    make = _maker(line, target)
    reports: list[GateReport] = []
    files: dict[str, tuple[str, bytes]] = {}

    def attempt(rung: Rung) -> Attempt[_Made]:
        if rung == "fp32" and target == CPU:
            return ladder.Attempt(reference, reference.calibration.engine_sha256, ())  # type: ignore[no-any-return]
        made = make(rung)
        replayed = gating.replay(line.specimens, reference.judge, made.judge)
        report = gating.gate_report(
            replayed, reference.judge, made.judge, line.settings.gate, budget=line.budget, target=target, rung=rung,
            defects=line.specimens.defects, created_utc=_now_utc(),
        )  # fmt: skip
        for text in report.summary():
            say(text)
        reports.append(report)
        if made.model is not None:
            files[f"model_{made.precision}"] = (f"model_{made.precision}.onnx", made.model)
        calibration, suffix = calibration_key(made.precision, target), "" if target == CPU else f"_{target}"
        files.update(
            {
                calibration: (f"{calibration}.npz", made.calibration.to_bytes()),
                f"gate_{target}": (
                    f"gate{suffix}.json",
                    json.dumps([entry.as_dict() for entry in reports], indent=1).encode(),
                ),
                f"gate_page_{target}": (
                    f"gate{suffix}.html",
                    needs("export.gate_page", "cpu").gate_page(report, replayed),
                ),
            }
        )
        return ladder.Attempt(made, made.calibration.engine_sha256, report.exceeded)  # type: ignore[no-any-return]

    descent = ladder.descend(ladder.RUNGS[target], attempt)
    say(f"deployed on {target}: {descent.rung}")
    precision, backend = ladder.PRECISIONS[descent.rung], descent.made.judge.backend.name
    return Deployment(precision=precision, backend=backend, tried=descent.tried), files


def _maker(line: _Line, target: str) -> Callable[[Rung], _Made]:
    """What makes the network of a rung on a target."""
    for product in GPU_BACKENDS:
        if target == product:
            build = build_options(product, line.options.targets)
            engines = EngineLine(line.bundle, product, line.settings.inspection.engines_folder, build)
            return lambda rung: line.made_engine(engines, rung)
    bundle = line.bundle
    return lambda rung: line.made("int8", bundle.read("model_int8") if rung == "int8" else _with_floating_ends(bundle))


def _with_floating_ends(bundle: ModelBundle) -> bytes:
    """INT8 with the first and last stage in floating point, from the ranges in the bundle."""
    ranges = needs("calibration.ranges", "export").ranges_from_bytes(bundle.read("ranges"))
    record: dict[str, Any] = json.loads(bundle.read("quantization"))
    floating = record["sensitivity"]["floating"]
    model: bytes = needs("export.ladder", "export").graph_of_rung(
        "int8_float_ends", CPU, bundle.read("model_fp32"), ranges, floating
    )
    return model


def _now_utc() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
