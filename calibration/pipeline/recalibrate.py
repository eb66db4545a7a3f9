"""New good parts in, a new version of the bundle out, as one checked transaction."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from calibration.adjust import AUTO, band_is_automatic
from calibration.findings.findings import Findings
from calibration.pipeline.calibrator import TARGET, CalibratedNetwork, CalibrationSession, Deployed, Goal, deploy
from calibration.pipeline.memory_folds import Extended, Folds, extended, folds_of
from calibration.pipeline.new_samples import NewSamples, SampleRequest, new_samples, sample_paths
from calibration.pipeline.quantizer import Networks, Quantizer, networks_of
from calibration.pipeline.version_gate import live_model, versions_compared
from calibration.samples.unusual import SHEET as UNUSUAL
from calibration.samples.unusual import name_unusual
from edge.backends import GPU_BACKENDS, choose_backend
from edge.bundles.bundle import ModelBundle, calibrations, load_bundle
from edge.bundles.calibration import Calibration
from edge.bundles.history import Audit
from edge.bundles.shadow_trial import passes_trial
from edge.bundles.signed_version import lacks_key, signer, wait_for_signature
from edge.bundles.threshold_report import rejected, share_text
from edge.bundles.versions import (
    SHORT,
    Parts,
    StillLive,
    commit_version,
    differences,
    making_version,
    note_refusal,
    stage_version,
    switch_version,
)
from edge.capture.images.image_reader import ImageReader
from edge.core.config import Settings
from edge.core.errors import BundleError, UsageError
from edge.core.manifest import Manifest
from edge.core.progress import say
from edge.samples import sample_bundle
from export.gate import GateReport

# good and altered parts that the gates replay: what 64 and 192 would tell more is not worth their time
_GATE_SAMPLES = (48, 96)
# fewer than where the estimator is yet to be chosen
_RANGE_PICTURES = 64

# asked whether a threshold that was set by hand stays; its text names the threshold
AskToKeep = Callable[[str], bool]


@dataclass(frozen=True)
class RecalibrationRequest:
    """What is asked for. Shares are 0..1; what is None is as the live version has it.

    false_reject, review: shares of good parts; a budget of AUTO is what the new good parts support. threshold: what
    becomes of one that was set by hand. ng: folder of known defective parts, to show recall. old: folder of earlier
    good parts that must still pass. shadow: frames of a running line that both versions judge first; shadow_limit:
    share of disagreements up to which the new one becomes live.
    """

    samples: SampleRequest
    false_reject: float | None = None
    review: float | None = None
    threshold: Literal["keep", "refit"] | None = None
    ng: Path | None = None
    old: Path | None = None
    choose_again: bool = False
    shadow: int | None = None
    shadow_limit: float = 0.01
    sign_key: Path | None = None


def bundle_to_recalibrate(settings: Settings) -> ModelBundle:
    """The bundle of the settings; raises UsageError where none is named, or engines are asked for."""
    if settings.inspection.backend in GPU_BACKENDS:
        raise UsageError(
            "recalibrate renews what runs on the processor, not engines",
            fix=f"edge-inspect calibrate --bundle BUNDLE --data NORMALS --backend {settings.inspection.backend}",
        )
    if settings.inspection.bundle is None:
        raise UsageError(
            "which bundle shall be recalibrated? The one that comes with the program is not changed",
            fix=f"give --bundle; to try it out, copy {sample_bundle()}",
        )
    return load_bundle(Path(settings.inspection.bundle))


def recalibrate_bundle(
    bundle: ModelBundle,
    request: RecalibrationRequest,
    settings: Settings,
    reader: ImageReader,
    ask_to_keep: AskToKeep | None,
) -> bool:
    """Whether the new version is live, or waits for its signature; False when a gate or the trial kept it from that.

    ask_to_keep: None where nobody can be asked. Raises UsageError and BundleError; a refusal is in the history.
    """
    precision = bundle.precision(settings.inspection.precision)
    live = bundle.calibration(precision)
    goal = _goal(request, live, ask_to_keep)
    with making_version(bundle) as still_live:
        with _timed("samples"):
            paths, source = sample_paths(request.samples, settings, bundle, reader)
        try:
            with _timed("screening"):
                samples = new_samples(bundle, paths, source, live, settings, request.samples, reader, still_live.check)
            return _recalibrated(bundle, precision, live, goal, samples, still_live, settings, request)
        except (UsageError, BundleError) as error:
            _keep_refusal(bundle, Audit("recalibrate", note=f"{source}: {error.message.splitlines()[0]}"))
            raise


def _recalibrated(
    bundle: ModelBundle, precision: str, live: Calibration, goal: Goal, samples: NewSamples, still_live: StillLive,
    settings: Settings, request: RecalibrationRequest,
) -> bool:  # fmt: skip
    backend = choose_backend(settings.inspection.backend)
    # where the scene changed, earlier scores are of another
    earlier = {} if request.samples.scene_changed else _calibrations(bundle)
    parts, threads = samples.parts, settings.inspection.threads
    with _timed("memory"):
        more = extended(bundle, parts, threads)
        folds = folds_of(bundle, parts, threads) if more is None else more.folds
    session = CalibrationSession(parts, backend, settings, goal, _GATE_SAMPLES, folds, earlier)
    with closing(session):
        renewed = _renewed(
            session, bundle, more, folds, bundle.path.with_name(f"{bundle.path.name}.{UNUSUAL}"),
            again=request.choose_again,
        )  # fmt: skip
        still_live.check()
        with _timed("old against new"):
            old = live_model(bundle, precision, live, samples.live_scores, goal, settings)
            report = versions_compared(
                session, old, renewed.runs.scored, live, request.old,
                budget=_rejected_share(renewed.runs.calibration), scene_changed=request.samples.scene_changed,
            )  # fmt: skip
            old.backend.close()
        findings = session.findings(renewed.runs) if report.passed else None
    summary = report.summary()
    for text in summary:
        say(text)
    if not report.passed:
        _keep_refusal(bundle, Audit("recalibrate", samples.audit, tuple(summary)))
        say(f"refused: {bundle.path} stays as it is, at version {bundle.sha256[:SHORT]}")
        if goal.kept is not None:
            say(f"the threshold {goal.kept:.4f} that was set by hand was kept; --threshold refit fits it anew")
        return False
    manifest = bundle.manifest
    if more is not None:
        manifest = manifest.model_copy(update={"memory_on": more.memory_on})
    if renewed.deployed is not None:
        deployments = {**manifest.deployments, TARGET: renewed.deployed.deployment}
        manifest = manifest.model_copy(update={"deployments": deployments})
        summary = [*renewed.deployed.gate_lines, *summary]
    audit = Audit("recalibrate", samples.audit, tuple(summary))
    return _made_live(bundle, manifest, _parts(renewed, samples, report, findings), audit, settings, request)


def _rejected_share(calibration: Calibration) -> float:
    """What the new version rejects of good parts: its budget, and more where some of them stand apart."""
    count = len(calibration.scores)
    return max(calibration.false_reject_budget, (rejected(calibration.scores, calibration.threshold) + 1) / (count + 1))


def _calibrations(bundle: ModelBundle) -> dict[str, Calibration]:
    return {name: bundle.calibration(name) for name, target in calibrations(bundle.manifest) if target == TARGET}


def _keep_refusal(bundle: ModelBundle, audit: Audit) -> None:
    """The refusal itself is what a person must see, also where the history cannot be written."""
    try:
        note_refusal(bundle, audit)
    except BundleError as error:
        say(f"the history does not have it: {error.message}")


def _goal(request: RecalibrationRequest, live: Calibration, ask_to_keep: AskToKeep | None) -> Goal:
    """The budgets given, or those that a person gave the live version; else what the new good parts support."""
    budget = request.false_reject
    if budget is None and live.budget_asked:
        budget = live.false_reject_budget
        say(
            f"the false-reject budget stays at {share_text(budget)}, as it was asked for; "
            "--false-reject auto takes what the good parts support"
        )
    elif budget == AUTO:
        budget = None
    review = request.review
    if review is None and live.review_threshold is not None and not band_is_automatic(live):
        share = (rejected(live.scores, live.review_threshold) + 1) / (len(live.scores) + 1)
        review = share if budget is None or share > budget else None
    return Goal(budget, review, request.ng, _kept(request, live, ask_to_keep))


def _kept(request: RecalibrationRequest, live: Calibration, ask_to_keep: AskToKeep | None) -> float | None:
    """A threshold that a person set is that person's to give up."""
    if not live.set_by_hand:
        return None
    named = f"the threshold {live.threshold:.4f} was set by hand"
    choice = request.threshold
    if choice is None and request.false_reject is not None:
        choice = "refit"
    elif choice is None and ask_to_keep is not None:
        choice = "keep" if ask_to_keep(named) else "refit"
    if choice == "refit":
        say(f"{named}; it is fitted anew, as asked")
        return None
    say(f"{named}, and stays; --threshold refit fits it anew")
    return live.threshold


