"""Networks calibrated through the backend that will run, and the one of them that is deployed: the ladder and its gate.

First and later calibrations are this: `train`, `calibrate` and `recalibrate` differ in where the good parts come from.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from edge.backends import calibrated_backends
from edge.backends.base import Backend
from edge.backends.cpu import Network, open_network
from edge.bundle import CPU, Calibration, calibration_key, sha256_of
from edge.cli.engine_line import EngineLine
from edge.cli.good_parts import GoodParts, spread
from edge.cli.optional import needs
from edge.cli.progress import say
from edge.cli.quantised import Networks
from edge.cli.specimens import ALTERED, HELD_OUT, Specimens, ng_scores
from edge.config import Settings
from edge.errors import UsageError
from edge.kernels.statistics import MOST_IN_STATISTICS
from edge.manifest import Deployment
from edge.promise import statement

if TYPE_CHECKING:
    from export.gate import GateReport, Judge
    from export.ladder import Attempt, Rung

TARGET = CPU


@dataclass(frozen=True)
class Goal:
    """What a threshold is for. budget, review: shares of good parts; ng: known defective ones, to show recall."""

    budget: float
    review: float | None
    ng: Path | None

    def __post_init__(self) -> None:
        if self.review is not None and self.review <= self.budget:
            raise UsageError(
                f"--review {100 * self.review:g} is not above --false-reject {100 * self.budget:g}: "
                "the unsure band lies below the threshold, so more good parts are in it or above",
                fix="give a larger share to --review, for example ten times that of --false-reject",
            )


@dataclass(frozen=True)
class Made:
    """One network, calibrated and running; model: its ONNX, None for an engine, which no bundle holds."""

    precision: str
    model: bytes | None
    calibration: Calibration
    judge: Judge


@dataclass(frozen=True)
class Deployed:
    """What the ladder came to. files: INT8 with its calibration and the reports, for the bundle. made: what runs.

    deployment: None for a bundle that has no INT8, and so nothing to choose.
    """

    deployment: Deployment | None
    files: dict[str, tuple[str, bytes]]
    made: Made
    said: tuple[str, ...]


class Line:
    """What every network of one bundle is calibrated and compared with; `close` it at the end.

    specimens: good and altered parts that the gate replays, at most so many of each.
    """

    def __init__(
        self,
        parts: GoodParts,
        backend: str,
        settings: Settings,
        goal: Goal,
        specimens: tuple[int, int] = (HELD_OUT, ALTERED),
    ) -> None:
        self.parts, self.backend, self.settings, self.goal = parts, backend, settings, goal
        self._size = specimens
        self._open: list[Made] = []
        self._specimens: Specimens | None = None

    @property
    def specimens(self) -> Specimens:
        if self._specimens is None:
            self._specimens = Specimens(self.parts, None, *self._size)
        return self._specimens

    def made(self, precision: str, model: bytes, most: int | None = None) -> Made:
        """Open a network and fit its statistics and threshold, on `most` of the held-out parts or all."""
        bundle, threads = self.parts.bundle, self.settings.inspection.threads
        network = open_network(self.backend, model, bundle.manifest, threads)
        calibration = self._calibrated(network, sha256_of(model), most)
        network.close()
        (opened,) = calibrated_backends(self.backend, model, bundle.manifest, bundle.preprocess, calibration, threads)
        return self._running(precision, model, calibration, opened)

    def made_engine(self, engines: EngineLine, rung: Rung) -> Made:
        """Build, calibrate and open an engine; raises EngineError when TensorRT refuses it."""
        opened, calibration = engines.calibrated(rung, self._calibrated)
        return self._running(needs("export.ladder", "cpu").PRECISIONS[rung], None, calibration, opened)

    def _calibrated(self, network: Network, engine_sha256: str, most: int | None = None) -> Calibration:
        parts, bundle = self.parts, self.parts.bundle
        held_out, trained = (spread(known, MOST_IN_STATISTICS) for known in (parts.held_out, parts.trained))
        calibration: Calibration = needs("calibration.baseline", "cpu").calibrate(
            network,
            engine_sha256,
            bundle.manifest,
            bundle.preprocess,
            parts.fields(held_out[:most]),
            weight=parts.weight,
            trained=parts.fields(trained),
            budget=self.goal.budget,
            review=self.goal.review,
            created_utc=now_utc(),
        )
        return calibration

    def _running(self, precision: str, model: bytes | None, calibration: Calibration, opened: Backend) -> Made:
        calibration = replace(calibration, ng_scores=ng_scores(opened, self.parts.bundle, self.goal.ng))
        for line in (f"{precision} on {opened.name}:", *statement(calibration)):
            say(line)
        if self.goal.ng is not None:
            tradeoff = needs("calibration.tradeoff", "cpu")
            for line in tradeoff.tradeoff_lines(calibration.scores, calibration.ng_scores):
                say(line)
        judge = needs("export.gate", "cpu").Judge(opened, calibration.threshold)
        self._open.append(Made(precision, model, calibration, judge))
        return self._open[-1]

    def close(self) -> None:
        for made in self._open:
            made.judge.backend.close()


def deployed(line: Line, networks: Networks, reference: Made) -> Deployed:
    """Go down the processor's ladder, each rung compared with the FP32 reference.

    When no INT8 rung passes, the last one stays in the bundle, to be looked at; `auto` does not run it.
    """

    def make(rung: Rung) -> Made:
        assert networks.int8 is not None
        return line.made("int8", networks.int8 if rung == "int8" else networks.with_floating_ends())

    return _descended(line, reference, TARGET, make)


def on_engines(line: Line, engines: EngineLine, reference: Made) -> Deployed:
    """Go down the ladder of a GPU, each engine compared with FP32 on the processor, FP32 too."""
    return _descended(line, reference, engines.product, lambda rung: line.made_engine(engines, rung))


def _descended(line: Line, reference: Made, target: str, make: Callable[[Rung], Made]) -> Deployed:
    gating, ladder = needs("export.gate", "cpu"), needs("export.ladder", "cpu")
    reports: list[GateReport] = []
    files: dict[str, tuple[str, bytes]] = {}

    def attempt(rung: Rung) -> Attempt[Made]:
        if rung == "fp32" and target == TARGET:
            return ladder.Attempt(reference, reference.calibration.engine_sha256, ())  # type: ignore[no-any-return]
        made = make(rung)
        replayed = gating.replay(line.specimens, reference.judge, made.judge)
        report = gating.gate_report(
            replayed, reference.judge, made.judge, line.settings.gate, budget=line.goal.budget, target=target,
            rung=rung, defects=line.specimens.defects, created_utc=now_utc(),
        )  # fmt: skip
        for text in report.summary():
            say(text)
        reports.append(report)
        if made.model is not None:
            files[f"model_{made.precision}"] = (f"model_{made.precision}.onnx", made.model)
        key, suffix = calibration_key(made.precision, target), "" if target == TARGET else f"_{target}"
        said = json.dumps([entry.as_dict() for entry in reports], indent=1).encode()
        page = needs("export.gate_page", "cpu").gate_page(report, replayed)
        files[key] = (f"{key}.npz", made.calibration.to_bytes())
        files[f"gate_{target}"] = (f"gate{suffix}.json", said)
        files[f"gate_page_{target}"] = (f"gate{suffix}.html", page)
        return ladder.Attempt(made, made.calibration.engine_sha256, report.exceeded)  # type: ignore[no-any-return]

    descent = ladder.descend(ladder.RUNGS[target], attempt)
    say(f"deployed on {target}: {descent.rung}")
    backend = descent.made.judge.backend.name
    deployment = Deployment(precision=ladder.PRECISIONS[descent.rung], backend=backend, tried=descent.tried)
    return Deployed(deployment, files, descent.made, tuple(text for report in reports for text in report.summary()))


def now_utc() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
