"""Networks calibrated through the backend that will run, and the one of them that is deployed: the ladder and its gate.

First and later calibrations are this: `train`, `calibrate` and `recalibrate` differ in where the good parts come from.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING

from edge.backends import calibrated_backends
from edge.backends.cpu import open_network
from edge.bundle import Calibration, sha256_of
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

TARGET = "cpu"


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
    """One network, calibrated and running."""

    precision: str
    model: bytes
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
        parts, bundle = self.parts, self.parts.bundle
        threads, manifest = self.settings.inspection.threads, bundle.manifest
        held_out, trained = (spread(known, MOST_IN_STATISTICS) for known in (parts.held_out, parts.trained))
        network = open_network(self.backend, model, manifest, threads)
        calibration = needs("calibration.baseline", "cpu").calibrate(
            network,
            sha256_of(model),
            manifest,
            bundle.preprocess,
            parts.fields(held_out[:most]),
            weight=parts.weight,
            trained=parts.fields(trained),
            budget=self.goal.budget,
            review=self.goal.review,
            created_utc=now_utc(),
        )
        network.close()
        (opened,) = calibrated_backends(self.backend, model, manifest, bundle.preprocess, calibration, threads)
        calibration = replace(calibration, ng_scores=ng_scores(opened, bundle, self.goal.ng))
        for line in (f"{precision} on {self.backend}:", *statement(calibration)):
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
    """Go down the ladder, each rung compared with the FP32 reference.

    When no INT8 rung passes, the last one stays in the bundle, to be looked at; `auto` does not run it.
    """
    gating, ladder = needs("export.gate", "cpu"), needs("export.ladder", "cpu")
    reports: list[GateReport] = []
    files: dict[str, tuple[str, bytes]] = {}

    def attempt(rung: Rung) -> Attempt[Made]:
        if rung == "fp32":
            return ladder.Attempt(reference, sha256_of(reference.model), ())  # type: ignore[no-any-return]
        assert networks.int8 is not None
        made = line.made("int8", networks.int8 if rung == "int8" else networks.with_floating_ends())
        replayed = gating.replay(line.specimens, reference.judge, made.judge)
        report = gating.gate_report(
            replayed, reference.judge, made.judge, line.settings.gate, budget=line.goal.budget, target=TARGET,
            rung=rung, defects=line.specimens.defects, created_utc=now_utc(),
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

    descent = ladder.descend(ladder.RUNGS[TARGET], attempt)
    say(f"deployed on {TARGET}: {descent.rung}")
    deployment = Deployment(precision=ladder.PRECISIONS[descent.rung], backend=line.backend, tried=descent.tried)
    said = tuple(text for report in reports for text in report.summary())
    return Deployed(deployment, files, descent.made, said)


def now_utc() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
