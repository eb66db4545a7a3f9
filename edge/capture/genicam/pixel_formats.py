"""Names of the pixel formats that are handled (PFNC). Without cv2, for the child process."""

from __future__ import annotations

# significant bits of a 16-bit grey value; None: camera.sensor_bits says it
SIXTEEN_BITS = {"Mono10": 10, "Mono12": 12, "Mono16": None}
HANDLED = ("Mono8", "BayerRG8", "BayerGR8", "BayerGB8", "BayerBG8", "RGB8", "BGR8", "RGBa8", *SIXTEEN_BITS)
# older names of the same
_OLDER_NAMES = {"RGB8Packed": "RGB8", "BGR8Packed": "BGR8", "RGBA8Packed": "RGBa8"}


def handled_name(name: str) -> str | None:
    """The format's name in HANDLED; None for a format that is not handled."""
    name = _OLDER_NAMES.get(name, name)
    return name if name in HANDLED else None
