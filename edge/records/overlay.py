"""A verdict drawn on its picture, for people: heat map, regions, and a banner above the picture. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from edge.core.datatypes import U8, AnomalyMap, Decision, Frame, Region, Verdict
from edge.core.local_time import local_text
from edge.preprocessing.regions import FieldOfView, values_in_view

Colour = tuple[int, int, int]

# BGR; also told apart by the word beside them, since one man in twelve does not see red against green
_COLOURS: dict[Decision, Colour] = {
    Decision.OK: (86, 160, 46),
    Decision.NG: (40, 40, 214),
    Decision.INVALID: (0, 145, 245),
}
_BANNER: Colour = (38, 33, 30)
_TEXT: Colour = (245, 245, 245)
_QUIET: Colour = (190, 186, 182)
_BOX: Colour = (255, 255, 255)
_BOX_EDGE: Colour = (30, 30, 30)

# text needs this much room; a smaller picture is shown enlarged
_MIN_WIDTH_PX = 320
# a tall narrow picture is enlarged up to this height only: JPEG ends at 65500 rows
_MAX_ENLARGED_PX = 8192
_MAX_HEAT_SHARE = 0.62
# by heat in 256 steps; from the middle of the scale on: its blue half would cool down what is meant to glow
_HEAT_SHARES = (_MAX_HEAT_SHARE * np.sqrt(np.arange(256) / 255)).astype(np.float32)
_HEAT_COLOURS = cv2.applyColorMap((132.6 + 86.7 * np.arange(256) / 255).astype(np.uint8)[:, None], cv2.COLORMAP_TURBO)
_MAX_BOXES = 12


@dataclass(frozen=True)
class Field:
    """What was judged: a camera's picture, `width` x `height` px from column x on, and what its map covers of it."""

    verdict: Verdict
    view: FieldOfView
    x: int
    width: int
    height: int

    def heat(self, picture: U8) -> None:
        """Blend its map into the picture of all."""
        if self.verdict.anomaly_map is not None:
            own = picture[: self.height, self.x : self.x + self.width]
            blend_heat(own, self.verdict.anomaly_map, self.view, self.verdict.threshold)


def judged_fields(frame: Frame, verdict: Verdict, view: FieldOfView | None) -> list[Field]:
    """Of a frame with a picture: the whole of it, or of a group each camera's. view: see `draw_overlay`."""
    assert frame.image is not None, "asked for frames with a picture"
    if view is not None:
        return [Field(verdict, view, 0, frame.image.shape[1], frame.image.shape[0])]
    places = {place.camera: place for place in frame.views}
    return [
        Field(each.verdict, FieldOfView(*each.field), place.x, place.width, place.height)
        for each in verdict.cameras
        if each.field is not None and (place := places.get(each.camera)) is not None
    ]


