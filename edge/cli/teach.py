"""teach: from nothing to a running inspection: samples, training, calibration, gate, start."""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from pathlib import Path
from typing import Any

from edge.backends import choose_backend
from edge.bundle import ModelBundle
from edge.camera import names_files
from edge.cli import INTERRUPTED
from edge.cli.collect import Collection, Stopped, Taking, collect_files, collect_live, opened, require_way
from edge.cli.keyboard import Keyboard
from edge.cli.make_bundle import on_the_processor, recipe_of, train_bundle
from edge.cli.optional import needs, require
from edge.cli.progress import details_in, say
from edge.cli.sample_folder import DETAILS, SampleFolder, folder_name, sample_folder
from edge.config import Settings
from edge.errors import UsageError
from edge.picture_reader import read_picture
from edge.promise import statement
from edge.redact import redact
from edge.versions import prepare_directory

_COUNT = 60
# options of `train` that nobody is asked here
NOT_ASKED: dict[str, Any] = {"ablate": [], "blend": None, "rules": None, "field": None, "defects": None}
# what follows training: score path, export, INT8, statistics, gate
_REST_S = 75.0
# of a method's own steps; fewer are worth no bundle
_LEAST_SHARE = 0.3
# of the samples; when more are unlike the rest, it is not clear which of them are the product
_MOST_SUSPICIOUS = 1 / 3
_COMPARED = 5
# image AUROC on artificial defects below which a person should know
_LITTLE = 0.8


def teach(options: argparse.Namespace, settings: Settings) -> int:
    """Collect, train, export, calibrate, gate, and offer to start; cut off anywhere, a second call goes on."""
    settings = on_the_processor(settings)
    name = folder_name(options.product)
    options.samples = options.samples or Path("teach") / name
    target: Path = options.out or Path("bundles") / name
    keyboard, live = Keyboard(), not names_files(options.camera)
    taking = Taking(options.auto, options.interval)
    require_way(live, taking, keyboard)
    # what can be known now must not fail after an hour of collecting
    _require_count(options.count)
    require("train")
    choose_backend(settings.inspection.backend)
    with sample_folder(options.samples) as folder:
        prepare_directory(target)
        collection = opened(folder, settings, options.count or (_COUNT if live else None))
        collected = False
        try:
            _collect(collection, options, settings, taking, keyboard, live)
            collected = True
            left_out = _judged(collection, options, keyboard)
            _require_enough(collection)
            bundle = _trained(collection, target, options, settings)
        except (KeyboardInterrupt, Stopped):
            return _kept(folder, collected)
    _tell(bundle, folder, options, settings, left_out)
    if options.start or (live and keyboard.present and not options.yes and keyboard.ask("Start now?", "give --start")):
        _start(bundle, options, settings)
    return 0


def _collect(
    collection: Collection,
    options: argparse.Namespace,
    settings: Settings,
    taking: Taking,
    keyboard: Keyboard,
    live: bool,
) -> None:
    folder = collection.folder
    say(f"teaching {options.product!r}: samples in {folder.root}")
    if collection.kept:
        say(f"going on with {len(collection.kept)} samples that are there already")
    if collection.full:
        return
    if live:
        wanted = collection.wanted
        say(f"show good parts only, one at a time, as they will lie on the line; {wanted} are wanted")
        collect_live(collection, options.camera, settings, taking, keyboard)
    else:
        collect_files(collection, options.camera, settings, taking)


