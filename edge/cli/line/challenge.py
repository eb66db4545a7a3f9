"""challenge: golden parts and defects before the shift, the trend of their scores, and whether the line is ready."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from edge.cli.options import positive_int, share
from edge.core.config import Settings
from edge.core.errors import UsageError

if TYPE_CHECKING:
    from edge.bundles.bundle import ModelBundle
    from edge.bundles.recipes import Recipe
    from edge.inspection.challenges.challenge import Shown
    from edge.inspection.inspector import Inspector

_SHOWN = 20


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--camera",
        help="judge a golden part that lies under it: any source that `run` takes "
        "(default: camera.source of the settings, unless pictures are named)",
    )
    parser.add_argument("--frames", type=positive_int, default=3, help="pictures to take of it (default: 3)")
    parser.add_argument(
        "--data",
        type=Path,
        help="folder of pictures: good/ must come out OK, every other folder NG (default: challenge.pictures)",
    )
    parser.add_argument("--show", action="store_true", help="judge nothing: trend, and whether the line is ready")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write every picture with what was said about it")
    parser.add_argument(
        "--recipe", metavar="NAME", help="of the recipes in the settings (default: the one that the line begins with)"
    )
    share(parser, "--bundle", "--backend", "--precision", "--engines", "--record-dir", "--json")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """0 when the line is ready, 1 when not; the result is kept in the records."""
    from edge.capture.images.image_reader import line_reader
    from edge.inspection.challenges.records import latest_challenges, save_challenge, trend_lines
    from edge.inspection.challenges.run import run_challenge
    from edge.inspection.inspectors import live_bundle

    recipe = _recipe(options.recipe, settings)
    settings = settings if recipe is None else recipe.applied_to(settings)
    bundle = live_bundle(settings)
    records = None if settings.record.directory is None else Path(settings.record.directory)
    if options.show:
        return _show(options, settings, bundle, records)
    pictures = options.data or (Path(settings.challenge.pictures) if settings.challenge.pictures else None)
    camera = options.camera or (settings.camera.source if pictures is None else None)
    number = 0

    def on_shown(each: Shown, inspector: Inspector) -> None:
        nonlocal number
        number += 1
        part = each.part
        if not options.json:
            right = "right" if part.right else "WRONG"
            print(f"{right}  {part.kind:<9}  {part.decision!s:<7}  {part.name}: {part.detail}")
        if options.out is not None:
            _write_picture(options.out, number, each, inspector)

    made = run_challenge(bundle, settings, line_reader(settings), camera, options.frames, pictures, on_shown, recipe)
    if records is not None:
        save_challenge(records, made)
    print(json.dumps(made.as_json(), indent=1) if options.json else made.summary())
    if records is not None and not options.json:
        print("\n".join(trend_lines(latest_challenges(records, _SHOWN))))
    return 0 if made.passed else 1


def _recipe(name: str | None, settings: Settings) -> Recipe | None:
    """The one that is challenged; None where --bundle names what is, and where there are no recipes."""
    from edge.inspection.inspectors import line_recipes

    if name is None and settings.inspection.bundle is not None:
        return None
    book = line_recipes(settings)
    if book is None and name is not None:
        raise UsageError(f"--recipe {name}: recipes.file is null", fix="name the file in the settings")
    return None if book is None else book.start if name is None else book.find(name)


def _show(options: argparse.Namespace, settings: Settings, bundle: ModelBundle, records: Path | None) -> int:
    from edge.inspection.challenges.readiness import why_line_not_ready
    from edge.inspection.challenges.records import latest_challenges, trend_lines

    if records is None:
        raise UsageError("record.directory is null: no challenge was kept", fix="give --record-dir")
    kept = latest_challenges(records, _SHOWN)
    why = why_line_not_ready(bundle, settings)
    if options.json:
        print(json.dumps({"ready": why is None, "why": why, "challenges": [each.as_json() for each in kept]}, indent=1))
    else:
        print("\n".join(trend_lines(kept)))
        print("READY" if why is None else f"NOT READY: {why}")
    return 0 if why is None else 1


def _write_picture(folder: Path, number: int, shown: Shown, inspector: Inspector) -> None:
    import cv2

    from edge.core.files.atomic_file import write_atomic
    from edge.records.overlay import draw_overlay

    if shown.frame.image is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    view = inspector.preprocess.field_of_view(*shown.frame.image.shape[:2])
    drawn = draw_overlay(shown.frame, shown.verdict, view)
    name = f"{number:03d}-{shown.part.kind}-{shown.part.decision}.jpg"
    write_atomic(folder / name, cv2.imencode(".jpg", drawn)[1].tobytes())
