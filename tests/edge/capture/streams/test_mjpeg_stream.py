"""MJPEG over HTTP, from the socket to the Frame: broken pictures, other sizes, old ones; and who must not wait."""

import hashlib
import re
import socket
import threading
import time
from contextlib import closing
from itertools import product

import cv2
import numpy as np
import pytest

from edge.capture.sources import open_source
from edge.capture.streams.mjpeg_stream import MjpegStream
from edge.core.config import CameraSettings
from edge.core.datatypes import Reason
from edge.core.errors import CameraError
from tests.fakes import WAIT_S

SETTINGS = CameraSettings(open_timeout_ms=5000, read_timeout_ms=5000)
MULTIPART = b"HTTP/1.1 200 OK\r\nContent-Type: multipart/x-mixed-replace; boundary=b\r\n"


def jpeg(seed, size=(48, 64)):
    noise = np.random.default_rng(seed).integers(0, 255, (*size, 3), dtype=np.uint8)
    return cv2.imencode(".jpg", noise)[1].tobytes()


def part(body, announced=None):
    return b"--b\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % (announced or len(body)) + body + b"\r\n"


class Wire:
    """A camera of which the test writes every byte; `answers` are sent to one connection after the other."""

    def __init__(self, *answers):
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        self.requests = []
        self._connections = []
        self._connected = threading.Semaphore(0)
        threading.Thread(target=self._serve, args=(answers or (MULTIPART + b"\r\n",),), daemon=True).start()

    def _serve(self, answers):
        for answer in answers:
            connection, _ = self._listening.accept()
            request = b""
            while b"\r\n\r\n" not in request:
                request += connection.recv(4096)
            self.requests.append(request.decode())
            connection.sendall(answer)
            self._connections.append(connection)
            self._connected.release()

    def open(self, user=""):
        return open_source(f"http://{user}127.0.0.1:{self.port}/stream", SETTINGS)

    def send(self, data):
        if not self._connections:
            assert self._connected.acquire(timeout=WAIT_S)
        self._connections[-1].sendall(data)

    def close(self):
        for connection in self._connections:
            connection.close()
        self._listening.close()


@pytest.fixture
def wire():
    wire = Wire()
    yield wire
    wire.close()


def test_a_picture_is_the_one_that_was_sent_and_keeps_its_bytes(wire):
    camera, body = wire.open(), jpeg(1)
    wire.send(part(body))
    frame = camera.read()
    assert isinstance(camera, MjpegStream) and camera.live
    assert (frame.image == cv2.imdecode(np.frombuffer(body, np.uint8), 1)).all()
    assert frame.original == body


def test_a_picture_that_breaks_off_is_a_fault_and_nothing_of_the_one_before(subtests):
    for share, end, announces in product([0.1, 0.3, 0.6], [b"", b"\xff\xd9"], ["what comes", "the whole"]):
        with subtests.test(share=share, end=end, announces=announces), closing(Wire()) as wire:
            camera, body = wire.open(), jpeg(2)
            broken = body[: round(share * len(body))] + end
            wire.send(part(jpeg(1)))
            assert camera.read().fault is None
            wire.send(part(broken, len(body) if announces == "the whole" else None) + part(jpeg(3))[:20])
            frame = camera.read()
            assert frame.image is None and frame.fault.reason is Reason.UNDECODABLE
            wire.send(part(jpeg(3))[20:])
            assert camera.read().original == jpeg(3)


@pytest.mark.parametrize("body", [b"", b"<html>busy</html>", bytes(500)], ids=["nothing", "text", "zeros"])
def test_a_part_that_is_no_picture_is_a_fault(wire, body):
    camera = wire.open()
    wire.send(part(body) + part(jpeg(1))[:40])
    assert camera.read().fault.reason is Reason.UNDECODABLE


def test_bytes_that_were_announced_and_did_not_come_are_told(wire):
    camera, body = wire.open(), jpeg(1)
    wire.send(part(body, len(body) + 150) + part(jpeg(2))[:40])
    assert camera.read().fault.detail.startswith("148 of the bytes that the camera announced")


