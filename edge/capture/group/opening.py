"""What a line with a group takes its frames from: cameras that are triggered together, or folders."""

from __future__ import annotations

from edge.capture.capture import Capture
from edge.capture.genicam.producers import names_genicam
from edge.capture.group.cameras import CameraGroup, opened_group
from edge.capture.group.pictures import PairedPictures, group_of_files
from edge.capture.group.supply import HardwareGroup, TriggeredGroup, group_supply
from edge.capture.triggers.triggered_supply import TriggeredSupply
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.errors import CameraError


def open_group_supply(
    settings: Settings, counters: RunCounters
) -> tuple[Capture | CameraGroup, Capture | TriggeredSupply | TriggeredGroup | HardwareGroup]:
    """What to close at the end, and what the loop takes parts from. Raises CameraError."""
    refuse_unpaired(settings)
    counters.counted = "parts"
    if not group_of_files(settings):
        group = opened_group(settings, counters)
        return group, group_supply(group, settings, counters)
    capture = Capture(lambda: PairedPictures(settings), settings.camera, settings.freshness, counters)
    by_plc = settings.trigger.mode == "plc"
    return capture, TriggeredSupply(capture, settings.trigger, counters) if by_plc else capture


def refuse_unpaired(settings: Settings) -> None:
    """Raise CameraError for a group of which nothing says which pictures show the same part."""
    mode, files = settings.trigger.mode, group_of_files(settings)
    if files and mode == "hardware":
        raise CameraError(
            "trigger.mode hardware and a group of folders: files have no trigger of their own",
            fix="use trigger.mode free to judge the folders, in a settings file of their own",
        )
    others = [camera.name for camera in settings.group.cameras if not names_genicam(camera.source)]
    if mode == "hardware" and others:
        raise CameraError(
            f"trigger.mode hardware needs GenICam cameras (genicam:SERIAL), and of the group {', '.join(others)} is "
            "none: of others it is not known whether a picture was lost",
            fix="use trigger.mode plc with these cameras",
        )
    if not files and mode not in ("plc", "hardware"):
        raise CameraError(
            f"trigger.mode {mode} and a group of live cameras ({', '.join(settings.group.names)}): nothing says which "
            "of their pictures show the same part",
            fix="let a PLC ask for each part (trigger.mode plc), or trigger GenICam cameras by one pulse (hardware); "
            "folders of pictures go with mode free",
        )
