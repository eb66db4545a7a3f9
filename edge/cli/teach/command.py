"""teach: from nothing to a running inspection: samples, training, calibration, gate, start."""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.exit_codes import INTERRUPTED
from edge.cli.making.train import add_method, recipe_of
from edge.cli.options import (
    AUTO,
    AUTO_MINUTES,
    CPU_BACKENDS,
    MEMORY,
    PRETRAINED,
    percent,
    positive,
    positive_int,
    request_from,
    share,
    whole_number,
)
from edge.cli.teach.start import learn_beside, start_inspection
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.progress import details_in, say
from edge.system.stop_signals import unwrapped_ctrl_c

if TYPE_CHECKING:
    from collections.abc import Sequence

    from calibration.samples.collection import Collection
    from calibration.samples.sample_folder import SampleFolder
    from calibration.samples.unusual import UnusualPart
    from edge.bundles.bundle import ModelBundle
    from edge.cli.keyboard import Keyboard
    from edge.cli.teach.collect import Taking

_COUNT = 60
# of the samples; when more are unlike the rest, it is not clear which of them are the product
_MOST_SUSPICIOUS = 1 / 3


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--camera",
        help="where good parts are seen: what `run` takes, or a folder of pictures, or a video "
        "(default: camera.source of the settings)",
    )
    parser.add_argument("--product", required=True, help="name of the part, shown on the line")
    parser.add_argument("--out", type=Path, help="the bundle to make; an older one is kept (default: bundles/PRODUCT)")
    parser.add_argument(
        "--samples",
        type=Path,
        help="folder where samples are kept; a second call goes on there (default: teach/PRODUCT)",
    )
    parser.add_argument(
        "--count", type=positive_int, help="how many samples (default: 60 from a camera, all from files)"
    )
    parser.add_argument("--auto", action="store_true", help="take a picture each time a new part lies still")
    parser.add_argument("--interval", type=positive, metavar="SECONDS", help="take a picture so often instead")
    parser.add_argument("--trust", action="store_true", help="keep samples that are unlike the others, too")
    parser.add_argument("--yes", action="store_true", help="go on without questions: suspicious samples are left out")
    parser.add_argument("--start", action="store_true", help="start inspecting the same source when all is done")
    parser.add_argument(
        "--minutes",
        type=positive,
        default=AUTO_MINUTES,
        help="time for the better version that is learned beside the line; with --method, from the last sample to the "
        "bundle (default: 10)",
    )
    parser.add_argument("--steps", type=positive_int, help="optimiser steps, whatever time they take")
    add_method(parser)
    parser.add_argument("--variant", default=PRETRAINED, help="as for `train` (default: pretrained)")
    parser.add_argument("--seed", type=whole_number, default=0)
    parser.add_argument("--layout", choices=("aligned", "free"), help="as for `train`; default: found out")
    parser.add_argument(
        "--smallest-defect", type=percent, metavar="PERCENT", help="smallest defect that matters, as for `train`"
    )
    parser.add_argument("--fresh", action="store_true", help="train anew, instead of going on where it was cut off")
    parser.add_argument("--details", action="store_true", help="show the figures behind what the end says")
    parser.add_argument("--fps", type=positive, help="ask the camera for this rate")
    parser.add_argument("--backend", choices=CPU_BACKENDS, help="backend to calibrate on")
    share(parser, "--false-reject", "--mm-per-px")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """Collect, train, export, calibrate, gate, and offer to start; cut off anywhere, a second call goes on."""
    from calibration.findings.advice import defects_found
    from calibration.pipeline.train import on_the_processor
    from calibration.samples.collection import open_collection
    from calibration.samples.sample_folder import folder_name, sample_folder
    from edge.backends import choose_backend
    from edge.bundles.versions import prepare_directory
    from edge.capture.sources import names_files
    from edge.cli.keyboard import Keyboard
    from edge.cli.teach.collect import Stopped, Taking, require_way
    from edge.cli.teach.summary import show_summary
    from training.data.dataset import MINIMUM_NORMAL_SAMPLES as LEAST

    settings = on_the_processor(settings)
    name = folder_name(options.product)
    target: Path = options.out or Path("bundles") / name
    keyboard, live = Keyboard(), not names_files(options.camera)
    taking = Taking(options.auto, options.interval)
    require_way(live, taking, keyboard)
    # what can be known now must not fail after an hour of collecting
    if options.count is not None and options.count < LEAST:
        fix = f"at least {LEAST} are needed; 60 are better"
        raise UsageError(f"--count {options.count} is too few to learn from", fix=fix)
    choose_backend(settings.inspection.backend)
    with sample_folder(options.samples or Path("teach") / name) as folder:
        prepare_directory(target)
        collection = open_collection(folder, settings, options.count or (_COUNT if live else None))
        collected = False
        try:
            _collect(collection, options, settings, taking, keyboard, live)
            collected = True
            left_out = _leave_suspicious_out(collection, options, keyboard)
            collection.require_enough(LEAST)
            with unwrapped_ctrl_c():
                bundle, tips = _train(collection, target, options, settings, keyboard)
                found = defects_found(bundle)
        except (KeyboardInterrupt, Stopped):
            return _stopped(folder, collected)
    show_summary(bundle, folder, options, settings, left_out, found, tips)
    if options.start or (live and keyboard.present and not options.yes and keyboard.ask("Start now?", "give --start")):
        if options.method == AUTO:
            learn_beside(bundle, folder, options)
        start_inspection(bundle, options, settings)
    return 0


