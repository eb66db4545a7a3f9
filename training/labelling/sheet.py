"""Pseudo-labels drawn for the expert who wrote the rules: what was labelled, and which rule spoke where."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from edge.core.datatypes import F32, U8
from edge.core.errors import UsageError
from edge.core.files.atomic_file import write_atomic
from training.labelling.normal_levels import check_pair
from training.labelling.pseudo_labels import ANOMALOUS, IGNORED, JudgedRegion, PseudoLabel

_TILE_PX = 256
_TEXT_PX = 560
_GAP_PX = 6
_LINE_PX = 19
_MOST_CAPTIONS = 6
# what neither rules nor residual see much of is noise
_WORTH_A_CAPTION = 0.2
# the heat map's scale, in standard deviations of good parts, the same for every picture
_HOTTEST_Z = 10.0

# BGR; anomalous and ignored also differ in outline and brightness, for those who do not tell the colours apart
_ANOMALOUS, _PAPER, _INK, _QUIET = (30, 60, 235), (250, 250, 250), (30, 30, 30), (120, 120, 120)
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_HEADINGS = ("picture", f"residual z, 0 to {_HOTTEST_Z:g}", "red: anomalous, dark: ignored", "what the rules say")


def label_sheet(pictures: Sequence[U8], zmaps: Sequence[F32], labels: Sequence[PseudoLabel], out: Path) -> None:
    """Write one row for each defective part: picture, z heat map, labels, and the rules behind the strongest regions.

    pictures uint8 (h, w, 3) BGR, zmaps float32 (h, w). out: a PNG or JPEG file; its folder is made. Raises UsageError
    for another suffix or a place that cannot be written.
    """
    if out.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise UsageError(f"{out}: a sheet of labels is a picture", fix="give a name that ends in .png")
    rows = [_headings()]
    for picture, zmap, label in zip(pictures, zmaps, labels, strict=True):
        check_pair(picture, zmap)
        rows.append(_row(picture, zmap, label))
    _, encoded = cv2.imencode(out.suffix.lower(), np.concatenate(rows))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(out, encoded.tobytes())
    except OSError as error:
        raise UsageError(f"{out}: {error.strerror or error}", fix="check the folder and its permissions") from error


def _headings() -> U8:
    row = np.full((_LINE_PX + 2 * _GAP_PX, 3 * (_TILE_PX + _GAP_PX) + _GAP_PX + _TEXT_PX, 3), _PAPER, np.uint8)
    for column, text in enumerate(_HEADINGS):
        _write(row, text, _GAP_PX + column * (_TILE_PX + _GAP_PX), _LINE_PX, _INK)
    return row


def _row(picture: U8, zmap: F32, label: PseudoLabel) -> U8:
    shown = _most_telling(label.regions)
    height, width = _tile_shape(zmap.shape[0], zmap.shape[1])
    heat = cv2.applyColorMap((np.clip(zmap / _HOTTEST_Z, 0, 1) * 255).astype(np.uint8), cv2.COLORMAP_TURBO)
    tiles = (_fitted(picture, height, width), _fitted(heat, height, width), _overlay(picture, label, shown))
    row = np.full((_TILE_PX + _GAP_PX, 3 * (_TILE_PX + _GAP_PX) + _GAP_PX + _TEXT_PX, 3), _PAPER, np.uint8)
    for column, tile in enumerate(tiles):
        left = _GAP_PX + column * (_TILE_PX + _GAP_PX)
        row[: tile.shape[0], left : left + tile.shape[1]] = tile
    _write_captions(row, shown)
    return row


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


def _tile_shape(height: int, width: int) -> tuple[int, int]:
    scale = _TILE_PX / max(height, width)
    return max(1, round(height * scale)), max(1, round(width * scale))


def _fitted(picture: U8, height: int, width: int) -> U8:
    how = cv2.INTER_AREA if height < picture.shape[0] else cv2.INTER_NEAREST
    return np.asarray(cv2.resize(picture, (width, height), interpolation=how), np.uint8)


def _overlay(picture: U8, label: PseudoLabel, shown: Sequence[JudgedRegion]) -> U8:
    """Anomalous pixels red with an outline, ignored ones dark; a numbered box around each captioned region."""
    height, width = _tile_shape(*label.state.shape)
    tile = _fitted(picture, height, width).astype(np.float32)
    state = cv2.resize(label.state.astype(np.int16), (width, height), interpolation=cv2.INTER_NEAREST)
    tile[state == IGNORED] *= 0.4
    anomalous = state == ANOMALOUS
    tile[anomalous] = 0.5 * tile[anomalous] + 0.5 * np.array(_ANOMALOUS, np.float32)
    drawn = tile.astype(np.uint8)
    outlines, _ = cv2.findContours(anomalous.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(drawn, outlines, -1, _ANOMALOUS, 1)
    scale = height / label.state.shape[0]
    for number, region in enumerate(shown, 1):
        corner = round(region.x * scale) - 2, round(region.y * scale) - 2
        opposite = round((region.x + region.width) * scale) + 1, round((region.y + region.height) * scale) + 1
        cv2.rectangle(drawn, corner, opposite, _PAPER if region.chosen else _QUIET, 1)
        place = min(max(0, corner[0]), width - 12), corner[1] - 3 if corner[1] > 14 else min(opposite[1] + 13, height)
        # dark below light: legible on any ground
        cv2.putText(drawn, str(number), place, _FONT, 0.42, _INK, 3, cv2.LINE_AA)
        cv2.putText(drawn, str(number), place, _FONT, 0.42, _PAPER, 1, cv2.LINE_AA)
    return drawn


def _write_captions(row: U8, shown: Sequence[JudgedRegion]) -> None:
    left = _GAP_PX + 3 * (_TILE_PX + _GAP_PX)
    if not shown:
        _write(row, "no region stands out", left, _LINE_PX, _QUIET)
    for number, region in enumerate(shown, 1):
        top = (2 * number - 1) * _LINE_PX
        verdict = "anomalous" if region.chosen else "not taken"
        _write(row, f"{number}  {region.explanation}", left, top, _INK)
        numbers = f"rules {region.kappa:.2f}, residual {region.evidence:.2f}, degree {region.degree:.2f}: {verdict}"
        _write(row, f"   {numbers}", left, top + _LINE_PX, _ANOMALOUS if region.chosen else _QUIET)


def _write(row: U8, text: str, left: int, baseline: int, ink: tuple[int, int, int]) -> None:
    """Text that ends before the row does; the drawn fonts have ASCII only."""
    text = text.encode("ascii", "replace").decode()
    room = row.shape[1] - left - _GAP_PX
    while cv2.getTextSize(text, _FONT, 0.42, 1)[0][0] > room:
        text = text.rstrip(".")[:-1] + "..."
    cv2.putText(row, text, (left, baseline), _FONT, 0.42, ink, 1, cv2.LINE_AA)
