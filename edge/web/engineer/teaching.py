"""What engineers have collected on the pages for a product: which pictures were taken, which were refused, and why."""

from __future__ import annotations

import base64
import threading
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from edge.core.config import Settings
from edge.core.datatypes import U8
from edge.core.errors import EdgeInspectError
from edge.pages.pictures import picture_bytes
from edge.web.site.words import Words

_SMALL_PX = 200
_MOST_SHOWN, _MOST_PRODUCTS = 12, 32

_REFUSED = {
    "unreadable": Words("The picture cannot be read", "Take it again"),
    "wrong size": Words("The picture has another size than the others", "Was the camera changed? Begin a new product"),
    "black": Words("The picture is black", "Check the light and the lens cap"),
    "saturated": Words("The picture is too bright", "Check the light and the exposure"),
    "duplicate": Words(
        "This picture was taken already",
        "Show another part; a line that waits for a trigger has a new picture only after the next part",
    ),
    "no part": Words("No part is seen", "Lay a part where the others were"),
    "blurred": Words("The picture is blurred", "Check the focus; wait until the part lies still"),
    "inconsistent": Words("The picture is unlike the others", "Check the light, and that the part lies as the others"),
}


@dataclass(frozen=True)
class Offered:
    """What became of a picture. name: of the sample that it is now, empty where it was refused. reason, detail: why."""

    name: str
    reason: str = ""
    detail: str = ""

    @property
    def words(self) -> Words:
        """Why it was refused, for a person; of a reason that is not known here, the reason itself."""
        return _REFUSED.get(self.reason) or Words(self.reason.capitalize(), "Take another picture")


class Samples(Protocol):
    """The samples of one product on the disk; from any thread.

    note: told the name of a sample that is about to be kept or taken out; where it raises, nothing is changed.
    """

    @property
    def count(self) -> int: ...

    def require_all(self) -> int: ...

    def offer(self, picture: U8, note: Callable[[str], None]) -> Offered: ...

    def undo(self, note: Callable[[str], None]) -> str | None: ...


# folder of a product, settings of its line → its samples
SamplesOf = Callable[[Path, Settings], Samples]


@dataclass(frozen=True)
class Shot:
    """One picture. at: when it was taken. small: as the address of a picture inside a page."""

    offered: Offered
    at: datetime
    small: str


class Teaching:
    """Of one product of one line; from any thread.

    shots: since this program began, the newest first; trouble: why there is no newer.
    """

    def __init__(self, samples: Samples) -> None:
        self.samples = samples
        # replaced and never changed: a page is made of them while another browser takes a picture
        self.shots: tuple[Shot, ...] = ()
        self._lock = threading.Lock()
        self.trouble: EdgeInspectError | None = None

    def take(self, picture: U8, at: datetime, note: Callable[[str], None]) -> None:
        """Raises UsageError, RecordError."""
        shot = Shot(self.samples.offer(picture, note), at, small_uri(picture))
        with self._lock:
            self.shots = (shot, *self.shots)[:_MOST_SHOWN]

    def take_back(self, note: Callable[[str], None]) -> None:
        """The last sample. Raises UsageError, RecordError."""
        name = self.samples.undo(note)
        with self._lock:
            self.shots = tuple(shot for shot in self.shots if shot.offered.name != name)


class Teachings:
    """Of all products; from any thread. What is not on the disk goes with this program."""

    def __init__(self, samples_of: SamplesOf) -> None:
        self._samples_of = samples_of
        self._lock = threading.Lock()
        self._kept: dict[Path, Teaching] = {}

    def of(self, folder: Path, settings: Callable[[], Settings]) -> Teaching:
        """Of the product that is kept in this folder. settings: of its line, asked for where it is new here."""
        with self._lock:
            teaching = self._kept.pop(folder, None) or Teaching(self._samples_of(folder, settings()))
            self._kept[folder] = teaching
            while len(self._kept) > _MOST_PRODUCTS:
                del self._kept[next(iter(self._kept))]
            return teaching


def small_uri(picture: U8) -> str:
    """A JPEG of it, at most 200 pixels wide and high, as the address of a picture inside a page."""
    height, width = picture.shape[:2]
    scale = min(1.0, _SMALL_PX / max(height, width))
    size = max(1, round(width * scale)), max(1, round(height * scale))
    small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return f"data:image/jpeg;base64,{base64.b64encode(picture_bytes(small, '.jpg')).decode()}"
