"""Whole pictures come out of a multipart stream however it is cut into pieces; what breaks off takes no other along."""

from itertools import product

import cv2
import numpy as np
import pytest

from edge.capture.streams.http_stream import Chunks
from edge.capture.streams.multipart import MultipartReader, NotMultipart, boundary_of

MOST = 1_000_000


def jpeg(seed: int) -> bytes:
    noise = np.random.default_rng(seed).integers(0, 255, (24, 32, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def stream(bodies, head=b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n", end=b"\r\n"):
    return b"".join((head % len(body) if b"%d" in head else head) + body + end for body in bodies)


def parts_of(data, size, boundary=b"frame"):
    reader, parts = MultipartReader(boundary, MOST), []
    for start in range(0, len(data), size):
        parts += reader.feed(data[start : start + size], start, start + 1)
    return parts


HEADS = {
    "with its length": b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n",
    "without a length": b"--frame\r\nContent-Type: image/jpeg\r\n\r\n",
    "with bare line feeds": b"--frame\nContent-Type: image/jpeg\n\n",
    "with a length that is too small": b"--frame\r\nContent-Length: 100\r\n\r\n",
    "with more dashes than it said": b"----frame\r\nContent-Length: %d\r\n\r\n",
}


def test_every_picture_comes_out_whole_and_without_waiting_for_the_next():
    bodies = [jpeg(seed) for seed in range(4)]
    for case in product(HEADS, [1, 7, 500, MOST]):
        head, size = case
        parts = parts_of(stream(bodies, HEADS[head]), size)
        assert [part.body[: len(body)] for part, body in zip(parts, bodies, strict=True)] == bodies, case
        assert all(part.missing_bytes == 0 for part in parts), case


def test_a_picture_that_breaks_off_ends_at_the_next_boundary_and_takes_nothing_from_the_next(subtests):
    for end, announced in product([b"", b"\xff\xd9"], [True, False]):
        with subtests.test(end=end, announced=announced):
            whole, broken = jpeg(1), jpeg(2)[:700] + end
            length = b"Content-Length: %d\r\n" % len(jpeg(2)) if announced else b""
            data = b"--frame\r\n" + length + b"\r\n" + broken + b"\r\n" + stream([whole])
            first, second = parts_of(data, 64)
            assert first.body.rstrip(b"\r\n") == broken and second.body == whole
            assert (first.missing_bytes > 0) is announced


def test_a_boundary_is_taken_from_the_header_however_it_is_written():
    assert boundary_of("multipart/x-mixed-replace; boundary=frame") == b"frame"
    assert boundary_of('multipart/x-mixed-replace;boundary="--my frame"') == b"my frame"
    assert boundary_of("multipart/x-mixed-replace") == b""
    assert boundary_of("image/jpeg") is None


def test_the_boundary_that_is_used_counts_not_the_one_that_was_announced():
    bodies = [jpeg(seed) for seed in range(3)]
    for case in product([b"", b"another"], [1, 100, MOST]):
        announced, size = case
        assert [part.body for part in parts_of(b"\r\n" + stream(bodies), size, boundary=announced)] == bodies, case


def test_a_short_boundary_that_stands_in_a_picture_by_chance_ends_nothing():
    for case in product([50, MOST], [b"--f", b"\n--f", b"--f--", b"--fx\r\n"]):
        size, inside = case
        body = jpeg(1)[:-2] + b"\xff\xfe\x00\x14" + inside.ljust(18, b".") + b"\xff\xd9"
        head = b"--f\r\nContent-Type: image/jpeg\r\n\r\n"
        assert [part.body for part in parts_of(stream([body] * 3, head), size, boundary=b"f")] == [body] * 3, case


def test_a_picture_may_contain_dashes():
    body = jpeg(1)[:-2] + b"\xff\xfe\x00\x0a--------" + b"\xff\xd9"
    assert [part.body for part in parts_of(stream([body, body]), 50)] == [body, body]


def test_a_stream_that_begins_with_anything_else_is_refused():
    with pytest.raises(NotMultipart, match="does not begin with a boundary"):
        parts_of(b"hello\r\n" * 10, 1000)


def test_a_part_is_as_old_as_its_first_byte_not_as_its_headers():
    reader = MultipartReader(b"frame", MOST)
    body = jpeg(1)
    assert reader.feed(b"--frame\r\nContent-Length: %d\r\n\r\n" % len(body), 1, 2) == []
    assert reader.feed(body[:500], 30, 40) == []
    (part,) = reader.feed(body[500:], 500, 600)
    assert (part.since_ns, part.read_ns) == (30, 40)


def test_what_is_no_multipart_stream_is_refused_before_it_fills_the_memory():
    with pytest.raises(NotMultipart, match="no picture within"):
        parts_of(b"--frame\r\n" + b"x" * 50_000, 1000)
    reader = MultipartReader(b"frame", 10_000)
    with pytest.raises(NotMultipart, match="more than 10000 bytes"):
        reader.feed(b"--frame\r\n\r\n" + jpeg(1)[:500] + bytes(20_000), 0, 0)


def test_chunks_are_taken_off_wherever_they_are_cut():
    content = b"0123456789" * 20
    pieces = (content[:7], content[7:150], content[150:])
    coded = b"".join(b"%x;name=value\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
    for size in [1, 3, 10, 1000]:
        chunks = Chunks()
        assert b"".join(chunks.feed(coded[at : at + size]) for at in range(0, len(coded), size)) == content, size


def test_what_is_not_chunked_is_refused():
    with pytest.raises(ValueError, match="invalid literal"):
        Chunks().feed(b"--frame\r\n")
    with pytest.raises(ValueError, match="no length"):
        Chunks().feed(b"f" * 5000)
