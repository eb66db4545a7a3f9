"""Networks calibrated through the backend that will run, and the one of them that is deployed.

First and later calibrations are this: `train`, `calibrate` and `recalibrate` differ in where the good parts come from.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from types import MappingProxyType

import numpy as np

from calibration.adjust import with_value
from calibration.baseline import Fitting, Shown
from calibration.findings.findings import Findings
from calibration.findings.scoring import defective_pictures, score_drawn, score_known
from calibration.findings.what_if import what_if_lines
from calibration.joining import joined
from calibration.pipeline.engines import EngineSession
from calibration.pipeline.gate_samples import ALTERED, HELD_OUT, GateSamples, ng_scores
from calibration.pipeline.memory_folds import Fair, Folds, refitted
from calibration.pipeline.quantizer import Networks
from calibration.pipeline.sample_cache import NormalSamples, Part, spread
from calibration.samples.unusual import ConfirmParts, most_unusual, unusual_sheet
from calibration.tradeoff import in_force, tradeoff_lines
from edge.backends import calibrated_backends
from edge.backends.base import Backend
from edge.backends.cpu import Network, open_network
from edge.bundles.bundle import calibration_key, sha256_of
from edge.bundles.calibration import NAME_LETTERS, Calibration
from edge.bundles.threshold_report import statement
from edge.core.config import Settings
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.latency import StageClock, in_turns, undisturbed
from edge.core.manifest import Deployment
from edge.core.progress import say, working
from edge.kernels.statistics import MOST_IN_STATISTICS
from edge.pages.pictures import picture_bytes
from edge.records.overlay import with_heat
from export.gate import GateReport, gate_report
from export.gate_page import gate_page
from export.operators import Target
from export.paired_scores import ScoredModel, score_pairs
from export.precision_fallback import PRECISIONS, Attempt, CandidatePrecision, try_candidates

TARGET: Target = "cpu"
# good parts that defects of every kind and size are drawn on
_DRAWN_ON, _DRAWN_ON_IN_TILES = 8, 3


@dataclass(frozen=True)
class Goal:
    """What a threshold is for. budget, review: shares of good parts; ng: known defective ones, to show recall.

    budget None: what the good parts support. weak: folder of those that are known by their kind alone, if it is there.

    kept: a threshold that a person set, which stays; None: thresholds are fitted for the budget.
    """

    budget: float | None
    review: float | None
    ng: Path | None
    kept: float | None = None
    weak: Path | None = None

    def __post_init__(self) -> None:
        if self.review is not None and self.budget is not None and self.review <= self.budget:
            raise UsageError(
                f"--review {100 * self.review:g} is not above --false-reject {100 * self.budget:g}: "
                "the unsure band lies below the threshold, so more good parts are in it or above",
                fix="give a larger share to --review, for example ten times that of --false-reject",
            )


@dataclass
class CalibratedNetwork:
    """One network, calibrated and running; model: its ONNX, None for an engine, which no bundle holds.

    complete: thresholds are of all held-out parts. Before that, that of `scored` is of those in the statistics, so
    that networks are compared by the same parts. fitting: goes on to the others; None where they have been scored.
    folds: memories in its own features that have not seen the parts.
    """

    precision: str
    model: bytes | None
    calibration: Calibration
    scored: ScoredModel
    fitting: Fitting | None = None
    folds: Folds | None = None
    complete: bool = False


@dataclass(frozen=True)
class Deployed:
    """What is deployed. files: INT8 with its calibration and the reports, for the bundle. runs: the network that runs.

    gate_lines: what the gate said of every candidate precision, for the history.
    """

    deployment: Deployment
    files: dict[str, tuple[str, bytes]]
    runs: CalibratedNetwork
    gate_lines: tuple[str, ...]

    @property
    def passed(self) -> tuple[str, ...]:
        """The candidate precisions that the gate let through, slower ones as well."""
        return tuple(step.precision for step in self.deployment.tried if not step.exceeded)


class CalibrationSession:
    """What every network of one bundle is calibrated and compared with; `close` it at the end.

    gate_samples: good and altered parts that the gate replays, at most so many of each. folds: memories for the parts
    that the bundle's own has seen. earlier: calibrations of the same networks by precision, whose scores join in the
    threshold where they are comparable.
    """

    def __init__(
        self,
        parts: NormalSamples,
        backend: str,
        settings: Settings,
        goal: Goal,
        gate_samples: tuple[int, int] = (HELD_OUT, ALTERED),
        folds: Folds | None = None,
        earlier: Mapping[str, Calibration] = MappingProxyType({}),
    ) -> None:
        self.parts, self.backend, self.settings, self.goal = parts, backend, settings, goal
        self._size, self._folds, self._earlier = gate_samples, folds, earlier
        self._order = spread(parts.held_out, MOST_IN_STATISTICS)
        self._open: list[Fair[Backend]] = []
        self._gate_samples: GateSamples | None = None

    @property
    def gate_samples(self) -> GateSamples:
        if self._gate_samples is None:
            with working("drawing defects for the gate"):
                self._gate_samples = GateSamples(self.parts, None, *self._size)
        return self._gate_samples

    def calibrate(self, precision: str, model: bytes) -> CalibratedNetwork:
        """Open a network and fit its statistics, and thresholds on the same parts; `complete` scores the others.

        A memory of another precision's features is fitted to this one's first: `model` of the result has it.
        """
        bundle, threads, folds = self.parts.bundle, self.settings.inspection.threads, self._folds
        if folds is not None and precision != "fp32":
            model, folds = refitted(model, precision, self.parts, folds, threads)
        networks = self._networks(model, folds)
        with working(f"{precision}: statistics of good parts"), closing(networks):
            fitting = self._fitting(networks)
        calibration = self._calibration(fitting, sha256_of(model))

        def backend(graph: bytes) -> Backend:
            own = replace(calibration, model_sha256=sha256_of(graph))
            (opened,) = calibrated_backends(self.backend, graph, bundle.manifest, bundle.preprocess, own, threads)
            return opened

        backends = Fair(backend, model, folds)
        running = self._running(backends, calibration, calibration.threshold)
        return CalibratedNetwork(precision, model, *running, fitting, folds)

    def calibrate_engine(self, engines: EngineSession, candidate: CandidatePrecision) -> CalibratedNetwork:
        """Build, calibrate and open an engine; raises EngineError when TensorRT refuses it."""
        thresholds = []

        def calibrated(networks: Fair[Network], model_sha256: str) -> Calibration:
            fitting = self._fitting(networks)
            thresholds.append(self._calibration(fitting, model_sha256).threshold)
            fitting.score_more(self._later(networks, fitting))
            return self._calibration(fitting, model_sha256)

        backends, calibration = engines.calibrated(candidate, calibrated, self._folds)
        precision = PRECISIONS[candidate]
        return CalibratedNetwork(precision, None, *self._running(backends, calibration, thresholds[-1]))

    def complete(self, made: CalibratedNetwork) -> None:
        """Thresholds from all held-out parts, told in words; nothing happens where that is done."""
        if made.complete:
            return
        if made.fitting is not None and made.model is not None:
            networks = self._networks(made.model, made.folds)
            with working(f"{made.precision}: threshold of good parts"), closing(networks):
                made.fitting.score_more(self._later(networks, made.fitting))
            fitted = self._calibration(made.fitting, made.calibration.model_sha256, self._earlier.get(made.precision))
            made.calibration = replace(fitted, ng_scores=made.calibration.ng_scores)
        made.scored.threshold, made.fitting, made.complete = made.calibration.threshold, None, True
        for line in (f"{made.precision} on {made.scored.backend.name}:", *statement(made.calibration)):
            say(line)
        if self.goal.ng is not None:
            for line in tradeoff_lines(made.calibration.scores, made.calibration.ng_scores, in_force(made.calibration)):
                say(line)

    def findings(self, made: CalibratedNetwork) -> Findings:
        """What a network that is complete finds of defects drawn on good parts, and of known defective ones; told."""
        parts, backend = self.parts, made.scored.backend
        preprocess, reader = parts.bundle.preprocess, parts.reader
        count = _DRAWN_ON if parts.tiling is None else _DRAWN_ON_IN_TILES
        shown = spread(parts.held_out or parts.trained, count)[:count]
        with working("drawing defects on good parts, to see what it finds"):
            known = [path for folder in (self.goal.weak, self.goal.ng) for path in defective_pictures(folder, reader)]
            found = Findings(
                model_sha256=made.calibration.model_sha256,
                calibrated_utc=made.calibration.created_utc,
                drawn=score_drawn(backend, preprocess, (reader.read(part.path) for part in shown)),
                known=score_known(backend, preprocess, known, reader, set(parts.bundle.manifest.weak_on)),
                mm_per_px=self.settings.camera.mm_per_px,
            )
        for line in what_if_lines(made.calibration, found):
            say(f"  {line}")
        return found

    def milliseconds(self, made: Sequence[CalibratedNetwork]) -> tuple[list[float], ...]:
        """What a good part takes in each of some networks, round by round of a short timing on this machine."""
        frame = self.parts.reader.read(self._order[0].path)
        with working("a short timing of what passes the gate"):
            times = in_turns([partial(_judge, each.scored.backend, frame) for each in made])
        taken = [f"{each.precision} {undisturbed(rounds):.2f} ms" for each, rounds in zip(made, times, strict=True)]
        say(f"a part takes, on this machine: {', '.join(taken)}")
        return times

    def refused(self, made: CalibratedNetwork, confirm: ConfirmParts, sheet: Path | None) -> list[Part]:
        """Of the most unusual good parts those that are none, as a person says.

        made: calibrated, not complete. sheet: where a contact sheet of them is written before the question.
        """
        assert made.fitting is not None, "scores are at hand as long as it is not complete"
        shown = most_unusual([part.path for part in self._order], np.array(made.fitting.scores, np.float32))
        if sheet is not None:
            pictures = [self._with_heat(made, part.path) for part in shown]
            write_atomic(sheet, picture_bytes(unusual_sheet(shown, pictures)))
        answer = set(confirm(shown, sheet))
        return [part for part in self._order if part.path in answer]

    def forget(self, refused: Sequence[Part], folds: Folds | None) -> None:
        """Go on without these parts; folds: memories that have not seen them. What was calibrated before is closed."""
        say(f"left out, as no good parts: {', '.join(part.path.name for part in refused)}")
        self.parts.leave_out(part.sha256 for part in refused)
        self._order, self._folds = spread(self.parts.held_out, MOST_IN_STATISTICS), folds
        self._gate_samples = None
        self.close()

    def _with_heat(self, made: CalibratedNetwork, path: Path) -> U8:
        frame, preprocess = self.parts.reader.read(path), self.parts.bundle.preprocess
        view = preprocess.field_of_view(*frame.shape[:2])
        assert view is not None, "the parts were checked"
        return with_heat(frame, made.scored.backend.score(frame, StageClock(0)), view, made.calibration.threshold)

    def _networks(self, model: bytes, folds: Folds | None) -> Fair[Network]:
        manifest, threads = self.parts.bundle.manifest, self.settings.inspection.threads
        return Fair(lambda graph: open_network(self.backend, graph, manifest, threads), model, folds)

    def _fitting(self, networks: Fair[Network]) -> Fitting:
        parts = self.parts
        trained = self._shown(networks, spread(parts.trained, MOST_IN_STATISTICS))
        return Fitting(parts.bundle.manifest, self._shown(networks, self._order), parts.weight, trained)

    def _later(self, networks: Fair[Network], fitting: Fitting) -> Iterator[Shown]:
        return self._shown(networks, self._order[len(fitting.scores) :])

    def _shown(self, networks: Fair[Network], parts: Sequence[Part]) -> Iterator[Shown]:
        for part, field in zip(parts, self.parts.fields(parts), strict=True):
            yield Shown(networks.of(part.sha256), field)

    def _calibration(self, fitting: Fitting, model_sha256: str, earlier: Calibration | None = None) -> Calibration:
        goal, preprocess = self.goal, self.parts.bundle.preprocess
        fitted = fitting.calibration(model_sha256, preprocess, goal.budget, goal.review, now_utc())
        names = [part.sha256[:NAME_LETTERS] for part in self._order[: len(fitting.scores)]]
        fitted = replace(fitted, part_names=np.array(names))
        if earlier is not None:
            fitted, words = joined(fitted, earlier, goal.budget, goal.review)
            say(words)
        if goal.kept is None:
            return fitted
        try:
            return with_value(fitted, goal.kept)
        except UsageError as error:
            raise UsageError(
                f"the threshold that was set by hand does not fit these parts: {error.message}",
                fix=f"give --threshold refit: these parts ask for {fitted.threshold:.4f}",
            ) from error

    def _running(
        self, backends: Fair[Backend], calibration: Calibration, threshold: float
    ) -> tuple[Calibration, ScoredModel]:
        self._open.append(backends)
        scores = ng_scores(backends.deployed, self.parts, self.goal.ng)
        return replace(calibration, ng_scores=scores), ScoredModel(backends.deployed, threshold, judge=backends.of)

    def close(self, made: CalibratedNetwork | None = None) -> None:
        """Everything that was opened, or what was opened of one of them."""
        for backends in list(self._open):
            if made is None or backends.deployed is made.scored.backend:
                backends.close()
                self._open.remove(backends)


def _judge(backend: Backend, frame: U8) -> None:
    backend.score(frame, StageClock(0))


def deploy(session: CalibrationSession, networks: Networks, reference: CalibratedNetwork) -> Deployed:
    """Try the processor's candidate precisions, each compared with the FP32 reference; the fastest that passes runs.

    What passes is complete, but for the reference: the caller decides whether it is the last word. An INT8 network that
    is not deployed stays in the bundle: for another machine, or, where none passed, to be looked at.
    """

    def make(candidate: CandidatePrecision) -> CalibratedNetwork:
        assert networks.int8 is not None
        return session.calibrate("int8", networks.int8 if candidate == "int8" else networks.with_floating_ends())

    return _fastest_that_passes(session, reference, TARGET, make)


def deploy_engine(session: CalibrationSession, engines: EngineSession, reference: CalibratedNetwork) -> Deployed:
    """Try the candidate precisions of a GPU, each engine compared with FP32 on the processor, FP32 too."""
    return _fastest_that_passes(
        session, reference, engines.product, lambda candidate: session.calibrate_engine(engines, candidate)
    )


def _fastest_that_passes(
    session: CalibrationSession,
    reference: CalibratedNetwork,
    target: Target,
    make: Callable[[CandidatePrecision], CalibratedNetwork],
) -> Deployed:
    reports: list[GateReport] = []
    files: dict[str, tuple[str, bytes]] = {}
    pages: dict[str, bytes] = {}

    def attempt(candidate: CandidatePrecision) -> Attempt[CalibratedNetwork]:
        if candidate == "fp32" and target == TARGET:
            return Attempt(reference, reference.calibration.model_sha256, ())
        made = make(candidate)
        gate_samples = session.gate_samples
        with working(f"gate: judging good and defective parts in fp32 and in {made.precision}"):
            pairs = score_pairs(gate_samples, reference.scored, made.scored)
        report = gate_report(
            pairs, reference.scored, made.scored, session.settings.gate, budget=made.calibration.false_reject_budget,
            target=target,
            precision=candidate, defects=gate_samples.defects, created_utc=now_utc(),
        )  # fmt: skip
        for text in report.summary():
            say(text)
        if report.passed:
            session.complete(made)
        else:
            session.close(made)
        reports.append(report)
        if made.model is not None:
            files[f"model_{made.precision}"] = (f"model_{made.precision}.onnx", made.model)
        key, suffix = calibration_key(made.precision, target), "" if target == TARGET else f"_{target}"
        files[key] = (f"{key}.npz", made.calibration.to_bytes())
        files[f"gate_{target}"] = (f"gate{suffix}.json", _json(reports))
        pages[candidate] = gate_page(report, pairs)
        files[f"gate_page_{target}"] = (f"gate{suffix}.html", pages[candidate])
        return Attempt(made, made.calibration.model_sha256, report.exceeded)

    fallback = try_candidates(target, attempt, session.milliseconds)
    say(f"deployed on {target}: {fallback.candidate}")
    if fallback.candidate in pages:
        name, _ = files[f"gate_page_{target}"]
        files[f"gate_page_{target}"] = (name, pages[fallback.candidate])
    backend = fallback.result.scored.backend.name
    deployment = Deployment(precision=PRECISIONS[fallback.candidate], backend=backend, tried=fallback.tried)
    return Deployed(deployment, files, fallback.result, tuple(text for report in reports for text in report.summary()))


def _json(reports: list[GateReport]) -> bytes:
    return json.dumps([report.as_dict() for report in reports], indent=1).encode()


def now_utc() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