def draw_overlay(frame: Frame, verdict: Verdict, view: FieldOfView | None, number: str = "") -> U8:
    """The picture of the frame with what the verdict says about it, uint8 BGR, with a banner added on top.

    view: where in the frame the anomaly map lies; None when nothing was scored. number: under which it is on record.
    Small pictures are enlarged by a whole factor, and stand at the left where they stay narrower than the banner; the
    inspected pixels are never covered by text. Raises ValueError when the frame has no image.
    """
    if frame.image is None:
        raise ValueError(f"frame {frame.index} has no image to draw on")
    factor = max(1, min(-(-_MIN_WIDTH_PX // frame.image.shape[1]), _MAX_ENLARGED_PX // frame.image.shape[0]))
    picture: U8 = frame.image
    fields = judged_fields(frame, verdict, view)
    if any(field.verdict.anomaly_map is not None for field in fields):
        picture = picture.copy()
    for field in fields:
        field.heat(picture)
    height, width = (side * factor for side in picture.shape[:2])
    # the banner follows the width, as the text does; a tall narrow picture must not get a huge one
    banner = _banner(max(width, _MIN_WIDTH_PX), frame, verdict, number)
    if verdict.cameras:
        banner = np.vstack([banner, _camera_strips(banner.shape[1], frame, verdict, factor)])
    canvas = np.empty((banner.shape[0] + height, banner.shape[1], 3), np.uint8)
    canvas[: banner.shape[0]] = banner
    canvas[banner.shape[0] :, width:] = _BANNER
    below = canvas[banner.shape[0] :, :width]
    below[:] = picture if factor == 1 else cv2.resize(picture, (width, height), interpolation=cv2.INTER_NEAREST)
    for field in fields:
        seen = field.view
        if (seen.width, seen.height) != (field.width, field.height):
            corner = ((field.x + seen.x) * factor, seen.y * factor)
            opposite = ((field.x + seen.x + seen.width) * factor - 1, (seen.y + seen.height) * factor - 1)
            cv2.rectangle(below, corner, opposite, _QUIET, max(1, width // 900), cv2.LINE_AA)
    for region in verdict.regions[:_MAX_BOXES]:
        draw_box(below, region, factor)
    return canvas


def with_heat(image: U8, anomaly_map: AnomalyMap, view: FieldOfView, threshold: float) -> U8:
    """A copy with the map blended over its field."""
    result: U8 = image.copy()
    blend_heat(result, anomaly_map, view, threshold)
    return result


def blend_heat(picture: U8, anomaly_map: AnomalyMap, view: FieldOfView, threshold: float) -> None:
    """Blend the map over its field, in place: nothing at half the threshold and below, so that normal texture stays."""
    low = 0.5 * threshold
    values = values_in_view(anomaly_map, view)
    high = max(2.0 * threshold, float(anomaly_map.values.max()), low + 1e-6)
    heat = np.clip((values - low) * np.float32(255 / (high - low)), 0, 255)
    level = cv2.convertScaleAbs(cv2.resize(heat, (view.width, view.height), interpolation=cv2.INTER_LINEAR))
    x, y, width, height = cv2.boundingRect(level)
    if width == 0:
        return
    # only where it glows: most of a picture stays as it is, and the record writer draws every rejected part
    level = np.ascontiguousarray(level[y : y + height, x : x + width])
    field = picture[view.y + y : view.y + y + height, view.x + x : view.x + x + width]
    share = cv2.LUT(level, _HEAT_SHARES)
    field[:] = cv2.blendLinear(np.ascontiguousarray(field), cv2.applyColorMap(level, _HEAT_COLOURS), 1 - share, share)


def draw_box(picture: U8, region: Region, factor: int) -> None:
    """A light line inside a dark one, so that it shows on any ground; a little larger than the region."""
    height, width = picture.shape[:2]
    line = max(1, round(width / 640))
    margin = 3 * line
    corner = (max(line, region.x * factor - margin), max(line, region.y * factor - margin))
    opposite = (
        min(width - 1 - line, (region.x + region.width) * factor + margin),
        min(height - 1 - line, (region.y + region.height) * factor + margin),
    )
    cv2.rectangle(picture, corner, opposite, _BOX_EDGE, 3 * line, cv2.LINE_AA)
    cv2.rectangle(picture, corner, opposite, _BOX, line, cv2.LINE_AA)


def _banner(width: int, frame: Frame, verdict: Verdict, number: str) -> U8:
    """Decision on its colour at the left, two lines of values beside it."""
    height = int(np.clip(width / 11, 44, 132))
    banner = np.empty((height, width, 3), np.uint8)
    cv2.rectangle(banner, (0, 0), (width, height), _BANNER, cv2.FILLED)
    colour = _COLOURS[verdict.decision]
    word = str(verdict.decision)
    word_scale = height / 46 if len(word) < 4 else height / 62
    (word_width, _), _ = cv2.getTextSize(word, cv2.FONT_HERSHEY_DUPLEX, word_scale, 1 + height // 60)
    pad = height // 4
    plate = word_width + 2 * pad
    edge = max(2, height // 22)
    banner[:, :plate] = colour
    _put(
        banner,
        word,
        pad,
        (height - edge) // 2 - height // 30,
        word_scale,
        (255, 255, 255),
        1 + height // 60,
        cv2.FONT_HERSHEY_DUPLEX,
    )
    banner[-edge:] = colour
    room = width - plate - 2 * pad
    named = number or f"frame {frame.index}"
    below = f"{local_text(frame.utc)}   {named}{_part_text(frame)}   {verdict.times.total:.1f} ms"
    for text, place, scale, ink in (
        (_headline(verdict), 0.33, height / 74, _TEXT),
        (below, 0.70, height / 104, _QUIET),
    ):
        _put_fitting(banner, text, plate + pad, round(height * place), scale, ink, room)
    return banner


def _camera_strips(width: int, frame: Frame, verdict: Verdict, factor: int) -> U8:
    """Above each camera's picture: its name, decision and score, or why there is no picture."""
    height = int(np.clip(width / 36, 20, 44))
    strips = np.empty((height, width, 3), np.uint8)
    strips[:] = _BANNER
    judged = {each.camera: each.verdict for each in verdict.cameras}
    for view in frame.views:
        own = judged[view.camera]
        left, right = view.x * factor, min(width, (view.x + view.width) * factor)
        strips[:, left : left + max(4, height // 4)] = _COLOURS[own.decision]
        pad = height // 2
        text = f"{view.camera}   {own.decision}   {_headline(own)}"
        _put_fitting(strips, text, left + pad, height // 2, height / 50, _TEXT, right - left - 2 * pad)
    return strips


def _part_text(frame: Frame) -> str:
    return "" if frame.part is None else "".join(f"   {words}" for words in frame.part.words)


def _headline(verdict: Verdict) -> str:
    if verdict.score is None:
        words = str(verdict.reason).replace("_", " ")
        return f"{words}: {verdict.detail}" if verdict.detail else words
    sign = ">" if verdict.decision is Decision.NG else "<="
    places = f"   {len(verdict.regions)} place{'s' * (len(verdict.regions) != 1)}" if verdict.regions else ""
    review = "FOR REVIEW   " if verdict.review else ""
    for each in verdict.cameras:
        if (each.verdict.decision, each.verdict.score) == (verdict.decision, verdict.score):
            review += f"{each.camera}   "
            break
    return f"{review}score {verdict.score:.4g} {sign} threshold {verdict.threshold:.4g}{places}"


def _put_fitting(banner: U8, text: str, x: int, middle: int, scale: float, ink: Colour, room: int) -> None:
    """Shrink the text to two thirds at most, then cut it: unreadably small helps nobody."""
    # the drawn fonts have ASCII only
    text = text.encode("ascii", "replace").decode()
    smallest = max(0.36, scale * 0.66)
    font = cv2.FONT_HERSHEY_SIMPLEX
    while scale > smallest and cv2.getTextSize(text, font, scale, 1)[0][0] > room:
        scale = max(smallest, scale * 0.93)
    while len(text) > 4 and cv2.getTextSize(text, font, scale, 1)[0][0] > room:
        text = text.rstrip(".")[:-1] + "..."
    _put(banner, text, x, middle, scale, ink, 1 + int(scale > 1.1), font)


def _put(banner: U8, text: str, x: int, middle: int, scale: float, ink: Colour, line: int, font: int) -> None:
    """Text with its capitals centred on the row `middle`."""
    (_, capital), _ = cv2.getTextSize("H", font, scale, line)
    cv2.putText(banner, text, (x, middle + capital // 2), font, scale, ink, line, cv2.LINE_AA)
