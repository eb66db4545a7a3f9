"""Which reader an address gets: MJPEG over HTTP is read by ourselves, everything else through FFmpeg."""

from __future__ import annotations

import socket
from urllib.parse import urlsplit

import av

from edge.capture.streams.http_stream import open_http
from edge.capture.streams.mjpeg_stream import MjpegStream
from edge.capture.streams.multipart import boundary_of
from edge.capture.streams.proxy import with_proxy_advice
from edge.capture.streams.video_decoder import VideoDecoder
from edge.capture.streams.video_stream import OPTIONS, VideoStream
from edge.core.config import CameraSettings
from edge.core.errors import CameraError
from edge.core.redact import redact

PROBE_TIMEOUT_S = 1.0
DEFAULT_PORTS = {"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}
# an address must not lead to files of this machine, as FFmpeg's playlists can
PROTOCOLS = "http,https,tcp,tls,udp,rtp,rtsp,rtsps,srtp,srt,rtmp,rtmps,crypto,httpproxy"


def open_stream(url: str, settings: CameraSettings) -> MjpegStream | VideoStream:
    """Open an RTSP, HTTP or other network stream; raises CameraError without the address's credentials."""
    name = redact(url)
    if urlsplit(url).scheme in ("http", "https"):
        stream = open_http(url, settings)
        boundary = boundary_of(stream.content_type)
        if boundary is not None:
            return MjpegStream(stream, boundary, name, settings)
        stream.close()
        if stream.content_type.startswith("image/"):
            raise CameraError(
                f"{name}: the address gives one picture ({stream.content_type}), not a stream",
                fix="look up the address of the camera's MJPEG or RTSP stream in its manual",
            )
    timeouts = settings.open_timeout_ms / 1000, settings.lost_after_ms / 1000
    fix = with_proxy_advice("check address, user and password, and try the same address in a player such as VLC", url)
    try:
        container = av.open(url, timeout=timeouts, options={**OPTIONS, "protocol_whitelist": PROTOCOLS})
    except (av.FFmpegError, ValueError) as error:
        raise CameraError(f"{name}: no video within {settings.open_timeout_ms} ms: {_answer(url)}", fix=fix) from error
    if not container.streams.video:
        container.close()
        raise CameraError(f"{name}: there is no video in this stream", fix=fix)
    return VideoStream(VideoDecoder(container, settings), name, settings)


def _answer(url: str) -> str:
    """What the host behind an address does, in words; FFmpeg's own are often misleading."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or DEFAULT_PORTS.get(parts.scheme)
    except ValueError:
        return "the address is malformed"
    if not host or not port:
        return "the address names no host and port that could be asked"
    try:
        with socket.create_connection((host, port), timeout=PROBE_TIMEOUT_S):
            return f"{host}:{port} answers, but not with a video this user may see"
    except OSError as error:
        return f"{host}:{port} does not answer ({error.strerror or error})"