@dataclass(frozen=True)
class _Renewed:
    """The networks of the new version, and what of them is calibrated; deployed: None for a bundle without INT8."""

    networks: Networks
    deployed: Deployed | None
    runs: CalibratedNetwork
    fp32: CalibratedNetwork


def _renewed(
    session: CalibrationSession, bundle: ModelBundle, more: Extended | None, folds: Folds | None, unusual: Path, *,
    again: bool,
) -> _Renewed:  # fmt: skip
    """Ranges, statistics, and what passes the gate; everything is chosen again only where no INT8 network does.

    more: the network with a memory that the parts have joined. unusual: where the most unusual good parts are drawn.
    """
    earlier = networks_of(bundle)
    if more is not None:
        earlier = replace(earlier, fp32=more.model)
    if earlier.int8 is None:
        with _timed("statistics, threshold"):
            made = session.calibrate("fp32", earlier.fp32)
            session.refused(made, name_unusual, unusual)
            session.complete(made)
        return _Renewed(earlier, None, made, made)
    threads = session.settings.inspection.threads
    quantizer = Quantizer(session.parts, threads, _RANGE_PICTURES, folds, earlier.fp32)
    again = again or earlier.record is None
    with _timed("ranges"):
        networks = quantizer.chosen() if again else quantizer.as_before(earlier)
    with _timed("statistics, threshold, gate"):
        reference = session.calibrate("fp32", networks.fp32)
        session.refused(reference, name_unusual, unusual)
        result = deploy(session, networks, reference)
    if result.passed == ("fp32",) and not again:
        say("what was found best before does not pass any more: it is chosen again")
        with _timed("choosing again"):
            other = quantizer.chosen()
            # the same network would be refused for the same reasons
            if other.int8 != networks.int8:
                networks, result = other, deploy(session, other, reference)
    with _timed("threshold of what runs"):
        session.complete(result.runs)
    return _Renewed(networks, result, result.runs, reference)


