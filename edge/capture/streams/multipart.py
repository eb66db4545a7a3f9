"""Pictures out of a multipart/x-mixed-replace stream, as bytes come in. Pure: no socket, no clock.

Cameras disagree about the format (RFC 2046 and Netscape's server push): boundaries with and without their dashes, no
length, a wrong length, no line break before the boundary. What all share is relied on: a line of dashes and boundary,
header lines, an empty line, the picture.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message

from edge.capture.images.jpeg import END, START, jpeg_layout
from edge.core.errors import UndecodableImage

# headers of a part are a few short lines; more than this is no multipart stream
MOST_HEADER_BYTES = 16 * 1024
# RFC 2046 allows 70 characters; with dashes, blanks and line breaks
LONGEST_BOUNDARY = 128


class NotMultipart(ValueError):
    """The stream does not keep to its own boundary; the text is fit for a CameraError."""


@dataclass(frozen=True)
class MultipartPart:
    """One picture as it came, not looked at. headers: names in lower case.

    missing_bytes: how many fewer came than were announced. since_ns, read_ns: what `feed` got with the picture's
    first byte.
    """

    body: bytes
    headers: dict[str, str]
    missing_bytes: int
    since_ns: int
    read_ns: int


def boundary_of(content_type: str) -> bytes | None:
    """The boundary of a multipart Content-Type without its leading dashes; None for any other type."""
    message = Message()
    message["Content-Type"] = content_type
    if message.get_content_maintype() != "multipart":
        return None
    boundary = message.get_param("boundary", "")
    # some cameras put the dashes of the line into the parameter, others leave the parameter out
    return str(boundary).strip().lstrip("-").encode("latin-1", "replace")


class MultipartReader:
    """Feed bytes, take parts: up to the end of the JPEG where that is seen, so that nobody waits a frame time for the
    next boundary; up to that boundary otherwise."""

    def __init__(self, boundary: bytes, most_bytes: int) -> None:
        self._delimiter = _line(b"--" + boundary)
        self._believed = False
        self._most_bytes = most_bytes
        self._buffer = bytearray()
        # of the part that is coming: where its picture starts, None before its headers are whole
        self._start: int | None = None
        self._headers: dict[str, str] = {}
        self._came: tuple[int, int] | None = None
        self._searched = 0

    def feed(self, data: bytes, since_ns: int, read_ns: int) -> list[MultipartPart]:
        """The parts that these bytes complete, in their order; raises NotMultipart.

        since_ns: a moment before which none of these bytes had come. read_ns: when they were read.
        """
        self._buffer += data
        parts: list[MultipartPart] = []
        while self._read_headers():
            assert self._start is not None
            # not with its headers: some cameras send the next ones together with the picture before
            if self._came is None and len(self._buffer) > self._start:
                self._came = since_ns, read_ns
            ends = self._ends()
            if ends is None:
                break
            end, next_part = ends
            missing = max(0, (self._announced() or 0) - (next_part - self._start))
            came = self._came or (since_ns, read_ns)
            parts.append(MultipartPart(bytes(self._buffer[self._start : end]), self._headers, missing, *came))
            del self._buffer[:next_part]
            self._start = self._came = None
        if len(self._buffer) > self._most_bytes:
            raise NotMultipart(f"a picture of more than {self._most_bytes} bytes, which is the limit")
        return parts

    def _read_headers(self) -> bool:
        """Skip to the next boundary and read what follows it up to the empty line; False when more must come."""
        if self._start is not None:
            return True
        if not self._believed and not self._believe_first_line():
            return False
        line = self._delimiter.search(self._buffer)
        if line is None:
            # what cannot be the beginning of a boundary is padding, or the end of a part that was longer than announced
            del self._buffer[: max(0, len(self._buffer) - LONGEST_BOUNDARY)]
            return False
        after = line.end() - line.start()
        del self._buffer[: line.start()]
        end, gap = _blank_line(self._buffer)
        if end < 0:
            if len(self._buffer) > MOST_HEADER_BYTES:
                raise NotMultipart(f"no picture within {len(self._buffer)} bytes after a boundary")
            return False
        self._headers = _headers(bytes(self._buffer[after:end]))
        self._start = self._searched = end + gap
        return True

    def _believe_first_line(self) -> bool:
        """Take the boundary from the stream's first line: some cameras announce another one, or none."""
        del self._buffer[: len(self._buffer) - len(self._buffer.lstrip(b"\r\n"))]
        line, end, _ = self._buffer.partition(b"\n")
        if not end and len(line) < MOST_HEADER_BYTES:
            return False
        line = line.rstrip()
        if line.startswith(b"--") and line != b"--":
            self._delimiter = _line(bytes(line))
        elif self._delimiter.search(self._buffer) is None:
            raise NotMultipart("it does not begin with a boundary")
        self._believed = True
        return True

    def _ends(self) -> tuple[int, int] | None:
        """Where the picture ends and where the search for the next boundary begins; None when more must come."""
        assert self._start is not None
        buffer, start, announced = self._buffer, self._start, self._announced()
        line = self._delimiter.search(buffer, max(start, self._searched - LONGEST_BOUNDARY))
        if line is not None:
            boundary = line.start()
            # the line break before it belongs to the boundary
            return boundary - 2 * buffer.endswith(b"\r\n", start, boundary), boundary
        searched, self._searched = self._searched, len(buffer)
        if not buffer.startswith(START, start):
            whole = announced is not None and len(buffer) - start >= announced
            return (start + announced, start + announced) if whole and announced is not None else None
        # the announced length is a hint: a picture that is not whole there may go on up to the next boundary
        due = len(buffer) - start >= announced if announced is not None else buffer.find(END, searched - 1) >= 0
        if not due:
            return None
        try:
            end = start + jpeg_layout(bytes(buffer[start:])).end
        except UndecodableImage:
            return None
        return end, end

    def _announced(self) -> int | None:
        text = self._headers.get("content-length", "")
        return int(text) if text.isascii() and text.isdecimal() else None


def _line(delimiter: bytes) -> re.Pattern[bytes]:
    """A boundary as a line of its own, or right behind a JPEG: a short one stands in many pictures by chance."""
    return re.compile(rb"(?:(?<=\n)|(?<=\xff\xd9)|\A)" + re.escape(delimiter) + rb"(?:--)?[ \t]*(?=\r?\n)")


def _blank_line(buffer: bytearray) -> tuple[int, int]:
    """Where the headers end, and how many bytes the empty line takes; (-1, 0) when it has not come."""
    found = [(at, len(gap)) for gap in (b"\r\n\r\n", b"\n\n") if (at := buffer.find(gap)) >= 0]
    return min(found, default=(-1, 0))


def _headers(text: bytes) -> dict[str, str]:
    lines = text.decode("latin-1").splitlines()
    pairs = (line.split(":", 1) for line in lines if ":" in line)
    return {name.strip().lower(): value.strip() for name, value in pairs}
