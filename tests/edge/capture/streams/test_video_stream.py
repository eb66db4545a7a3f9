"""Live video: pictures of now, whatever was read while joining and whatever waits when nobody looked."""

import http.server
import threading

import pytest

from edge.capture.sources import open_source
from edge.capture.streams import video_stream
from edge.capture.streams.video_stream import VideoStream
from edge.core.config import CameraSettings
from edge.core.datatypes import Frame, Reason
from edge.core.errors import CameraError
from tests.edge.capture.streams import videos
from tests.fakes import picture

SETTINGS = CameraSettings(open_timeout_ms=5000, read_timeout_ms=5000)
MS = 1_000_000


class Picture:
    """A DecodedPicture taken at stream_ms and read at read_ms, after the reader had waited for it or not."""

    def __init__(self, number, read_ms, stream_ms, waited):
        self.number = number
        self.came_ns = read_ms * MS
        self.began_ns = self.came_ns - (40 * MS if waited else 3 * MS)
        self.stream_ns = stream_ms * MS

    def frame(self, index, captured_ns, utc, name):
        return Frame(index, captured_ns, utc, name, picture(self.number))


class Decoder:
    """Gives pictures as (read_ms, stream_ms, waited), and moves the clock on with them."""

    def __init__(self, clock, moments):
        self._clock, self._moments = clock, list(enumerate(moments))
        self.skipped = 0
        self.asked_to_skip = 0
        self.closed = False

    def read(self):
        if not self._moments:
            return None
        number, (read_ms, stream_ms, waited) = self._moments.pop(0)
        self._clock.now_ns = read_ms * MS
        return Picture(number, read_ms, stream_ms, waited)

    def skip_to_key_frame(self):
        self.asked_to_skip += 1

    def close(self):
        self.closed = True


class Clock:
    now_ns = 0

    def perf_counter_ns(self):
        return self.now_ns


@pytest.fixture
def stream(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(video_stream, "time", clock)

    def make(*moments):
        decoder = Decoder(clock, moments)
        return VideoStream(decoder, "cam", SETTINGS), decoder

    return make


STEADY = tuple((50 * count, 50 * count, True) for count in range(-80, 60))
# nobody looked for three seconds: what was sent meanwhile lies there
WAITING = tuple((5950 + count, 3000 + 50 * count, False) for count in range(40))


def test_what_was_read_while_joining_is_left_out_and_counted(stream):
    camera, _ = stream(*[(1000, 50 * count, False) for count in range(5)], (1050, 250, True))
    assert (camera.read().image == picture(5)).all() and camera.dropped == 5


def test_a_late_stream_says_so_once_and_then_shows_now(stream):
    camera, decoder = stream(*STEADY, *WAITING, (6000, 6000, True))
    assert all(camera.read().fault is None for _ in STEADY[1:])
    late = camera.read()
    assert late.image is None and late.fault.reason is Reason.STALE
    # but for what clocks may drift apart in that time
    assert late.fault.detail.startswith("the stream is 294") and late.fault.detail.endswith(
        "ms late; what waits is left out"
    )
    assert late.captured_ns == pytest.approx(3000 * MS, abs=10 * MS)
    assert (camera.read().image == picture(180)).all()
    assert camera.dropped == 41 and decoder.asked_to_skip == 0


def test_a_stream_that_does_not_catch_up_by_decoding_is_taken_up_at_its_next_key_frame(stream):
    # each picture takes as long to decode as there is until the next
    slow = tuple((6000 + 50 * count, 3000 + 50 * count, False) for count in range(30))
    camera, decoder = stream(*STEADY, *slow, (7600, 7600, True))
    for _ in STEADY[1:]:
        camera.read()
    assert camera.read().fault.reason is Reason.STALE
    assert (camera.read().image == picture(170)).all()
    assert decoder.asked_to_skip == 1


def test_a_picture_was_taken_as_much_before_its_arrival_as_it_is_late(stream):
    camera, _ = stream(*STEADY, (3200, 3000, True))
    for _ in STEADY[1:]:
        camera.read()
    assert camera.read().captured_ns == pytest.approx(3000 * MS, abs=10 * MS)


def test_the_end_of_a_stream_is_a_lost_camera(stream):
    camera, decoder = stream()
    with pytest.raises(CameraError, match="ended the stream"):
        camera.read()
    camera.close()
    assert decoder.closed


class TransportStream(http.server.BaseHTTPRequestHandler):
    """A camera that sends MPEG-TS over HTTP, at its own pace."""

    content = b""
    done = threading.Event()

    def do_GET(self):
        self.send_response(200)
        self.send_header("Content-Type", "video/mp2t")
        self.end_headers()
        step = 188 * 8
        try:
            for start in range(0, len(self.content), step):
                self.wfile.write(self.content[start : start + step])
                self.done.wait(0.01)
        except OSError:
            return

    def log_message(self, *arguments): ...


def test_video_over_http_that_is_no_mjpeg_is_read_with_its_own_pictures(tmp_path):
    TransportStream.content = videos.write_container(tmp_path / "v.ts", 60).read_bytes()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), TransportStream)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    try:
        camera = open_source(f"http://user:hunter2@127.0.0.1:{server.server_port}/v.ts", SETTINGS)
        assert isinstance(camera, VideoStream) and camera.live and "hunter2" not in camera.name
        frames = []
        with pytest.raises(CameraError, match=r"/v\.ts: "):
            while True:
                frames.append(camera.read())
        camera.close()
    finally:
        TransportStream.done.set()
        server.shutdown()
        server.server_close()
    numbers = [videos.number_in(frame.image) for frame in frames if frame.image is not None]
    assert numbers == sorted(numbers) and numbers[-1] > 50 and len(numbers) > 10