def _judged(collection: Collection, options: argparse.Namespace, keyboard: Keyboard) -> int:
    """Hold all samples against each other and leave the suspicious ones out; how many."""
    folder, count = collection.folder, len(collection.kept)
    screening = collection.screener.screening()
    suspicious = screening.rejected[len(collection.screener.turned_away) :]
    reasons = ", ".join(f"{number} {reason}" for reason, number in screening.counts().items())
    say(f"{count} samples; turned away: {reasons or 'none'}")
    shown = [*suspicious, *(each for each in collection.turned_away if Path(each.name).is_file())]
    if shown:
        sheet = needs("calibration.sample_sheet", "cpu")
        drawn = sheet.rejection_sheet(shown, screening.accepted[:_COMPARED], _picture_of)
        say(f"what was turned away, and why: {folder.write_sheet(drawn)}")
    if not suspicious or options.trust:
        return 0
    for each in suspicious:
        say(f"  {collection.name_of(each.name)} is suspicious: {each}")
    share = len(suspicious) / count
    if share > _MOST_SUSPICIOUS:
        raise UsageError(
            f"{share:.0%} of the samples are unlike the others: which of them show the product is not clear",
            fix=f"look at {folder.root}, remove what is wrong from {folder.good}, call again; or --trust all",
        )
    if keyboard.present and not options.yes and not keyboard.ask("Leave them out?", "give --yes or --trust"):
        return 0
    folder.set_aside([each.name for each in suspicious])
    collection.kept = [path for path in collection.kept if path.exists()]
    return len(suspicious)


def _require_count(count: int | None) -> None:
    least = needs("training.dataset", "train").MINIMUM_NORMALS
    if count is not None and count < least:
        raise UsageError(f"--count {count} is too few to learn from", fix=f"at least {least} are needed; 60 are better")


def _require_enough(collection: Collection) -> None:
    least, count = needs("training.dataset", "train").MINIMUM_NORMALS, len(collection.kept)
    if count >= least:
        return
    collection.screener.invalid.refuse_most(count + len(collection.screener.turned_away))
    reasons = sorted({str(each.reason) for each in collection.screener.turned_away})
    turned_away = f"; {len(collection.screener.turned_away)} were turned away: {', '.join(reasons)}" if reasons else ""
    raise UsageError(
        f"{count} samples of good parts, at least {least} are needed{turned_away}",
        fix="show more parts with the same command; 60 or more are better, and every one must be another part",
    )


def _trained(collection: Collection, target: Path, options: argparse.Namespace, settings: Settings) -> ModelBundle:
    """train, export, quantize and calibrate on the samples; the details go to a file."""
    folder, statistics = collection.folder, collection.screener.screening().statistics
    values: dict[str, Any] = vars(options) | {
        "data": folder.root, "out": target, "run_directory": folder.run_directory,
        **NOT_ASKED,
    }  # fmt: skip
    training = argparse.Namespace(**values)
    training.steps = options.steps or _steps(folder, training, settings)
    started = time.monotonic()
    try:
        log = (folder.root / DETAILS).open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{folder.root / DETAILS}: {error.strerror}", fix="mend its permissions") from error
    with log, details_in(log):
        bundle = train_bundle(training, settings, _told, None if statistics is None else statistics.to_bytes())
    say(f"made in {(time.monotonic() - started) / 60:.1f} min; details in {folder.root / DETAILS}")
    return bundle


