"""What counts as one look at the line: a frame, or a part that lies still."""

from __future__ import annotations

import logging
from collections.abc import Callable

import numpy as np

from edge.bundles.bundle import ModelBundle
from edge.capture.capture import Capture, FrameSupply
from edge.capture.part_trigger import PartTrigger
from edge.capture.sources import names_files
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.system.extras import needs

log = logging.getLogger(__name__)


def supply_of(
    capture: Capture, camera: str, settings: Settings, bundle: ModelBundle, counters: RunCounters
) -> FrameSupply:
    """The capture, or with trigger.mode `part` what passes on one picture of each part.

    Every picture of a folder, and of the demo, shows another part: there is nothing to wait for.
    """
    pictures = camera.strip() == "demo" or (names_files(camera) and capture.recorded_fps is None)
    by_part = settings.trigger.mode == "part"
    counters.counted = "parts" if by_part or camera.strip() == "demo" else "frames"
    if pictures or not by_part:
        return capture
    empty = empty_place(bundle)
    if empty is None:
        log.warning(
            "the bundle does not know what a place without a part looks like, and judges it too when it comes to rest; "
            "bundles made by `edge-inspect teach` know it"
        )
    return PartTrigger(capture, settings.trigger, counters, capture.recorded_fps, empty)


def empty_place(bundle: ModelBundle) -> Callable[[U8], bool] | None:
    """Whether a picture shows no part, by the samples that the bundle was taught with; None where it keeps none."""
    if "samples" not in bundle.manifest.files:
        return None
    samples = needs("calibration.samples.screening", "cpu")
    try:
        known = needs("calibration.samples.statistics", "cpu").statistics_from_bytes(bundle.read("samples"))
    except UsageError as error:
        log.warning("what the samples looked like cannot be read: %s", error.message)
        return None
    rectangle = bundle.preprocess.rectangle

    def is_empty(picture: U8) -> bool:
        region = picture
        if rectangle is not None:
            x, y, width, height = rectangle
            region = np.ascontiguousarray(picture[y : y + height, x : x + width])
        return bool(samples.shows_no_part(picture, region, known))

    return is_empty
