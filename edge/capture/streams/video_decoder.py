"""Compressed video through FFmpeg (PyAV), with what FFmpeg knows of damage and OpenCV does not pass on.

A decoder fills what is missing from the pictures before, and every picture up to the next key frame is made of what it
filled in. So a picture counts as whole only when neither the container, nor the transport, nor the decoder complained
since a whole key frame. What cannot be known: damage that leaves a valid code (a changed bit of HEVC often does, one of
H.264 rarely), and pictures that the sender left out.
"""

from __future__ import annotations

import itertools
import logging
import re
import time
from collections import deque
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import av
import av.logging
from av.container import InputContainer

from edge.capture.images.image_io import bgr_from_buffer, decode_picture
from edge.capture.streams.access_units import AccessUnitJoiner
from edge.core.config import CameraSettings
from edge.core.datatypes import U8, Fault, Frame, Reason
from edge.core.errors import UndecodableImage
from edge.core.redact import redact

# FFmpeg's own lines must not reach the terminal: they hold addresses with their passwords
logging.getLogger("libav").addHandler(logging.NullHandler())
logging.getLogger("libav").propagate = False
# only at this level FFmpeg logs that a picture is missing between two others
av.logging.set_level(av.logging.DEBUG)
av.logging.set_skip_repeated(False)

# of the transports and containers, warnings that something is missing; their other warnings are about style
_LOSS = re.compile(
    r"missed|jitter buffer full|max delay reached|corrupt|partial file|prematurely|truncat|dropped|bad cseq",
    re.IGNORECASE,
)
_GAP = "Frame num gap"
# of a decoder's warnings, those about data it could not use; HEVC's says no more when half of a picture is missing
_UNUSABLE = re.compile(
    r"skipping|invalid|undecodable|missing|conceal|corrupt|damaged|truncated|incorrect", re.IGNORECASE
)
# a decoder's errors all count, but for those about data beside the picture
_BESIDE_THE_PICTURE = re.compile(r"\bSEI\b|user data|VUI", re.IGNORECASE)
# H.264 and HEVC put a 3 between zeros; so many in a row are memory that was never filled, which decoders step over.
# before a start code they may be padding
_NEVER_FILLED = re.compile(rb"\0{64,}(?:[^\0\1]|$)")
_WITHOUT_ZEROS = ("h264", "hevc")
_LONGEST_COMPLAINT = 100
# no codec holds back more pictures than this to show them in their order
MOST_REORDERED = 64
# packets, pieces of pictures among them, that may wait for their picture; older ones count as left out
MOST_UNSHOWN = 4096


@dataclass(frozen=True)
class DecodedPicture:
    """One picture of a stream. damage: why it is not whole, None when it is.

    began_ns, came_ns: when its packet was asked for and when it came. stream_ns: when it came by the stream's own
    time, from any origin. encoded: the picture's own bytes, where each is compressed for itself (MJPEG).
    """

    began_ns: int
    came_ns: int
    stream_ns: int | None
    damage: str | None
    encoded: bytes | None
    _frame: Any
    _settings: CameraSettings

    def frame(self, index: int, captured_ns: int, utc: datetime, name: str) -> Frame:
        """The picture as a Frame, pixels as stored: a rotation that the file asks for is not applied."""
        image, why = None, self.damage
        if why is None:
            try:
                image = self._bgr()
            except UndecodableImage as error:
                why = str(error)
        if image is None:
            detail = f"the picture is not whole ({why}); pictures after it count again from the next key frame on"
            return Frame(index, captured_ns, utc, name, None, Fault(Reason.UNDECODABLE, detail))
        return Frame(index, captured_ns, utc, name, image, None, self.encoded)

    def _bgr(self) -> U8:
        if self.encoded is not None:
            return decode_picture(self.encoded, self._settings.sensor_bits, self._settings.max_megapixels)
        if self._frame.format.name.startswith("gray16"):
            return bgr_from_buffer(self._frame.to_ndarray(format="gray16le"), self._settings.sensor_bits)
        return bgr_from_buffer(self._frame.to_ndarray(format="bgr24"))


@dataclass(frozen=True)
class _Arrival:
    began_ns: int
    came_ns: int
    stream_ns: int | None


