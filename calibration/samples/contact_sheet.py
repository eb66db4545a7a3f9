"""A contact sheet of pictures that were turned away, with the reasons, for a person who may know better."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from calibration.samples.screening import Rejected
from edge.capture.images.image_reader import read_image
from edge.core.datatypes import U8
from edge.core.errors import UsageError
from edge.pages.contact_sheet import GREEN, INK, RED, Cell, contact_sheet
from edge.pages.pictures import boxed

_CELL_PX = (174, 232)
_ACROSS, _MOST = 5, 60


def picture_or_none(name: str) -> U8 | None:
    """The picture file of that name; None when it cannot be read."""
    try:
        return read_image(Path(name))
    except UsageError:
        return None


def rejection_sheet(
    rejected: Sequence[Rejected], accepted: Sequence[str], picture_of: Callable[[str], U8 | None] = picture_or_none
) -> U8:
    """Cells of a picture, its reason, its name and the numbers; those most in need of a look, suspicions, come first.

    accepted: samples to compare with, shown before them. picture_of: the picture of that name, uint8 (H, W, 3) BGR, or
    None when there is none. At most 60 rejected ones are shown.
    """
    ordered = sorted(rejected, key=lambda each: not each.reason.suspicion)[:_MOST]
    words = [(name, "accepted", GREEN, "to compare with") for name in accepted]
    words += [(each.name, str(each.reason), RED, each.detail) for each in ordered]
    cells = [
        Cell(boxed(picture_of(name), *_CELL_PX), title, ((Path(name).name, INK), (detail, INK)), ink)
        for name, title, ink, detail in words
    ]
    return contact_sheet(cells, _ACROSS)
