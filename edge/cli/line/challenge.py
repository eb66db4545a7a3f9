"""challenge: golden parts and defects before the shift, the trend of their scores, and whether the line is ready."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path

import cv2

from edge.backends import target_of
from edge.bundles.bundle import ModelBundle
from edge.capture.capture import Capture
from edge.capture.file_sources import PictureFiles
from edge.capture.images.image_io import class_folders
from edge.capture.images.image_reader import ImageReader
from edge.cli.image_readers import reader_of
from edge.cli.line.run import live_bundle, make_inspector, opened_capture
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Frame
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.core.progress import working
from edge.inspection.challenge import Challenge, Kind, Shown, challenged
from edge.inspection.challenge_records import latest_challenges, save_challenge, trend_lines
from edge.inspection.inspector import Inspector
from edge.inspection.readiness import RUN_IT, why_not_ready
from edge.records.overlay import draw_overlay

_SHOWN = 20
_TAKE_S = 0.1

Part = tuple[Kind, str, Frame]


def challenge(options: argparse.Namespace, settings: Settings) -> int:
    """Judge golden parts and defects, keep the result; 0 when the line is ready, 1 when not."""
    bundle = live_bundle(settings)
    if options.show:
        return _show(options, settings, bundle)
    pictures = options.data or (Path(settings.challenge.pictures) if settings.challenge.pictures else None)
    if options.camera is None and pictures is None:
        options.camera = settings.camera.source
    if options.camera is None and pictures is None:
        raise UsageError("nothing to judge: neither --camera nor --data", fix=RUN_IT)
    if pictures is not None and not pictures.is_dir():
        raise UsageError(f"{pictures}: no such folder", fix="give --data a folder with good/ and folders of defects")
    made = _judged(options, settings, bundle, pictures)
    if settings.record.directory is not None:
        save_challenge(Path(settings.record.directory), made)
    _report(made, options, settings)
    return 0 if made.passed else 1


def _judged(options: argparse.Namespace, settings: Settings, bundle: ModelBundle, pictures: Path | None) -> Challenge:
    with working("loading the model, and making it ready for this processor"):
        inspector = make_inspector(bundle, settings)
    seeded, area = settings.challenge.synthetic_defects, settings.challenge.synthetic_area_percent / 100
    # the capture's own name, in which an address has no password
    looks, sources = [], [] if pictures is None else [str(pictures)]
    parts = _picture_parts(pictures, reader_of(options, settings))
    if options.camera is not None:
        with working("waiting for the camera to answer"):
            capture = opened_capture(options.camera, settings, RunCounters())
        sources.append(capture.name)
        parts = chain(_camera_parts(capture, options.frames), parts)
    for shown in challenged(inspector, parts, seeded, area):
        looks.append(shown.look)
        _tell(shown, options, inspector, len(looks))
    inspector.backend.close()
    return Challenge(
        utc=datetime.now(timezone.utc),
        source=", ".join(sources),
        bundle_sha256=bundle.sha256,
        engine_sha256=inspector.backend.engine_sha256,
        threshold=inspector.threshold,
        looks=tuple(looks),
    )


def _show(options: argparse.Namespace, settings: Settings, bundle: ModelBundle) -> int:
    if settings.record.directory is None:
        raise UsageError("record.directory is null: no challenge was kept", fix="give --record-dir")
    kept = latest_challenges(Path(settings.record.directory), _SHOWN)
    target = target_of(settings.inspection.backend)
    engine = bundle.engine_sha256(bundle.precision(settings.inspection.precision, target), target)
    why = why_not_ready(bundle.sha256, engine, settings)
    if options.json:
        print(json.dumps({"ready": why is None, "why": why, "challenges": [each.as_json() for each in kept]}, indent=1))
    else:
        print("\n".join(trend_lines(kept)))
        print("READY" if why is None else f"NOT READY: {why}")
    return 0 if why is None else 1


def _camera_parts(capture: Capture, frames: int) -> Iterator[Part]:
    """Golden parts as the line's own camera shows them, with its checks for frozen, black and missing pictures."""
    try:
        taken = 0
        while not capture.ended and taken < frames:
            frame = capture.take(_TAKE_S)
            if frame is not None:
                taken += 1
                yield "golden", f"{capture.name}, picture {taken}", frame
    finally:
        capture.close()


def _picture_parts(folder: Path | None, reader: ImageReader) -> Iterator[Part]:
    """`good/` of a folder and its other folders; a folder of pictures alone holds golden parts."""
    if folder is None:
        return
    places = class_folders(folder)
    if places:
        reader.tell_loose(folder)
    for place in places or [folder]:
        kind: Kind = "golden" if not places or place.name.lower() == "good" else "defective"
        paths = reader.pictures_in(place)
        source = PictureFiles(paths, None, reader, name=str(place))
        for path in paths:
            frame = source.read()
            if frame is not None:
                yield kind, f"{place.name}/{path.name}", frame


def _tell(shown: Shown, options: argparse.Namespace, inspector: Inspector, number: int) -> None:
    look = shown.look
    if not options.json:
        print(f"{'right' if look.right else 'WRONG'}  {look.kind:<9}  {look.decision!s:<7}  {look.name}: {look.detail}")
    if options.out is not None and shown.frame.image is not None:
        options.out.mkdir(parents=True, exist_ok=True)
        view = inspector.preprocess.field_of_view(*shown.frame.image.shape[:2])
        drawn = draw_overlay(shown.frame, shown.verdict, view)
        name = f"{number:03d}-{look.kind}-{look.decision}.jpg"
        write_atomic(options.out / name, cv2.imencode(".jpg", drawn)[1].tobytes())


def _report(made: Challenge, options: argparse.Namespace, settings: Settings) -> None:
    if options.json:
        print(json.dumps(made.as_json(), indent=1))
        return
    print(made.summary())
    if settings.record.directory is not None:
        print("\n".join(trend_lines(latest_challenges(Path(settings.record.directory), _SHOWN))))