class VideoDecoder:
    """The pictures of the first video stream of an opened container, in the order they are shown; closes it.

    broken_off: what the container says of its end, None while nothing is wrong with it.
    """

    def __init__(self, container: InputContainer, settings: CameraSettings) -> None:
        self.broken_off: str | None = None
        self._container = container
        self._stream = container.streams.video[0]
        self._settings = settings
        self._context = self._stream.codec_context
        # every picture for itself: FFmpeg would mend broken ones without a word
        self._self_contained = self._context.name == "mjpeg"
        # complaints come in the thread that decodes, and only so is known which picture they are about
        self._context.thread_count = 1
        self._context.copy_opaque = True
        # a sender may add check sums to HEVC; the decoder checks them only when asked
        self._context.options = {"err_detect": "crccheck"}
        self._packets = container.demux(self._stream)
        self._joiner = AccessUnitJoiner(self._context.name) if container.format.name == "rtsp" else None
        self._numbers = itertools.count()
        self._arrivals: dict[int, _Arrival] = {}
        self._ready: deque[DecodedPicture] = deque()
        self._ended = False
        self._damage: str | None = "the stream does not begin with a key frame"
        self._damaged_at = -1
        self._skipping = False
        self.skipped = 0

    @property
    def frames_per_s(self) -> float | None:
        rate = self._stream.average_rate or self._stream.guessed_rate
        return float(rate) if rate else None

    def read(self) -> DecodedPicture | None:
        """The next picture; None at the end. Raises av.FFmpegError when the transport fails."""
        while not self._ready and not self._ended:
            self._advance()
        return self._ready.popleft() if self._ready else None

    def skip_to_key_frame(self) -> None:
        """Leave out what has been decoded, and all packets up to the next key frame, counted in `skipped`."""
        self.skipped += len(self._ready)
        self._ready.clear()
        self._skipping = not self._self_contained

    def close(self) -> None:
        self._container.close()

    def _advance(self) -> None:
        """Take one packet, and what pictures it completes."""
        began_ns = time.perf_counter_ns()
        with av.logging.Capture() as messages:
            packet = next(self._packets, None)
        arrival = _Arrival(began_ns, time.perf_counter_ns(), None if packet is None else _stream_ns(packet))
        number = next(self._numbers)
        losses = [
            _short(f"data was lost on the way, {source}: {text}")
            for level, source, text in messages
            if level <= av.logging.WARNING and _LOSS.search(text)
        ]
        if packet is not None and packet.is_corrupt:
            losses.append("the packet is incomplete")
        if packet is None or not packet.size:
            self.broken_off = self.broken_off or next(iter(losses), None)
            self._ended = packet is None
            self._count_unshown(number if packet is None else -1)
        else:
            # a complaint counts for the end when nothing whole comes after it
            self.broken_off = next(iter(losses), None)
            if not packet.is_discard:
                self._arrivals[number] = arrival
                self._count_unshown(number - MOST_UNSHOWN)
        for loss in losses:
            # a parser looks one packet ahead: the next one may be meant
            self._note_damage(number + 1, loss)
        if packet is not None:
            self._take(packet, number)

    def _take(self, packet: Any, number: int) -> None:
        if self._self_contained:
            if packet.size:
                self._ready.append(self._picture(number, None, None, bytes(packet)))
            return
        if self._skipping and packet.size:
            if not packet.is_keyframe:
                self._arrivals.pop(number, None)
                self.skipped += 1
                return
            self._skipping = False
            self._context.flush_buffers()
            self._note_damage(number - 1, "pictures before it were left out")
        if self._joiner is None or not packet.size:
            self._decode(packet, number)
            return
        for first, data in self._joiner.add(number, bytes(packet), packet.is_keyframe):
            picture = av.Packet(data)
            picture.pts, picture.dts, picture.time_base = packet.pts, packet.dts, packet.time_base
            picture.stream = packet.stream
            self._decode(picture, first)

    def _decode(self, packet: Any, number: int) -> None:
        packet.opaque = number
        if packet.size and self._context.name in _WITHOUT_ZEROS and _NEVER_FILLED.search(packet):
            self._note_damage(number, "a part of it is zero")
        frames: list[Any] = []
        with av.logging.Capture() as messages:
            try:
                frames = packet.decode()
            except av.FFmpegError as error:
                self._note_damage(number, error.strerror or str(error))
                self._ready.append(self._picture(number, None, self._damage, None))
        for level, source, text in messages:
            if _GAP in text:
                self._note_damage(number, "a picture before it is missing")
            elif _is_complaint(level, text):
                self._note_damage(number, f"{source}: {text}")
        if packet.is_discard and packet.is_keyframe and number > self._damaged_at:
            # a clip that was trimmed without coding it anew begins with pictures that are decoded and not shown
            self._damage = None
        for frame in frames:
            shown = number if frame.opaque is None else int(frame.opaque)
            if frame.is_corrupt:
                self._note_damage(max(shown, self._damaged_at), "the decoder filled in what is missing")
            elif frame.key_frame and shown > self._damaged_at:
                self._damage = None
            self._ready.append(self._picture(shown, frame, self._damage, None))

    def _picture(self, number: int, frame: Any, damage: str | None, encoded: bytes | None) -> DecodedPicture:
        now_ns = time.perf_counter_ns()
        came = self._arrivals.pop(number, _Arrival(now_ns, now_ns, None))
        self._count_unshown(number - MOST_REORDERED)
        return DecodedPicture(came.began_ns, came.came_ns, came.stream_ns, damage, encoded, frame, self._settings)

    def _count_unshown(self, before: int) -> None:
        """A packet of which a decoder made nothing, without a word, is a picture that was left out."""
        for number in [known for known in self._arrivals if known < before]:
            del self._arrivals[number]
            self.skipped += 1

    def _note_damage(self, number: int, complaint: str) -> None:
        if self._damage is None or self._damaged_at < 0:
            self._damage = _short(complaint)
        self._damaged_at = max(self._damaged_at, number)


def _is_complaint(level: int, text: str) -> bool:
    """Whether a decoder's line is about the picture itself, and bad news."""
    if _BESIDE_THE_PICTURE.search(text):
        return False
    return level <= av.logging.ERROR or (level <= av.logging.WARNING and _UNUSABLE.search(text) is not None)


def _stream_ns(packet: Any) -> int | None:
    # in the order of sending; pictures are shown in another one where some are predicted from later ones
    moment = packet.dts if packet.dts is not None else packet.pts
    return None if moment is None else round(float(moment * packet.time_base) * 1e9)


def _short(text: str) -> str:
    text = redact(" ".join(text.split()))
    return text if len(text) <= _LONGEST_COMPLAINT else text[: _LONGEST_COMPLAINT - 1] + "…"
