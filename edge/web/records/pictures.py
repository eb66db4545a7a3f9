"""Recorded pictures, by the number of their verdict and by nothing else."""

from __future__ import annotations

import io
import re
import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from starlette.responses import Response

from edge.core.errors import RecordError
from edge.core.files.safe_file import Unconfined, read_safe
from edge.core.picture_names import overlay_name
from edge.pages.pictures import picture_bytes
from edge.records.store import RecordStore, VerdictRecord
from edge.records.verdict_search import find_verdict
from edge.review.labelling import key_of, labels_in
from edge.web.page import Refusal, line_of
from edge.web.site.reading import records_of

if TYPE_CHECKING:
    from starlette.requests import Request

_KINDS = {".jpg": "image/jpeg", ".png": "image/png"}
_LARGEST_BYTES = 256_000_000
SMALL_PX = 480
_MOST_KEPT = 240
_NUMBER = re.compile(r"[0-9]{1,12}-[0-9]{6,12}")
# large JPEG pictures are decoded at a half, a quarter or an eighth, which takes as much less time
_REDUCED = ((8, cv2.IMREAD_REDUCED_COLOR_8), (4, cv2.IMREAD_REDUCED_COLOR_4), (2, cv2.IMREAD_REDUCED_COLOR_2))


class SmallPictures:
    """The newest pictures of galleries, made smaller; from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()

    def of(self, folder: Path, name: str, data: bytes) -> bytes:
        """JPEG, at most SMALL_PX wide. Raises Refusal where the file is no picture."""
        key = str(folder), name
        with self._lock:
            kept = self._kept.get(key)
            if kept is not None:
                self._kept.move_to_end(key)
                return kept
        made = _small(data)
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return made


def _small(data: bytes) -> bytes:
    flag = next((flag for times, flag in _REDUCED if _width_px(data) >= times * SMALL_PX), cv2.IMREAD_COLOR)
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    if picture is None:
        raise Refusal(404, "Damaged picture", "The file of this picture cannot be read as one.")
    height, width = picture.shape[:2]
    if width > SMALL_PX:
        size = SMALL_PX, max(1, round(height * SMALL_PX / width))
        picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
    return picture_bytes(np.asarray(picture, np.uint8), ".jpg")


def _width_px(data: bytes) -> int:
    """As its header says; 0 where it says nothing."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as header:
            return int(header.size[0])
    # what Pillow does not know, or refuses, OpenCV says
    except (OSError, ValueError, Image.DecompressionBombError):
        return 0


def overlay_picture(request: Request) -> Response:
    """The picture with what the verdict says about it; ?small=1: for a gallery."""
    verdict, folder = recorded(request)
    kept = _kept(folder, verdict)
    return _picture(request, folder, verdict.overlay or (None if kept is None else overlay_name(kept)), verdict)


def plain_picture(request: Request) -> Response:
    """The picture as the camera took it."""
    verdict, folder = recorded(request)
    return _picture(request, folder, verdict.image or _kept(folder, verdict), verdict)


def _kept(folder: Path, verdict: VerdictRecord) -> str | None:
    """The picture of a labelled part, which outlasts the others; None where there is none."""
    if verdict.image is not None:
        return None
    with RecordStore(folder, migrate_older=False) as store:
        review = labels_in(folder, [verdict.id]).get(key_of(store, verdict))
    return None if review is None else review.picture


def recorded(request: Request) -> tuple[VerdictRecord, Path]:
    """The verdict that the address names, and the folder of its records. Raises Refusal."""
    line, number = line_of(request), str(request.path_params["number"])
    with records_of(line) as store:
        try:
            # not by the other names of a verdict, such as that of a file
            verdict = find_verdict(store, number if _NUMBER.fullmatch(number) else "0-000000")
        except RecordError:
            raise Refusal(404, "No such verdict", f"Line {line.name} has no verdict {number!r} on record.") from None
        return verdict, store.directory


def _picture(request: Request, folder: Path, name: str | None, verdict: VerdictRecord) -> Response:
    if name is None:
        raise Refusal(404, "No picture", f"No picture is kept of verdict {verdict.number} ({verdict.image_state}).")
    try:
        data = read_safe(folder, name, _LARGEST_BYTES)
    except FileNotFoundError:
        raise Refusal(404, "The picture is gone", f"The picture of verdict {verdict.number} was deleted.") from None
    except (Unconfined, OSError) as error:
        raise Refusal(404, "The picture cannot be read", f"Verdict {verdict.number}: {error.strerror}.") from None
    kind = _KINDS.get(Path(name).suffix.lower())
    if kind is None:
        raise Refusal(404, "No picture", f"What verdict {verdict.number} names is no picture.")
    if request.query_params.get("small"):
        small: SmallPictures = request.app.state.small_pictures
        data, kind = small.of(folder, name, data), "image/jpeg"
    # a picture of a verdict never changes
    return Response(data, media_type=kind, headers={"cache-control": "private, max-age=86400"})
