"""Small real things for tests: pictures, a backend, sources, sinks and an MJPEG camera on loopback."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path

import cv2
import numpy as np

from edge.core.datatypes import U8, AnomalyMap, Fault, Frame, Verdict
from edge.core.latency import StageClock
from edge.inspection.inspector import Inspector
from edge.preprocessing.preprocess import Preprocess

WAIT_S = 10.0


def picture(seed: int, height: int = 60, width: int = 80) -> U8:
    """A smooth random picture, neither black nor saturated; another for every seed."""
    coarse = np.random.default_rng(seed).integers(40, 200, (6, 8, 3), dtype=np.uint8)
    return np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)


def circuit(seed: int, height: int = 192, width: int = 224, dark: int = 10, bright: int = 245) -> U8:
    """Traces that lie differently on every board, uint8 (h, w, 3)."""
    random = np.random.default_rng(seed)
    picture = np.full((height, width), bright, np.uint8)
    for _ in range(9):
        a, b = (tuple(int(v) for v in random.integers(0, (width, height))) for _ in range(2))
        cv2.line(picture, a, b, dark, int(random.integers(3, 9)))
        cv2.circle(picture, a, int(random.integers(6, 14)), dark, -1)
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2BGR), np.uint8)


def frame(index: int = 0, image: U8 | None = None, fault: Fault | None = None, age_ms: float = 0.0) -> Frame:
    """A frame grabbed age_ms ago; with `picture(index)` when neither image nor fault is given."""
    if image is None and fault is None:
        image = picture(index)
    grabbed_ns = time.perf_counter_ns() - round(age_ms * 1e6)
    return Frame(index, grabbed_ns, datetime.now(timezone.utc), "fake", image, fault)


def write_picture(path: Path, image: np.ndarray) -> Path:
    assert cv2.imwrite(str(path), image)
    return path


def eventually(condition: Callable[[], bool], timeout_s: float = WAIT_S) -> bool:
    """Poll until the condition holds; False after the time-out."""
    end = time.perf_counter() + timeout_s
    while time.perf_counter() < end:
        if condition():
            return True
        time.sleep(0.002)
    return condition()


class BrightnessBackend:
    """A real, tiny model: the anomaly map is the grey picture, the score its mean, both in 0..1."""

    name = "brightness"
    model_sha256 = "e" * 64

    def __init__(self, slow_s: float = 0.0) -> None:
        self.slow_s = slow_s
        self.scored = 0

    def score(self, image: U8, clock: StageClock) -> AnomalyMap:
        clock.lap("preprocess")
        self.scored += 1
        if self.slow_s:
            time.sleep(self.slow_s)
        values = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32) / 255
        clock.lap("infer")
        return AnomalyMap(values, float(values.mean()), 0)

    def close(self) -> None: ...


class HangingBackend(BrightnessBackend):
    """Does not return from the n-th frame on until `released` is set."""

    def __init__(self, hang_at: int = 0) -> None:
        super().__init__()
        self.hang_at = hang_at
        self.hanging = threading.Event()
        self.released = threading.Event()

    def score(self, image: U8, clock: StageClock) -> AnomalyMap:
        if self.scored == self.hang_at:
            self.hanging.set()
            assert self.released.wait(WAIT_S * 3)
        return super().score(image, clock)


class BrokenBackend(BrightnessBackend):
    """Raises the given error for every frame that `when` picks by its count."""

    def __init__(self, error: Exception, when: Callable[[int], bool] = lambda count: True) -> None:
        super().__init__()
        self.error, self.when = error, when

    def score(self, image: U8, clock: StageClock) -> AnomalyMap:
        if self.when(self.scored):
            self.scored += 1
            raise self.error
        return super().score(image, clock)


def inspector(backend: BrightnessBackend | None = None, threshold: float = 0.9) -> Inspector:
    return Inspector(backend or BrightnessBackend(), Preprocess(32, 32), threshold, threshold, "b" * 64)


class ListSink:
    """Keeps what it is told; `arrived` wakes whoever waits for a number of verdicts."""

    def __init__(self) -> None:
        self.frames: list[Frame] = []
        self.verdicts: list[Verdict] = []
        self._arrived = threading.Condition()

    def write(self, frame: Frame, verdict: Verdict) -> None:
        with self._arrived:
            self.frames.append(frame)
            self.verdicts.append(verdict)
            self._arrived.notify_all()

    def close(self) -> None: ...

    def wait_until(self, condition: Callable[[list[Verdict]], bool], timeout_s: float = WAIT_S) -> bool:
        with self._arrived:
            return self._arrived.wait_for(lambda: condition(self.verdicts), timeout_s)

    @property
    def reasons(self) -> list[str]:
        return [str(verdict.reason) for verdict in self.verdicts]


class RaisingSink(ListSink):
    def write(self, frame: Frame, verdict: Verdict) -> None:
        super().write(frame, verdict)
        raise OSError("disk full")


class ScriptedSource:
    """Plays a script: a Frame is stamped and returned, an exception raised, an Event waited for; then None."""

    def __init__(self, script: Iterable[Frame | Exception | threading.Event], live: bool = True) -> None:
        self.name = "scripted"
        self.live = live
        self.dropped = 0
        self.recorded_fps = None
        self.closed = False
        steps = list(script)
        self._events = [step for step in steps if isinstance(step, threading.Event)]
        self._script: Iterator[Frame | Exception | threading.Event] = iter(steps)

    def read(self) -> Frame | None:
        for step in self._script:
            if isinstance(step, threading.Event):
                step.wait(WAIT_S * 3)
            elif isinstance(step, Exception):
                raise step
            else:
                return replace(step, captured_ns=time.perf_counter_ns())
        return None

    def release(self) -> None:
        """Set every event of the script, as a driver that returns after all."""
        for event in self._events:
            event.set()

    def interrupt(self) -> None: ...

    def close(self) -> None:
        self.closed = True


class ScriptedSupply:
    """A FrameSupply without threads: gives its frames one per `take`, then ends or, with `endless`, stays quiet."""

    def __init__(self, frames: Iterable[Frame | Callable[[], Frame]], live: bool = True, endless: bool = False) -> None:
        self.live = live
        self._endless = endless
        self._frames = list(frames)
        self._next_blank = len(self._frames)
        self._quiet = threading.Event()

    def add(self, given: Frame | Callable[[], Frame]) -> None:
        self._frames.append(given)

    @property
    def ended(self) -> bool:
        return not self._frames and not self._endless

    def take(self, timeout_s: float) -> Frame | None:
        if not self._frames:
            self._quiet.wait(timeout_s)
            return None
        given = self._frames.pop(0)
        return given if isinstance(given, Frame) else given()

    def blank(self, fault: Fault) -> Frame:
        index, self._next_blank = self._next_blank, self._next_blank + 1
        return frame(index, fault=fault)


class MjpegCamera:
    """A network camera: multipart JPEG over HTTP on loopback, with the faults real ones have.

    It can be killed (connections cut, port closed), started again on the same port, frozen (the same picture again and
    again) and silent (connected, but nothing comes).
    """

    def __init__(self, fps: float = 30.0, show: Callable[[int], U8] = picture) -> None:
        self._show = show
        self.frozen = threading.Event()
        self.silent = threading.Event()
        self._fps = fps
        self._down = threading.Event()
        self._server: http.server.ThreadingHTTPServer | None = None
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://operator:hunter2@127.0.0.1:{self.port}/stream.mjpg"

    def start(self) -> None:
        self._down = threading.Event()
        self._server = _Server(("127.0.0.1", self.port), self._handler(self._down))
        self.port = self._server.server_port
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def kill(self) -> None:
        assert self._server is not None
        self._down.set()
        self._server.shutdown()
        self._server.server_close()

    def _handler(self, down: threading.Event) -> type[http.server.BaseHTTPRequestHandler]:
        camera = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
                self.end_headers()
                count = 0
                try:
                    while not down.wait(1 / camera._fps):
                        if camera.silent.is_set():
                            continue
                        count += not camera.frozen.is_set()
                        jpeg = cv2.imencode(".jpg", camera._show(count))[1].tobytes()
                        head = f"--picture\r\nContent-Type: image/jpeg\r\nContent-Length: {len(jpeg)}\r\n\r\n"
                        self.wfile.write(head.encode() + jpeg + b"\r\n")
                except OSError:
                    # the reader went away, as readers do
                    return

            def log_message(self, format: str, *args: object) -> None: ...

        return Handler


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    # the same port again, while connections of the killed camera are still winding down
    allow_reuse_address = True
