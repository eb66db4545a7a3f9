"""recalibrate: new good parts in, a new version of the bundle out, as one checked transaction."""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from calibration.pipeline.calibrator import (
    TARGET,
    CalibratedNetwork,
    CalibrationSession,
    Deployed,
    Goal,
    deployed,
    now_utc,
)
from calibration.pipeline.new_samples import NewSamples, new_samples, sample_paths
from calibration.pipeline.quantizer import Networks, Quantizer, networks_of
from calibration.pipeline.sample_cache import normal_samples
from edge.backends import GPU_BACKENDS, choose_backend, open_backend
from edge.bundles.bundle import Calibration, ModelBundle, load_bundle
from edge.bundles.history import Audit
from edge.bundles.threshold_report import rejected
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
from edge.cli.bundles.signed_version import lacks_key, signer, wait_for_signature
from edge.cli.keyboard import Keyboard, at_terminal
from edge.cli.making.shadow_trial import passes_trial
from edge.core.config import Settings
from edge.core.errors import BundleError, UsageError
from edge.core.latency import StageClock
from edge.core.manifest import Manifest
from edge.core.progress import say, working
from edge.samples import sample_bundle
from edge.system.extras import needs

if TYPE_CHECKING:
    from export.gate import GateReport
    from export.paired_scores import ScoredModel

# good and altered parts that the gates replay: what 64 and 192 would tell more is not worth their time
_SPECIMENS = (48, 96)
# fewer than where the estimator is yet to be chosen
_RANGE_PICTURES = 64
# artificial defects are told from these parts this much worse than from those that the bundle was made with
_LOST_AUROC = 0.1
# good parts that vary more than before rightly widen the statistics, and the map tells less there
_PIXEL_LEEWAY = 5
_NOT_BY_CHANCE = 0.99


def recalibrate(options: argparse.Namespace, settings: Settings) -> int:
    """0 when the new version is live, or waits for its signature; 1 when a gate or the trial kept it from that."""
    if settings.inspection.backend in GPU_BACKENDS:
        raise UsageError(
            "recalibrate renews what runs on the processor, not engines",
            fix=f"edge-inspect calibrate --bundle BUNDLE --data NORMALS --backend {settings.inspection.backend}",
        )
    bundle = _bundle_to_change(settings)
    options.sheet = options.sheet or bundle.path.with_name(bundle.path.name + ".refused.png")
    needs("calibration.ranges", "export")
    precision = bundle.precision(settings.inspection.precision)
    live = bundle.calibration(precision)
    goal = _goal(options, live)
    with making_version(bundle) as still_live:
        with _timed("samples"):
            paths, source = sample_paths(options, settings, bundle)
        try:
            return _recalibrated(bundle, precision, live, goal, (paths, source), still_live, settings, options)
        except (UsageError, BundleError) as error:
            _keep_refusal(bundle, Audit("recalibrate", note=f"{source}: {error.message.splitlines()[0]}"))
            raise


def _recalibrated(
    bundle: ModelBundle, precision: str, live: Calibration, goal: Goal, chosen: tuple[list[Path], str],
    still_live: StillLive, settings: Settings, options: argparse.Namespace,
) -> int:  # fmt: skip
    with _timed("screening"):
        samples = new_samples(bundle, *chosen, live, settings, options, still_live.check)
    line = CalibrationSession(samples.parts, choose_backend(settings.inspection.backend), settings, goal, _SPECIMENS)
    try:
        renewed = _renewed(line, bundle, again=options.choose_again)
        still_live.check()
        with _timed("old against new"):
            old = _old_judge(bundle, precision, live, samples, goal, settings)
            report = _old_against_new(bundle, line, old, renewed.runs.judge, live, options)
            old.backend.close()
    finally:
        line.close()
    for text in report.summary():
        say(text)
    if not report.passed:
        _keep_refusal(bundle, Audit("recalibrate", samples.audit, tuple(report.summary())))
        say(f"refused: {bundle.path} stays as it is, at version {bundle.sha256[:SHORT]}")
        if goal.kept is not None:
            say(f"the threshold {goal.kept:.4f} that was set by hand was kept; --threshold refit fits it anew")
        return 1
    manifest, said = bundle.manifest, report.summary()
    if renewed.deployed is not None:
        deployments = {**manifest.deployments, TARGET: renewed.deployed.deployment}
        manifest, said = manifest.model_copy(update={"deployments": deployments}), [*renewed.deployed.said, *said]
    audit = Audit("recalibrate", samples.audit, tuple(said))
    return _made_live(bundle, manifest, _parts(renewed, samples, report), audit, settings, options)