def _collect(
    collection: Collection,
    options: argparse.Namespace,
    settings: Settings,
    taking: Taking,
    keyboard: Keyboard,
    live: bool,
) -> None:
    from edge.cli.teach.collect import collect_files, collect_live

    say(f"teaching {options.product!r}: samples in {collection.folder.root}")
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


def _leave_suspicious_out(collection: Collection, options: argparse.Namespace, keyboard: Keyboard) -> int:
    """How many were left out, after a person was asked."""
    folder, count = collection.folder, len(collection.kept)
    screening = collection.screening()
    suspicious = screening.rejected[len(collection.screener.turned_away) :]
    reasons = ", ".join(f"{number} {reason}" for reason, number in screening.counts().items())
    say(f"{count} samples; turned away: {reasons or 'none'}")
    if (sheet := collection.write_sheet(suspicious, screening.accepted)) is not None:
        say(f"what was turned away, and why: {sheet}")
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
    collection.leave_out(suspicious)
    return len(suspicious)


def _train(
    collection: Collection, target: Path, options: argparse.Namespace, settings: Settings, keyboard: Keyboard
) -> tuple[ModelBundle, list[str]]:
    """The bundle, and what would help; the details of its making go to a file.

    Where no method is asked for, the memory of the samples inspects first: what takes longer is learned beside it.
    """
    from calibration.auto.contenders import run_folder
    from calibration.findings.advice import would_help
    from calibration.pipeline.time_plan import plan_training
    from calibration.pipeline.train import TrainingRequest, train_bundle
    from calibration.samples.sample_folder import DETAILS
    from edge.capture.images.image_reader import line_reader

    folder, statistics = collection.folder, collection.screener.screening().statistics
    recipe = recipe_of(options, settings)
    started = time.monotonic()
    plan, runs = None, folder.run_directory
    if recipe.method == AUTO:
        # where `improve` finds it
        recipe, runs = replace(recipe, method=MEMORY, minutes=None), run_folder(runs, MEMORY)
    elif recipe.minutes is not None:
        plan = plan_training(folder, recipe, recipe.minutes, fresh=options.fresh)
        recipe = plan.recipe
    request = request_from(TrainingRequest, options, data=folder.root, out=target, run_directory=runs, recipe=recipe)
    try:
        log = (folder.root / DETAILS).open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{folder.root / DETAILS}: {error.strerror}", fix="mend its permissions") from error
    with log, details_in(log):
        reader, kept = line_reader(settings), None if statistics is None else statistics.to_bytes()

        def confirm(parts: Sequence[UnusualPart], sheet: Path | None) -> list[Path]:
            return _not_good_after_all(parts, sheet, collection, options, keyboard)

        bundle = train_bundle(request, settings, reader, _message, kept, plan, confirm)
    say(f"made in {time.monotonic() - started:.0f} s; details in {folder.root / DETAILS}")
    all_steps, all_minutes = (0, 0.0) if plan is None else (plan.all_steps, plan.all_minutes)
    return bundle, would_help(bundle, folder.root, len(folder.paths()), all_steps, all_minutes)


def _not_good_after_all(
    parts: Sequence[UnusualPart],
    sheet: Path | None,
    collection: Collection,
    options: argparse.Namespace,
    keyboard: Keyboard,
) -> list[Path]:
    """Of the most unusual samples those that a person does not take for good; they go into quarantine."""
    asked = keyboard.present and not options.yes and not options.trust
    _message("the most unusual of the samples; one that is not good makes the line blind to defects like it")
    if sheet is not None:
        _message(f"where they are unusual: {sheet}")
    refused = []
    for part in parts:
        name = f"{collection.name_of(str(part.path))}".rstrip(",")
        if not asked:
            _message(f"  {name}: {part.words}; it counts")
        elif not keyboard.ask(f"  {name}: {part.words}. Is it really good?", "give --yes or --trust"):
            refused.append(part.path)
    if refused:
        collection.set_aside(refused)
        _message(f"{len(refused)} left out: the threshold is made without them; the network learns so the next time")
    return refused


def _message(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _stopped(folder: SampleFolder, collected: bool) -> int:
    count = len(folder.paths())
    say(f"\nstopped; {count} samples are kept in {folder.root}")
    enough = "" if collected else f"; with --count {count} it trains on these"
    say(f"the same command goes on where it stopped{enough if count else ''}")
    return INTERRUPTED