def _parts(renewed: _Renewed, samples: NewSamples, report: GateReport, findings: Findings | None) -> Parts:
    assert renewed.fp32.model is not None, "on the processor"
    files = {
        "model_fp32": ("model_fp32.onnx", renewed.fp32.model),
        "calibration_fp32": ("calibration_fp32.npz", renewed.fp32.calibration.to_bytes()),
    }
    if renewed.deployed is not None:
        # the INT8 network that was deployed comes last: it may have floating ends
        files |= {**renewed.networks.files(), **renewed.deployed.files}
    files |= samples.parts.drift_file() | (findings.file() if findings is not None else {})
    if samples.statistics is not None:
        files["samples"] = ("samples.npz", samples.statistics.to_bytes())
    files["gate_versions"] = ("gate_versions.json", json.dumps(report.as_dict(), indent=1).encode())
    return files


def _made_live(
    bundle: ModelBundle, manifest: Manifest, parts: Parts, audit: Audit, settings: Settings,
    request: RecalibrationRequest,
) -> bool:  # fmt: skip
    """Sign, try beside the live version, switch: as far as was asked for."""
    if lacks_key(bundle, settings, request.sign_key):
        wait_for_signature(bundle, manifest, parts, audit)
        return True
    signed = signer(request.sign_key)
    if request.shadow is None:
        made = commit_version(bundle, manifest, parts, audit, signed)
    else:
        trial = f"beside the live version for {request.shadow} frames"
        staged = stage_version(bundle, manifest, parts, replace(audit, action="candidate", note=trial))
        signed(staged)
        name = staged.sha256[:SHORT]
        if not passes_trial(bundle, staged, request.shadow, request.shadow_limit):
            say(
                f"version {name} is made, and not live: look at the disagreements, then make it live with "
                f"`edge-inspect rollback --bundle {bundle.path} --to {name}`"
            )
            return False
        made = switch_version(bundle, staged, audit)
    for text in differences(bundle, made):
        say(text)
    back = f"edge-inspect rollback --bundle {bundle.path}"
    say(f"{bundle.path}: version {made.sha256[:SHORT]} is live; `{back}` goes back")
    return True


@contextmanager
def _timed(step: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    say(f"{step}: {time.perf_counter() - started:.1f} s")