def _keep_refusal(bundle: ModelBundle, audit: Audit) -> None:
    """The refusal itself is what a person must see, also where the history cannot be written."""
    try:
        note_refusal(bundle, audit)
    except BundleError as error:
        say(f"the history does not have it: {error.message}")


def _bundle_to_change(settings: Settings) -> ModelBundle:
    if settings.inspection.bundle is None:
        raise UsageError(
            "which bundle shall be recalibrated? The one that comes with the program is not changed",
            fix=f"give --bundle; to try it out, copy {sample_bundle()}",
        )
    return load_bundle(Path(settings.inspection.bundle))


def _goal(options: argparse.Namespace, live: Calibration) -> Goal:
    """The budgets given, or those of the live version."""
    budget = live.false_reject_budget if options.false_reject is None else options.false_reject / 100
    review = None if options.review is None else options.review / 100
    if review is None and live.review_threshold is not None:
        share = (rejected(live.scores, live.review_threshold) + 1) / (len(live.scores) + 1)
        review = share if share > budget else None
    return Goal(budget, review, options.ng, _kept(options, live))


def _kept(options: argparse.Namespace, live: Calibration) -> float | None:
    """A threshold that a person set is that person's to give up."""
    if not live.set_by_hand:
        return None
    named = f"the threshold {live.threshold:.4f} was set by hand"
    choice = options.threshold
    if choice is None and options.false_reject is None and at_terminal():
        wanted = Keyboard().ask(f"{named}. Keep it? No fits it anew.", "give --threshold")
        choice = "keep" if wanted else "refit"
    if choice == "refit" or (choice is None and options.false_reject is not None):
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


def _renewed(line: CalibrationSession, bundle: ModelBundle, *, again: bool) -> _Renewed:
    """Ranges, statistics, and what passes the gate; everything is chosen again only where no INT8 network does."""
    earlier = networks_of(bundle)
    if earlier.int8 is None:
        with _timed("statistics, threshold"):
            made = line.made("fp32", earlier.fp32)
            line.complete(made)
        return _Renewed(earlier, None, made, made)
    quantiser = Quantizer(line.parts, line.settings.inspection.threads, _RANGE_PICTURES)
    again = again or earlier.record is None
    with _timed("ranges"):
        networks = quantiser.chosen() if again else quantiser.as_before(earlier)
    with _timed("statistics, threshold, gate"):
        reference = line.made("fp32", networks.fp32)
        result = deployed(line, networks, reference)
    if result.made is reference and not again:
        say("what was found best before does not pass any more: it is chosen again")
        with _timed("choosing again"):
            other = quantiser.chosen()
            # the same network would be refused for the same reasons
            if other.int8 != networks.int8:
                networks, result = other, deployed(line, other, reference)
    with _timed("threshold of what runs"):
        line.complete(result.made)
    return _Renewed(networks, result, result.made, reference)


def _old_judge(
    bundle: ModelBundle, precision: str, live: Calibration, samples: NewSamples, goal: Goal, settings: Settings
) -> ScoredModel:
    """The live version, with its threshold raised to where it would keep the budget on the new samples.

    As it stands it might reject them all, and every defect with them: nothing could then be missed less.
    """
    share = _accepted(live, goal, live.false_reject_budget)
    fitted = needs("calibration.threshold", "cpu").image_threshold(samples.live_scores, share)
    inspection = settings.inspection
    backend = open_backend(bundle, inspection.backend, precision, inspection.threads)
    judge: ScoredModel = needs("export.paired_scores", "cpu").ScoredModel(backend, max(live.threshold, fitted.value))
    return judge


def _old_against_new(
    bundle: ModelBundle,
    line: CalibrationSession,
    old: ScoredModel,
    new: ScoredModel,
    live: Calibration,
    options: argparse.Namespace,
) -> GateReport:
    gating = needs("export.gate", "cpu")
    gate_samples = line.gate_samples
    with working("judging good and defective parts with the old version and the new one"):
        pairs = needs("export.paired_scores", "cpu").score_pairs(gate_samples, old, new)
    gate = line.settings.gate
    good = sum(not part.defective for part in pairs)
    accepted = _accepted(live, line.goal, line.goal.budget)
    share = gate.flip_share if gate.flip_share is not None else _by_chance(good, accepted) / good
    limits = gate.model_copy(update={"flip_share": share, "aupro_drop": min(1.0, _PIXEL_LEEWAY * gate.aupro_drop)})
    report: GateReport = gating.gate_report(
        pairs, old, new, limits, budget=line.goal.budget, target=TARGET, rung="new version",
        defects=line.gate_samples.defects, created_utc=now_utc(),
    )  # fmt: skip
    exceeded = [*report.exceeded, *_auroc_lost(bundle, report)]
    if options.old is not None:
        exceeded += _old_parts_rejected(bundle, line, old, new, report, options)
    return replace(report, exceeded=tuple(exceeded))


