"""A proxy for the web is none for a camera of the local network."""

import os

import pytest

from edge.capture.sources import open_source
from edge.capture.streams.proxy import bypass_proxy, proxy_advice
from edge.core.config import CameraSettings
from edge.core.errors import CameraError
from tests.fakes import MjpegCamera

# nobody listens there
NO_PROXY_THERE = "http://user:s3cret@127.0.0.1:9"


@pytest.fixture(autouse=True)
def clean(monkeypatch):
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    # what the code sets is taken back with the rest
    monkeypatch.setenv("no_proxy", "")


def test_a_local_camera_is_asked_without_the_proxy(monkeypatch):
    monkeypatch.setenv("http_proxy", NO_PROXY_THERE)
    for host in ["127.0.0.1", "10.1.2.3", "172.16.0.9", "192.168.0.64", "169.254.3.4", "[::1]", "camera7", "cam.local"]:
        monkeypatch.setenv("no_proxy", "")
        bypass_proxy(f"http://user@{host}:8080/video")
        assert os.environ["no_proxy"] == host.strip("[]"), host


def test_a_camera_elsewhere_keeps_the_proxy(monkeypatch):
    monkeypatch.setenv("http_proxy", NO_PROXY_THERE)
    for host in ["8.8.8.8", "camera.example.com"]:
        bypass_proxy(f"http://{host}/video")
        assert os.environ["no_proxy"] == "", host


def test_what_the_user_excluded_stays_excluded_and_nothing_is_added_twice(monkeypatch):
    monkeypatch.delenv("no_proxy")
    monkeypatch.setenv("NO_PROXY", "example.com")
    monkeypatch.setenv("HTTPS_PROXY", NO_PROXY_THERE)
    for _ in range(2):
        bypass_proxy("http://10.0.0.9/video")
    assert os.environ["no_proxy"] == "example.com,10.0.0.9"


def test_without_a_proxy_nothing_is_set_and_nothing_said():
    bypass_proxy("http://10.0.0.9/video")
    assert os.environ["no_proxy"] == ""
    assert proxy_advice("http://10.0.0.9/video") == ""


def test_a_camera_is_seen_where_the_proxy_is_out_of_reach(monkeypatch):
    monkeypatch.setenv("http_proxy", NO_PROXY_THERE)
    camera = MjpegCamera()
    try:
        source = open_source(camera.url, CameraSettings())
        assert source.read().image is not None
        source.close()
    finally:
        camera.kill()


def test_a_camera_that_does_not_answer_names_the_proxy_without_its_password(monkeypatch):
    monkeypatch.setenv("http_proxy", NO_PROXY_THERE)
    with pytest.raises(CameraError) as caught:
        open_source("http://127.0.0.1:9/x", CameraSettings(open_timeout_ms=500))
    assert "http_proxy=http://***@127.0.0.1:9" in str(caught.value)
    assert "s3cret" not in str(caught.value)
    assert "set no_proxy=camera.example.com" in proxy_advice("rtsp://camera.example.com/1")
