"""A challenge as it is done at a line: golden parts before its camera, pictures of parts in a folder, or both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timezone
from itertools import chain
from pathlib import Path

from edge.bundles.bundle import ModelBundle
from edge.bundles.recipes import Recipe
from edge.capture.capture import Capture
from edge.capture.file_sources import PictureFiles
from edge.capture.images.image_io import class_folders
from edge.capture.images.image_reader import ImageReader
from edge.capture.triggers.line_supply import opened_capture
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Frame
from edge.core.errors import UsageError
from edge.core.progress import working
from edge.inspection.challenges.challenge import Challenge, Kind, Shown, challenged
from edge.inspection.challenges.readiness import run_it
from edge.inspection.inspector import Inspector
from edge.inspection.inspectors import make_inspectors

_TAKE_S = 0.1

Part = tuple[Kind, str, Frame]


def run_challenge(
    bundle: ModelBundle,
    settings: Settings,
    reader: ImageReader,
    camera: str | None,
    frames: int,
    pictures: Path | None,
    on_shown: Callable[[Shown, Inspector], None],
    recipe: Recipe | None = None,
) -> Challenge:
    """Judge golden parts and defects. frames: how many pictures of the camera. on_shown: called for each of them.
    recipe: by which they are judged, with its own settings.

    Raises UsageError where there is nothing to judge.
    """
    if camera is None and pictures is None:
        raise UsageError("nothing to judge: neither --camera nor --data", fix=run_it(settings))
    if pictures is not None and not pictures.is_dir():
        raise UsageError(f"{pictures}: no such folder", fix="give --data a folder with good/ and folders of defects")
    with working("loading the model, and making it ready for this processor"):
        (inspector,) = make_inspectors(bundle, settings, 1, recipe)
    drawn, area = settings.challenge.synthetic_defects, settings.challenge.synthetic_area_percent / 100
    judged, sources = [], [] if pictures is None else [str(pictures)]
    parts = _picture_parts(pictures, reader)
    if camera is not None:
        with working("waiting for the camera to answer"):
            capture = opened_capture(camera, settings, RunCounters())
        # the capture's own name, in which an address has no password
        sources.append(capture.name)
        parts = chain(_camera_parts(capture, frames), parts)
    for shown in challenged(inspector, parts, drawn, area):
        judged.append(shown.part)
        on_shown(shown, inspector)
    inspector.backend.close()
    return Challenge(
        utc=datetime.now(timezone.utc),
        source=", ".join(sources),
        bundle_sha256=bundle.sha256,
        model_sha256=inspector.backend.model_sha256,
        threshold=inspector.threshold,
        parts=tuple(judged),
    )


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
        reader.emit_loose(folder)
    for place in places or [folder]:
        kind: Kind = "golden" if not places or place.name.lower() == "good" else "defective"
        paths = reader.pictures_in(place)
        source = PictureFiles(paths, None, reader, name=str(place))
        for path in paths:
            frame = source.read()
            if frame is not None:
                yield kind, f"{place.name}/{path.name}", frame
