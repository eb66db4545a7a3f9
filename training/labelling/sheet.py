"""Pseudo-labels drawn for the expert who wrote the rules: what was labelled, and which rule spoke where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.core.datatypes import F32, U8
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from edge.pages.contact_sheet import INK, QUIET, RED, Cell, contact_sheet
from edge.pages.pictures import boxed, heat, outlined, picture_bytes, scaled
from training.labelling.normal_levels import check_pair
from training.labelling.pseudo_labels import ANOMALOUS, IGNORED, JudgedRegion, PseudoLabel

_TILE_PX, _TEXT_PX = 256, 560
_MOST_CAPTIONS = 6
# what neither rules nor residual see much of is noise
_WORTH_A_CAPTION = 0.2
# the heat map's scale, in standard deviations of good parts, the same for every picture
_HOTTEST_Z = 10.0

# BGR; anomalous and ignored also differ in outline and brightness, for those who do not tell the colours apart
_ANOMALOUS, _CHOSEN, _NOT_TAKEN, _SHADOW = (30, 60, 235), (250, 250, 250), (120, 120, 120), (30, 30, 30)
_TITLES = ("picture", f"residual z, 0 to {_HOTTEST_Z:g}", "red: anomalous, dark: ignored")


def label_sheet(pictures: Sequence[U8], zmaps: Sequence[F32], labels: Sequence[PseudoLabel], out: Path) -> None:
    """Write one row for each defective part: picture, z heat map, labels, and the rules behind the strongest regions.

    pictures uint8 (h, w, 3) BGR, zmaps float32 (h, w). out: a PNG or JPEG file; its folder is made. Raises UsageError
    for another suffix or a place that cannot be written.
    """
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UsageError(f"{out}: a sheet of labels is a picture", fix="give a name that ends in .png")
    cells = []
    for picture, zmap, label in zip(pictures, zmaps, labels, strict=True):
        check_pair(picture, zmap)
        shown = _most_telling(label.regions)
        tiles = (picture, heat(zmap / _HOTTEST_Z), _overlay(picture, label, shown))
        cells += [Cell(boxed(tile, _TILE_PX, _TILE_PX), title) for tile, title in zip(tiles, _TITLES, strict=True)]
        cells.append(Cell(None, "what the rules say", _captions(shown), width_px=_TEXT_PX))
    data = picture_bytes(contact_sheet(cells, len(_TITLES) + 1), out.suffix.lower())
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, data)
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror or error}", fix="check the folder and its permissions") from error


def _most_telling(regions: Sequence[JudgedRegion]) -> list[JudgedRegion]:
    """The regions that stand out, one of each nest: chosen ones first, then by degree, then by evidence."""
    order = sorted(
        range(len(regions)), key=lambda i: (not regions[i].chosen, -regions[i].degree, -regions[i].evidence, i)
    )
    shown: list[int] = []
    for index in order:
        region = regions[index]
        if not region.chosen and max(region.degree, region.evidence) < _WORTH_A_CAPTION:
            continue
        if not any(_nested(regions, index, other) for other in shown):
            shown.append(index)
        if len(shown) == _MOST_CAPTIONS:
            break
    return [regions[index] for index in shown]


def _nested(regions: Sequence[JudgedRegion], one: int, other: int) -> bool:
    return other in _around(regions, one) or one in _around(regions, other)


def _around(regions: Sequence[JudgedRegion], index: int) -> set[int]:
    found: set[int] = set()
    parent = regions[index].parent
    while parent is not None:
        found.add(parent)
        parent = regions[parent].parent
    return found


def _overlay(picture: U8, label: PseudoLabel, shown: Sequence[JudgedRegion]) -> U8:
    """Anomalous pixels red with an outline, ignored ones dark; a numbered box around each captioned region."""
    tile = scaled(picture, _TILE_PX, _TILE_PX).astype(np.float32)
    height, width = tile.shape[:2]
    state = cv2.resize(label.state.astype(np.int16), (width, height), interpolation=cv2.INTER_NEAREST)
    tile[state == IGNORED] *= 0.4
    anomalous = state == ANOMALOUS
    tile[anomalous] = 0.5 * tile[anomalous] + 0.5 * np.array(_ANOMALOUS, np.float32)
    drawn = outlined(tile.astype(np.uint8), anomalous)
    scale = height / label.state.shape[0]
    for number, region in enumerate(shown, 1):
        corner = round(region.x * scale) - 2, round(region.y * scale) - 2
        opposite = round((region.x + region.width) * scale) + 1, round((region.y + region.height) * scale) + 1
        cv2.rectangle(drawn, corner, opposite, _CHOSEN if region.chosen else _NOT_TAKEN, 1)
        place = min(max(0, corner[0]), width - 12), corner[1] - 3 if corner[1] > 14 else min(opposite[1] + 13, height)
        # dark below light: legible on any ground
        for ink, width_px in ((_SHADOW, 3), (_CHOSEN, 1)):
            cv2.putText(drawn, str(number), place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, ink, width_px, cv2.LINE_AA)
    return drawn


def _captions(shown: Sequence[JudgedRegion]) -> list[tuple[str, str]]:
    lines = [] if shown else [("no region stands out", QUIET)]
    for number, region in enumerate(shown, 1):
        verdict = "anomalous" if region.chosen else "not taken"
        numbers = f"rules {region.kappa:.2f}, residual {region.evidence:.2f}, degree {region.degree:.2f}: {verdict}"
        lines += [(f"{number}  {region.explanation}", INK), (numbers, RED if region.chosen else QUIET)]
    return lines
