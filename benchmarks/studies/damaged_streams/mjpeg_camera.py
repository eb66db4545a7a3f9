"""An MJPEG camera over HTTP whose pictures break, stall, flood and change their size; it writes down what it sends.

    python -m benchmarks.studies.damaged_streams.mjpeg_camera PARTS.npy TRUTH.jsonl SEED SHARE DAMAGES

Prints its port. SHARE of the pictures are damaged; DAMAGES: transport or bytes. Each connection has a seed of its own.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2

from benchmarks.studies.damaged_streams.disturbances import BYTE_DAMAGES, TRANSPORT_DAMAGES, damaged, episodes
from benchmarks.studies.damaged_streams.scene import Label, Picture, draw, load_parts

QUALITY = 90
FPS = 15
FLOOD_FPS = 200
PICTURES_PER_PART = 4


def jpeg(picture: Picture) -> bytes:
    """The bytes that this camera sends of an undamaged picture."""
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])[1].tobytes())


class Camera(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, parts: Picture, truth: Path, seed: int, share: float, damages: Sequence[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.parts, self.share, self.seed, self.damages = parts, share, seed, damages
        self.truth = truth.open("a", buffering=1, encoding="utf-8")
        self.number = 0
        self.connections = 0


class _Connection(BaseHTTPRequestHandler):
    server: Camera

    def do_GET(self) -> None:
        camera = self.server
        camera.connections += 1
        rng = random.Random(f"{camera.seed} {camera.connections}")
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=picture")
        self.end_headers()
        announced = rng.random() < 0.7
        try:
            for episode in episodes(rng):
                if episode.kind == "hang_up":
                    return
                ends = time.monotonic() + episode.seconds
                if episode.kind == "stall":
                    time.sleep(episode.seconds)
                while time.monotonic() < ends:
                    started = time.monotonic()
                    self._send(rng, announced)
                    period = 1 / (FLOOD_FPS if episode.kind == "flood" else FPS)
                    time.sleep(max(0.0, period - (time.monotonic() - started)))
        except OSError:
            # the reader went away, or was too slow for too long
            return

    def _send(self, rng: random.Random, announced: bool) -> None:
        camera = self.server
        camera.number = number = camera.number % ((1 << 20) - 1) + 1
        part = number // PICTURES_PER_PART % len(camera.parts)
        label = Label(number, part, round(time.monotonic() * 1000) % (1 << 32))
        kind = rng.choice(camera.damages) if rng.random() < camera.share else "whole"
        body = jpeg(draw(camera.parts, label, shrunk=kind == "other_size"))
        length = len(body)
        if kind not in ("whole", "other_size"):
            body = damaged(rng, body, kind)
            # a sender that breaks off has mostly announced the whole
            length = length if rng.random() < 0.5 else len(body)
        head = b"--picture\r\nContent-Type: image/jpeg\r\n"
        head += b"Content-Length: %d\r\n\r\n" % length if announced else b"\r\n"
        note = {
            "number": number,
            "part": part,
            "kind": kind,
            "connection": camera.connections,
            "began": time.monotonic(),
        }
        try:
            self.wfile.write(head + body + b"\r\n")
            note["sent"] = time.monotonic()
        finally:
            camera.truth.write(json.dumps(note) + "\n")

    def log_message(self, format: str, *arguments: object) -> None: ...


def main() -> None:
    parts, truth, seed, share, damages = sys.argv[1:]
    kinds = BYTE_DAMAGES if damages == "bytes" else TRANSPORT_DAMAGES
    camera = Camera(load_parts(Path(parts)), Path(truth), int(seed), float(share), kinds)
    print(camera.server_port, flush=True)
    camera.serve_forever()


if __name__ == "__main__":
    main()
