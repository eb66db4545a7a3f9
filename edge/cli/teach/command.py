"""teach: from nothing to a running inspection: samples, training, calibration, gate, start."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path
from typing import Any

from edge.backends import choose_backend
from edge.bundles.bundle import ModelBundle
from edge.bundles.versions import prepare_directory
from edge.capture.images.image_reader import read_image
from edge.capture.sources import names_files
from edge.cli import INTERRUPTED
from edge.cli.keyboard import Keyboard
from edge.cli.making.train import on_the_processor, train_bundle
from edge.cli.teach.collect import Collection, Stopped, Taking, collect_files, collect_live, opened, require_way
from edge.cli.teach.sample_folder import DETAILS, SampleFolder, folder_name, sample_folder
from edge.cli.teach.summary import finds, run_options, tell, would_help
from edge.cli.teach.time_plan import planned
from edge.core.config import Settings
from edge.core.errors import UsageError
from edge.core.progress import details_in, say, working
from edge.system.extras import needs, require

_COUNT = 60
# options of `train` that nobody is asked here
NOT_ASKED: dict[str, Any] = {"ablate": [], "blend": None, "rules": None, "field": None, "defects": None}
# of the samples; when more are unlike the rest, it is not clear which of them are the product
_MOST_SUSPICIOUS = 1 / 3
_COMPARED = 5


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
            bundle, tips = _trained(collection, target, options, settings)
            say("drawing defects on parts it has not seen, to see what it finds ...")
            found = finds(bundle, folder.root, settings)
        except (KeyboardInterrupt, Stopped):
            return _kept(folder, collected)
    tell(bundle, folder, options, settings, left_out, found, tips)
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
    with working("holding all samples against each other"):
        screening = collection.screener.screening()
    suspicious = screening.rejected[len(collection.screener.turned_away) :]
    reasons = ", ".join(f"{number} {reason}" for reason, number in screening.counts().items())
    say(f"{count} samples; turned away: {reasons or 'none'}")
    shown = [*suspicious, *(each for each in collection.turned_away if Path(each.name).is_file())]
    if shown:
        sheet = needs("calibration.samples.contact_sheet", "cpu")
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
    least = needs("training.data.dataset", "train").MINIMUM_NORMAL_SAMPLES
    if count is not None and count < least:
        raise UsageError(f"--count {count} is too few to learn from", fix=f"at least {least} are needed; 60 are better")


def _require_enough(collection: Collection) -> None:
    least, count = needs("training.data.dataset", "train").MINIMUM_NORMAL_SAMPLES, len(collection.kept)
    if count >= least:
        return
    collection.screener.invalid.refuse_most(count + len(collection.screener.turned_away))
    reasons = sorted({str(each.reason) for each in collection.screener.turned_away})
    turned_away = f"; {len(collection.screener.turned_away)} were turned away: {', '.join(reasons)}" if reasons else ""
    raise UsageError(
        f"{count} samples of good parts, at least {least} are needed{turned_away}",
        fix="show more parts with the same command; 60 or more are better, and every one must be another part",
    )


def _trained(
    collection: Collection, target: Path, options: argparse.Namespace, settings: Settings
) -> tuple[ModelBundle, list[str]]:
    """train, export, quantize and calibrate on the samples, and what would help; the details go to a file."""
    folder, statistics = collection.folder, collection.screener.screening().statistics
    values: dict[str, Any] = vars(options) | {
        "data": folder.root, "out": target, "run_directory": folder.run_directory,
        **NOT_ASKED,
    }  # fmt: skip
    training = argparse.Namespace(**values)
    started = time.monotonic()
    timing = None
    if training.steps is None:
        timing = planned(folder, training, settings)
        training.variant = timing.variant
    try:
        log = (folder.root / DETAILS).open("a", encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(f"{folder.root / DETAILS}: {error.strerror}", fix="mend its permissions") from error
    with log, details_in(log):
        bundle = train_bundle(training, settings, _told, None if statistics is None else statistics.to_bytes(), timing)
    say(f"made in {(time.monotonic() - started) / 60:.1f} min; details in {folder.root / DETAILS}")
    all_steps, all_minutes = (0, 0.0) if timing is None else (timing.all_steps, timing.all_minutes)
    return bundle, would_help(bundle, folder, all_steps, all_minutes)


def _told(text: str) -> None:
    print(f"  {text}", file=sys.stderr, flush=True)


def _start(bundle: ModelBundle, options: argparse.Namespace, settings: Settings) -> None:
    """Become the inspection: a new program, so that nothing of the training stays in memory."""
    words = ["run", *run_options(bundle, options, settings)]
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
        return read_image(Path(name))
    except UsageError:
        return None
