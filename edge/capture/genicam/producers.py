"""GenTL producers: the files (.cti) by which makers of cameras make them known."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from edge.core.errors import CameraError

SCHEME = "genicam:"
PATH_VARIABLE = "GENICAM_GENTL64_PATH"
_FIX = "install the camera maker's software, and name its .cti file in camera.genicam.producers"


def names_genicam(spec: str) -> bool:
    """Whether --camera means a GenICam camera."""
    return spec.strip().startswith(SCHEME)


def producer_files(named: Sequence[str]) -> list[Path]:
    """The files that the settings name, else those in the folders of GENICAM_GENTL64_PATH.

    Raises CameraError where there are none, or one that is named is not there.
    """
    if named:
        files = [Path(name) for name in named]
        missing = next((file for file in files if not file.is_file()), None)
        if missing is not None:
            raise CameraError(f"{missing}: no such GenTL producer (camera.genicam.producers)", fix=_FIX)
        return files
    folders = [Path(text) for text in os.environ.get(PATH_VARIABLE, "").split(os.pathsep) if text]
    found = [file for folder in folders if folder.is_dir() for file in sorted(folder.glob("*.cti"))]
    if not found:
        where = (
            f"{PATH_VARIABLE} names {os.pathsep.join(map(str, folders))}" if folders else f"{PATH_VARIABLE} is not set"
        )
        raise CameraError(f"no GenTL producer was found: camera.genicam.producers is empty, and {where}", fix=_FIX)
    return found
