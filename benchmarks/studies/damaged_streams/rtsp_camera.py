"""An H.264 camera over RTSP (GStreamer's own server) whose pictures break, stall, flood and change their size.

Run by a Python that has GStreamer's bindings (Debian: python3-gi, gir1.2-gst-rtsp-server-1.0, python3-numpy and the
plugins base, good and ugly), from the repository's root:

    /usr/bin/python3 -m benchmarks.studies.damaged_streams.rtsp_camera PARTS.npy TRUTH.jsonl SEED SHARE DAMAGES

Prints its port. SHARE of the pictures are damaged; DAMAGES: transport (RTP packets get lost, one by one or all of a
picture) or bytes (the compressed picture is changed before it is packed).
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import gi

gi.require_version("Gst", "1.0")
gi.require_version("GstRtspServer", "1.0")
from gi.repository import GLib, Gst, GstRtspServer  # noqa: E402

from benchmarks.studies.damaged_streams.disturbances import damaged, episodes  # noqa: E402
from benchmarks.studies.damaged_streams.scene import Label, draw, load_parts  # noqa: E402

TRANSPORT_DAMAGES = {"lost": 1.0, "lost_packets": 0.3}
BYTE_DAMAGES = ("zeroed", "cut", "garbled", "shortened")
FPS = 15
KEY_FRAME_EVERY = 15
FLOOD_FPS = 100
PICTURES_PER_PART = 4
SMALL_SHARE = 0.1
PACKED = (
    "( appsrc name=pictures is-live=true format=time do-timestamp=true "
    "caps=video/x-h264,stream-format=byte-stream,alignment=au ! rtph264pay pt=96 config-interval=-1 "
    "! identity name=pay0 )"
)


class Encoder:
    """x264 with one picture in, one out."""

    def __init__(self, height: int, width: int) -> None:
        self._pipeline = Gst.parse_launch(
            f"appsrc name=raw format=time caps=video/x-raw,format=BGR,width={width},height={height},framerate=15/1 "
            f"! videoconvert ! video/x-raw,format=I420 ! x264enc tune=zerolatency pass=quant quantizer=15 "
            f"key-int-max={KEY_FRAME_EVERY} ! video/x-h264,stream-format=byte-stream,alignment=au,profile=high "
            "! appsink name=coded sync=false"
        )
        self._raw = self._pipeline.get_by_name("raw")
        self._coded = self._pipeline.get_by_name("coded")
        self._pipeline.set_state(Gst.State.PLAYING)
        self._count = 0

    def encode(self, picture: Any) -> bytes:
        buffer = Gst.Buffer.new_wrapped(picture.tobytes())
        buffer.pts, buffer.duration = self._count * Gst.SECOND // 15, Gst.SECOND // 15
        self._count += 1
        self._raw.emit("push-buffer", buffer)
        coded = self._coded.emit("pull-sample").get_buffer()
        return bytes(coded.extract_dup(0, coded.get_size()))

    def close(self) -> None:
        self._pipeline.set_state(Gst.State.NULL)


class Camera:
    """Pictures for one client after the other, from a thread for each."""

    def __init__(self, parts: Any, truth: Path, seed: int, share: float, damages: Sequence[str]) -> None:
        self._parts, self._share, self._seed, self._damages = parts, share, seed, damages
        self._truth = truth.open("a", buffering=1, encoding="utf-8")
        self._number = self._clients = 0

    def serve(self, factory: Any, media: Any) -> None:
        self._clients += 1
        pictures = media.get_element().get_by_name("pictures")
        packets = media.get_element().get_by_name("pay0")
        rng = random.Random(f"{self._seed} {self._clients}")
        gone = threading.Event()
        media.connect("unprepared", lambda *_: gone.set())
        threading.Thread(target=self._show, args=(pictures, packets, rng, gone), daemon=True).start()

    def _show(self, pictures: Any, packets: Any, rng: random.Random, gone: threading.Event) -> None:
        encoder, small = None, None
        for episode in episodes(rng):
            if gone.is_set():
                break
            if episode.kind == "hang_up":
                pictures.emit("end-of-stream")
                break
            if episode.kind == "stall":
                gone.wait(episode.seconds)
                continue
            wants_small = rng.random() < SMALL_SHARE
            if encoder is None or small != wants_small:
                if encoder is not None:
                    encoder.close()
                small = wants_small
                encoder = Encoder(*draw(self._parts, Label(0, 0, 0), shrunk=small).shape[:2])
            ends = time.monotonic() + episode.seconds
            while time.monotonic() < ends and not gone.is_set():
                started = time.monotonic()
                if not self._push(pictures, packets, rng, encoder, small):
                    return
                period = 1 / (FLOOD_FPS if episode.kind == "flood" else FPS)
                time.sleep(max(0.0, period - (time.monotonic() - started)))

    def _push(self, pictures: Any, packets: Any, rng: random.Random, encoder: Encoder, small: bool) -> bool:
        self._number = number = self._number % ((1 << 20) - 1) + 1
        part = number // PICTURES_PER_PART % len(self._parts)
        label = Label(number, part, round(time.monotonic() * 1000) % (1 << 32))
        coded = encoder.encode(draw(self._parts, label, shrunk=small))
        kind = rng.choice(self._damages) if rng.random() < self._share else "whole"
        note = {"number": number, "part": part, "kind": "other_size" if small and kind == "whole" else kind}
        note |= {"connection": self._clients, "began": time.monotonic()}
        lost = TRANSPORT_DAMAGES.get(kind, 0.0)
        packets.set_property("drop-probability", lost)
        if kind != "whole" and not lost:
            coded = damaged(rng, coded, kind)
        answer = pictures.emit("push-buffer", Gst.Buffer.new_wrapped(coded))
        if lost:
            # until all of its packets are through
            time.sleep(0.02)
        note["sent"] = time.monotonic()
        self._truth.write(json.dumps(note) + "\n")
        return bool(answer == Gst.FlowReturn.OK)


def main() -> None:
    parts, truth, seed, share, damages = sys.argv[1:]
    Gst.init(None)
    kinds = BYTE_DAMAGES if damages == "bytes" else tuple(TRANSPORT_DAMAGES)
    camera = Camera(load_parts(Path(parts)), Path(truth), int(seed), float(share), kinds)
    server = GstRtspServer.RTSPServer.new()
    server.set_address("127.0.0.1")
    server.set_service("0")
    factory = GstRtspServer.RTSPMediaFactory.new()
    factory.set_launch(PACKED)
    factory.set_shared(False)
    factory.connect("media-configure", camera.serve)
    server.get_mount_points().add_factory("/line", factory)
    server.attach(None)
    print(server.get_bound_port(), flush=True)
    GLib.MainLoop().run()


if __name__ == "__main__":
    main()
