"""What the child process needs of a driver of GenICam cameras. Without cv2 and pydantic, so that it starts fast."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from edge.core.datatypes import U8


@dataclass(frozen=True)
class DriverSettings:
    """How a camera shall run; None leaves a value as the camera has it.

    serial: the camera's serial number or id; empty for the only one. producers: GenTL files (.cti).
    triggered: the camera waits for its own trigger, on trigger_source. packet_bytes: of a GigE camera.
    """

    serial: str
    producers: tuple[str, ...] = ()
    exposure_us: float | None = None
    gain_db: float | None = None
    pixel_format: str | None = None
    packet_bytes: int | None = None
    width_px: int | None = None
    height_px: int | None = None
    fps: float | None = None
    triggered: bool = False
    trigger_source: str | None = None


@dataclass(frozen=True)
class PixelLayout:
    """How the bytes of a picture lie: height_px rows of row_bytes, with padding at the end of each where there is any.

    name: the pixel format by its GenICam name, such as BayerRG8.
    """

    name: str
    width_px: int
    height_px: int
    row_bytes: int


@dataclass(frozen=True)
class Buffer:
    """What a driver filled. data: uint8, one dimension, valid until `release`; None when the picture is not whole.

    frame_id: the camera's count, None where it is not known. device_ns: the camera's time from any origin.
    """

    frame_id: int | None
    device_ns: int | None = None
    layout: PixelLayout | None = None
    data: U8 | None = None


class Driver(Protocol):
    """An open camera that sends pictures. Every method may raise EdgeInspectError, or whatever a binding throws.

    name: of the camera, for a person. picture_bytes: of its largest picture.
    """

    name: str
    picture_bytes: int

    def next_buffer(self, timeout_s: float) -> Buffer | None:
        """The next buffer; None when none came in time."""

    def release(self) -> None:
        """Give the last buffer back to the driver."""

    def check(self) -> None:
        """Ask the camera something, after a while without pictures; raises when it does not answer."""

    def close(self) -> None: ...