def test_every_picture_has_its_own_size(wire):
    camera = wire.open()
    for size in ((48, 64), (24, 32), (96, 128)):
        wire.send(part(jpeg(1, size)))
        assert camera.read().image.shape[:2] == size


def test_of_what_waits_only_the_newest_is_shown_and_it_is_as_old_as_it_may_be(wire):
    camera = wire.open()
    wire.send(part(jpeg(0)))
    camera.read()
    before_ns = time.perf_counter_ns()
    wire.send(b"".join(part(jpeg(number)) for number in range(1, 9)))
    # nobody looks for a while, as when the process stands still or the processor is starved
    time.sleep(0.3)
    frame = camera.read()
    assert frame.original == jpeg(8) and camera.dropped == 7
    assert frame.captured_ns <= before_ns


def test_a_picture_of_now_is_new(wire):
    camera = wire.open()
    for number in range(3):
        threading.Timer(0.2, wire.send, [part(jpeg(number))]).start()
        asked_ns = time.perf_counter_ns()
        frame = camera.read()
        # it came at some time after it was asked for, and not at once
        assert frame.captured_ns > asked_ns + 100_000_000


def test_a_chunked_stream_gives_its_pictures_without_waiting_for_the_next_chunk():
    wire = Wire(MULTIPART + b"Transfer-Encoding: chunked\r\n\r\n")
    camera = wire.open()
    for number in range(3):
        body = part(jpeg(number))
        wire.send(
            b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in (body[:100], body[100:1500], body[1500:]))
        )
        assert camera.read().original == jpeg(number)
    camera.close()
    wire.close()


def test_a_read_that_waits_ends_when_it_is_interrupted(wire):
    camera = wire.open()
    threading.Timer(0.1, camera.interrupt).start()
    started = time.perf_counter()
    with pytest.raises(CameraError, match="no longer read"):
        camera.read()
    assert time.perf_counter() - started < SETTINGS.read_timeout_ms / 1000


def test_a_silent_camera_is_told_to_be_given_more_time():
    wire = Wire()
    camera = open_source(f"http://127.0.0.1:{wire.port}/", SETTINGS.model_copy(update={"read_timeout_ms": 60}))
    with pytest.raises(CameraError, match="nothing came for 300 ms") as caught:
        camera.read()
    assert "camera.read_timeout_ms" in caught.value.fix
    wire.close()


def test_a_stream_that_ends_or_breaks_is_a_lost_camera(wire):
    camera = wire.open()
    wire.send(part(jpeg(1)))
    camera.read()
    wire.close()
    with pytest.raises(CameraError, match=r"ended the stream|connection broke"):
        camera.read()


def test_a_camera_that_asks_for_a_digest_gets_one_and_the_password_stays_secret():
    challenge = 'Digest realm="cam", nonce="abc", qop="auth", algorithm=MD5'
    refused = f"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: {challenge}\r\nContent-Length: 0\r\n\r\n".encode()
    wire = Wire(refused, MULTIPART + b"\r\n")
    camera = wire.open("operator:p%40ss@")
    said = dict(re.findall(r'(\w+)="?([^",]+)"?', wire.requests[1].split("Authorization: Digest ")[1].split("\r\n")[0]))
    secret = hashlib.md5(b"operator:cam:p@ss").hexdigest()
    asked = hashlib.md5(b"GET:/stream").hexdigest()
    expected = f"{secret}:abc:{said['nc']}:{said['cnonce']}:auth:{asked}"
    assert said["response"] == hashlib.md5(expected.encode()).hexdigest()
    assert "Authorization" not in wire.requests[0]
    assert "p%40ss" not in camera.name and "operator" not in camera.name
    wire.close()


def test_what_is_no_stream_says_what_it_is(subtests):
    for answer, told in [
        (b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n", "answers 401: user or password is wrong"),
        (b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answers 404: there is nothing at this address"),
        (b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: 3\r\n\r\nabc", "gives one picture"),
        (b"not http at all\r\n\r\n", "no video within"),
    ]:
        with subtests.test(told=told), closing(Wire(answer, answer)) as wire:
            with pytest.raises(CameraError, match=told) as caught:
                wire.open("operator:secret@")
            assert "secret" not in str(caught.value)