def _accepted(live: Calibration, goal: Goal, budget: float) -> float:
    """The share of good parts that may be rejected: what the person accepted who set the threshold, else the budget."""
    if goal.kept is None:
        return budget
    return max(budget, (rejected(live.scores, goal.kept) + 1) / (len(live.scores) + 1))


def _by_chance(count: int, budget: float) -> int:
    """How many of so many good parts a threshold that keeps its budget may reject: more in one of a hundred draws."""
    chance, allowed = 0.0, -1
    while chance < _NOT_BY_CHANCE:
        allowed += 1
        chance += math.comb(count, allowed) * budget**allowed * (1 - budget) ** (count - allowed)
    return allowed


def _auroc_lost(bundle: ModelBundle, report: GateReport) -> list[str]:
    """Whether the network still tells defects apart on these parts as it did when the bundle was last gated."""
    if "gate_cpu" not in bundle.manifest.files or report.auroc is None:
        return []
    try:
        before = float(json.loads(bundle.read("gate_cpu"))[-1]["auroc"][1])
    except (IndexError, KeyError, TypeError, ValueError):
        return []
    now = report.auroc[1]
    if before - now <= _LOST_AUROC:
        return []
    return [
        f"image AUROC {now:.4f} of artificial defects on these parts, {before:.4f} when the bundle was last gated: "
        "another product, or a scene that the network must be trained on"
    ]


def _old_parts_rejected(
    bundle: ModelBundle,
    line: CalibrationSession,
    old: ScoredModel,
    new: ScoredModel,
    report: GateReport,
    options: argparse.Namespace,
) -> list[str]:
    """Earlier good parts must still pass, unless the scene that they show is gone."""
    parts = normal_samples(bundle, options.old, _SPECIMENS[0], line.parts.reader).held_out
    frames = [line.parts.reader.read(part.path) for part in parts]
    rejects = [
        int(np.count_nonzero([judge.backend.score(f, StageClock(0)).score > judge.threshold for f in frames]))
        for judge in (old, new)
    ]
    say(f"{len(parts)} earlier good parts of {options.old}: the old version rejects {rejects[0]}, the new {rejects[1]}")
    if options.scene_changed or rejects[1] - rejects[0] <= report.flips_allowed:
        return []
    return [f"{rejects[1] - rejects[0]} of {len(parts)} earlier good parts newly rejected"]


def _parts(renewed: _Renewed, samples: NewSamples, report: GateReport) -> Parts:
    files = {"calibration_fp32": ("calibration_fp32.npz", renewed.fp32.calibration.to_bytes())}
    if renewed.deployed is not None:
        # the ladder's INT8 network comes last: it may have floating ends
        files |= {**renewed.networks.files(), **renewed.deployed.files}
    files |= samples.parts.drift_file()
    if samples.statistics is not None:
        files["samples"] = ("samples.npz", samples.statistics.to_bytes())
    files["gate_versions"] = ("gate_versions.json", json.dumps(report.as_dict(), indent=1).encode())
    return files


def _made_live(
    bundle: ModelBundle, manifest: Manifest, parts: Parts, audit: Audit, settings: Settings,
    options: argparse.Namespace,
) -> int:  # fmt: skip
    """Sign, try beside the live version, switch: as far as was asked for."""
    if lacks_key(bundle, settings, options.sign_key):
        wait_for_signature(bundle, manifest, parts, audit)
        return 0
    signed = signer(options.sign_key)
    if options.shadow is None:
        made = commit_version(bundle, manifest, parts, audit, signed)
    else:
        trial = f"beside the live version for {options.shadow} frames"
        staged = stage_version(bundle, manifest, parts, replace(audit, action="candidate", note=trial))
        signed(staged)
        name = staged.sha256[:SHORT]
        if not passes_trial(bundle, staged, options.shadow, options.shadow_limit / 100):
            say(
                f"version {name} is made, and not live: look at the disagreements, then make it live with "
                f"`edge-inspect rollback --bundle {bundle.path} --to {name}`"
            )
            return 1
        made = switch_version(bundle, staged, audit)
    for text in differences(bundle, made):
        say(text)
    back = f"edge-inspect rollback --bundle {bundle.path}"
    say(f"{bundle.path}: version {made.sha256[:SHORT]} is live; `{back}` goes back")
    return 0


@contextmanager
def _timed(step: str) -> Iterator[None]:
    started = time.perf_counter()
    yield
    say(f"{step}: {time.perf_counter() - started:.1f} s")
