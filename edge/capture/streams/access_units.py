"""Key frames that come in pieces over RTP, put together again.

A sender that repeats its parameter sets before every slice (GStreamer's payloaders with config-interval=-1) makes
FFmpeg take each slice of a key frame for a picture; none of them would be whole. Pure: bytes in, bytes out.
"""

from __future__ import annotations

from dataclasses import dataclass

_START = b"\x00\x00\x01"
# pieces of one picture that are put together; a picture of more is handed on in parts, and the decoder says so
MOST_PIECES = 256


@dataclass(frozen=True)
class _Codec:
    """How a unit of its byte stream begins: bytes of its header, and which types carry a piece of a picture."""

    header_bytes: int
    shift: int
    mask: int
    picture_types: range


_CODECS = {"h264": _Codec(1, 0, 0x1F, range(1, 6)), "hevc": _Codec(2, 1, 0x3F, range(32))}


class AccessUnitJoiner:
    """Add packets in their order; take pictures, each with the number of its first packet.

    Into how many pieces a sender splits its key frames is learned from the first one, which is lost; after that no
    picture waits for the packet behind it.
    """

    def __init__(self, codec: str) -> None:
        self._codec = _CODECS.get(codec)
        self._usual_pieces = 1
        self._pieces = 0
        self._held: tuple[int, bytes] | None = None

    def add(self, number: int, data: bytes, is_key_frame: bool) -> list[tuple[int, bytes]]:
        """The pictures that are complete with this packet; empty when it is to be continued."""
        if self._codec is None:
            return [(number, data)]
        complete: list[tuple[int, bytes]] = []
        if self._continues(data):
            self._pieces += 1
            number, data = (self._held[0], self._held[1] + data) if self._held is not None else (number, data)
            is_key_frame = self._held is not None
        else:
            if self._held is not None:
                complete.append(self._held)
            if self._pieces:
                self._usual_pieces = min(self._pieces, MOST_PIECES)
            self._pieces = 1 if is_key_frame else 0
        self._held = None
        if is_key_frame and self._pieces < self._usual_pieces:
            self._held = number, data
        else:
            complete.append((number, data))
        return complete

    def _continues(self, data: bytes) -> bool:
        """Whether the first piece of a picture in a packet is not the beginning of one."""
        codec = self._codec
        assert codec is not None
        place = data.find(_START)
        while 0 <= place < len(data) - len(_START) - codec.header_bytes:
            header = place + len(_START)
            if data[header] >> codec.shift & codec.mask in codec.picture_types:
                # H.264 begins with the number of its first block in a code whose 0 is a set bit; HEVC with a flag
                return not data[header + codec.header_bytes] & 0x80
            place = data.find(_START, header)
        return False
