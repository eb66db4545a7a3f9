"""The cameras of a group, each with a capture of its own: one that is lost is opened again while the others go on."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

from edge.capture.capture import Capture
from edge.capture.triggers.line_supply import opened_capture
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.errors import EdgeInspectError

# of a group with a camera in one of these, the first of them is told
_WORST_FIRST = ("lost", "stalled", "frozen", "opening", "closed", "ended")
_SUMMED = ("grabbed", "sound", "dropped", "skipped", "reconnects", "stalls", "between_parts")


@dataclass(frozen=True)
class OpenCamera:
    """counters: of this camera alone."""

    name: str
    capture: Capture
    counters: RunCounters


class CameraGroup:
    """Live cameras that see the same part. `close` them at the end."""

    live = True
    recorded_fps = None

    def __init__(self, cameras: Sequence[OpenCamera], counters: RunCounters) -> None:
        self.cameras = tuple(cameras)
        self.name = ", ".join(f"{camera.name}: {camera.capture.name}" for camera in cameras)
        self._counters = counters
        self.publish()

    def close(self) -> None:
        """Close all at the same time: a driver that does not return must not hold the others up."""
        closing = [threading.Thread(target=camera.capture.close, name="close camera") for camera in self.cameras]
        for thread in closing:
            thread.start()
        for thread in closing:
            thread.join()

    def publish(self) -> None:
        """Bring the line's counters up to date: sums, and the state of the camera that is worst off.

        `sound` is that of the camera with the fewest: a line is ready once every camera has shown a picture.
        """
        for name in _SUMMED:
            setattr(self._counters, name, sum(getattr(camera.counters, name) for camera in self.cameras))
        self._counters.sound = min(camera.counters.sound for camera in self.cameras)
        states = [camera.counters.camera_state for camera in self.cameras]
        worst = next((state for state in _WORST_FIRST if state in states), "running")
        self._counters.camera_state = worst
        self._counters.camera_names = (
            "" if worst == "running" else ", ".join(c.name for c in self.cameras if c.counters.camera_state == worst)
        )


def opened_group(settings: Settings, counters: RunCounters) -> CameraGroup:
    """Open every camera of the settings' group, one after the other; raises CameraError, which names the camera."""
    opened: list[OpenCamera] = []
    try:
        for camera in settings.group.cameras:
            own = RunCounters()
            try:
                capture = opened_capture(camera.source, settings.of_camera(camera.name), own)
            except EdgeInspectError as error:
                raise type(error)(f"camera {camera.name}: {error.message}", fix=error.fix) from error
            opened.append(OpenCamera(camera.name, capture, own))
    except BaseException:
        for each in opened:
            each.capture.close()
        raise
    return CameraGroup(opened, counters)
