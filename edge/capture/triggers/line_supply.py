"""What a line takes its frames from: the camera of the settings, opened, and what stands before it for each trigger."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable

from edge.capture.capture import Capture, FrameSupply
from edge.capture.sources import names_files, open_source
from edge.capture.triggers.hardware_supply import HardwareSupply
from edge.capture.triggers.part_trigger import PartTrigger
from edge.capture.triggers.triggered_supply import TriggeredSupply
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import U8

log = logging.getLogger(__name__)


def opened_capture(camera: str, settings: Settings, counters: RunCounters) -> Capture:
    """Made in a thread of its own: a camera that does not answer must not keep Ctrl-C waiting."""
    made: queue.SimpleQueue[Capture | BaseException] = queue.SimpleQueue()
    triggered = settings.trigger.mode == "hardware"

    def work() -> None:
        try:
            made.put(
                Capture(
                    lambda: open_source(camera, settings.camera, triggered=triggered),
                    settings.camera, settings.freshness, counters, triggered=triggered,
                )
            )  # fmt: skip
        # raised again in the caller's thread
        except BaseException as error:  # noqa: BLE001
            made.put(error)

    threading.Thread(target=work, name="open camera", daemon=True).start()
    result = made.get()
    if isinstance(result, BaseException):
        raise result
    return result


def line_supply(
    capture: Capture,
    camera: str,
    settings: Settings,
    counters: RunCounters,
    empty_place: Callable[[], Callable[[U8], bool] | None],
) -> FrameSupply:
    """The capture, or with trigger.mode `part`, `plc` or `hardware` what passes on one picture of each part.

    Every picture of a folder, and of the demo, shows another part: there is nothing to wait for, but a trigger.
    empty_place: gives what tells whether a picture shows a place without a part, None where that is not known.
    """
    demo = camera.strip() == "demo"
    mode = settings.trigger.mode
    counters.counted = "frames" if mode == "free" and not demo else "parts"
    if mode == "plc":
        return TriggeredSupply(capture, settings.trigger, counters)
    if mode == "hardware":
        return HardwareSupply(capture, settings.trigger, counters)
    if mode == "free" or demo or (names_files(camera) and capture.recorded_fps is None):
        return capture
    shows_no_part = empty_place()
    if shows_no_part is None:
        log.warning(
            "the bundle does not know what a place without a part looks like, and judges it too when it comes to rest; "
            "bundles made by `edge-inspect teach` know it"
        )
    return PartTrigger(capture, settings.trigger, counters, capture.recorded_fps, shows_no_part)