def _told(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _steps(folder: SampleFolder, training: argparse.Namespace, settings: Settings) -> int:
    """Optimiser steps that fit the time, by trying a few; those of the last call when that one was to do the same."""
    asked = {
        "samples": [path.name for path in folder.paths()],
        "wanted": {name: getattr(training, name) for name in ("method", "variant", "minutes", "seed", "layout")},
    }
    plan = folder.plan()
    if plan.get("asked") == asked and isinstance(plan.get("steps"), int) and not training.fresh:
        return int(plan["steps"])
    training.steps = None
    pace = needs("training.pace", "train").pace_of(training.data, recipe_of(training, settings))
    least = round(_LEAST_SHARE * pace.steps)
    steps: int = max(least, pace.steps_in(max(0.0, training.minutes * 60 - _REST_S)))
    minutes = (pace.seconds * steps / pace.steps + _REST_S) / 60
    about = f"{steps} steps of {training.method} {training.variant}, about {minutes:.1f} min on this machine"
    if steps == pace.steps:
        say(f"training: {about}")
    elif minutes > training.minutes + 0.1:
        say(f"training: {about}; the least worth training, though it takes longer than --minutes {training.minutes:g}")
    else:
        everything = (pace.seconds + _REST_S) / 60
        say(f"training: {about}; --minutes {everything + 0.5:.0f} would allow all {pace.steps} steps")
    folder.keep_plan({"asked": asked, "steps": steps})
    return steps


def _tell(
    bundle: ModelBundle, folder: SampleFolder, options: argparse.Namespace, settings: Settings, left_out: int
) -> None:
    """What was made, and what it promises."""
    precision = bundle.precision("auto")
    record, calibration = bundle.manifest.training, bundle.calibration(precision)
    out = f"; {left_out} left out" if left_out else ""
    lines = [
        ("learned from", f"{record.n_train} good parts in {record.steps} steps, {record.n_heldout} held out{out}"),
        *(("promises" if number == 0 else "", line) for number, line in enumerate(statement(calibration))),
        ("runs", _deployed(bundle, precision)),
    ]
    if "gate_cpu" in bundle.manifest.files:
        report = json.loads(bundle.read("gate_cpu"))[-1]
        lines.append(("finds", _found(report)))
    lines += [
        ("look at", f"{folder.run_directory / 'sheet.png'}: what it makes of parts it has not seen"),
        ("inspect", _command(bundle, options, settings)),
    ]
    say(f"\n{options.product} is ready: {bundle.path}")
    for name, text in lines:
        say(f"  {name:<13} {text}")


def _deployed(bundle: ModelBundle, precision: str) -> str:
    deployed = bundle.manifest.deployments.get("cpu")
    backend = "" if deployed is None else f" on {deployed.backend}"
    return (
        f"{precision}{backend}: the gate found its verdicts as good as FP32's"
        if precision != "fp32"
        else f"fp32{backend}"
    )


def _found(report: dict[str, Any]) -> str:
    """How well artificial defects on unseen parts are told from those parts; report: of the gate."""
    if report["auroc"] is None:
        return "nothing is known: artificial defects could not be drawn on these parts"
    auroc = report["auroc"][1]
    text = f"{report['defects']} on parts it has not seen, image AUROC {auroc:.3f} (1 is all of them, 0.5 is chance)"
    return (
        f"{text}; that is little: more samples, more --minutes or another --method may help"
        if auroc < _LITTLE
        else text
    )


def _command(bundle: ModelBundle, options: argparse.Namespace, settings: Settings) -> str:
    words = [*map(redact, _camera(options, settings)), "--bundle", str(bundle.path)]
    return shlex.join(["edge-inspect", *words, *_config(options)])


def _camera(options: argparse.Namespace, settings: Settings) -> list[str]:
    """Nothing for the camera of the settings: its address is no business of the list of processes."""
    return [] if options.camera == settings.camera.source else ["--camera", options.camera]


def _config(options: argparse.Namespace) -> list[str]:
    return [] if options.config is None else ["--config", str(options.config)]


def _start(bundle: ModelBundle, options: argparse.Namespace, settings: Settings) -> None:
    """Become the inspection: a new program, so that nothing of the training stays in memory."""
    words = ["run", *_camera(options, settings), "--bundle", str(bundle.path), *_config(options)]
    sys.stdout.flush()
    sys.stderr.flush()
    os.execv(sys.executable, [sys.executable, "-m", "edge", *words])


def _kept(folder: SampleFolder, collected: bool) -> int:
    count = len(folder.paths())
    say(f"\nstopped; {count} samples are kept in {folder.root}")
    enough = "" if collected else f"; with --count {count} it trains on these"
    say(f"the same command goes on where it stopped{enough if count else ''}")
    return INTERRUPTED


def _picture_of(name: str) -> Any:
    try:
        return read_picture(Path(name))
    except UsageError:
        return None
