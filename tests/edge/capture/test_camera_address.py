"""The address of a network camera: nothing unclear reaches the network, and no password the list of processes."""

import logging
import socket
import sqlite3

import pytest

from edge.capture.camera_address import PASSWORD_VARIABLE, address_to_open
from edge.capture.sources import open_source
from edge.core.config import CameraSettings
from edge.core.errors import CameraError, ConfigError
from tests.fakes import picture, write_picture
from tests.system.command_line import edge_here


@pytest.fixture
def line(tmp_path):
    (tmp_path / "line").mkdir()
    write_picture(tmp_path / "line" / "part.png", picture(1))
    return tmp_path / "line"


@pytest.fixture
def no_network(monkeypatch):
    """Every look-up and connection of this process fails the test."""

    def refused(*arguments, **more):
        raise AssertionError(f"the network was used: {arguments}")

    monkeypatch.setattr(socket, "getaddrinfo", refused)
    monkeypatch.setattr(socket, "create_connection", refused)


def test_an_address_whose_password_has_no_clear_end_is_refused_before_the_network(no_network, subtests):
    for address in [
        "rtsp://admin:pa/s3cret@10.0.0.9/1",
        "rtsp://admin:pa#s3cret@10.0.0.9/1",
        "rtsp://admin:pa?s3cret@10.0.0.9/1",
        "rtsp://admin:p@s3cret/x@10.0.0.9/1",
        "http://admin:pa/s3cret@10.0.0.9/video",
        "http://10.0.0.9/video?pwd=p@s3cret",
        "http://10.0.0.9/video?pwd=p#s3cret",
        "http://10.0.0.9/video?pwd=p s3cret",
        "rtspsrc location=rtsp://admin:pa/s3cret@10.0.0.9/1 ! decodebin ! appsink",
    ]:
        with subtests.test(address=address):
            with pytest.raises(CameraError) as caught:
                open_source(address, CameraSettings())
            for advice in ("%40", "%2F", "%23", "%3F"):
                assert advice in caught.value.fix
            assert "s3cret" not in str(caught.value)


def test_an_address_without_its_host_is_refused_and_shows_no_password(no_network):
    with pytest.raises(CameraError, match="not a port") as caught:
        open_source("rtsp://admin:s3cret/stream", CameraSettings())
    assert "s3cret" not in str(caught.value)


def test_what_needs_no_password_stays_as_it_is(tmp_path):
    for spec in ["parts/a@b.png", "file:///a/b@c", "0", "/dev/video0", "demo", "rtsp://10.0.0.9/1"]:
        assert address_to_open(spec, CameraSettings()) == spec, spec


def test_the_password_of_the_file_is_put_in_with_its_signs_encoded(tmp_path):
    (tmp_path / "password").write_text("p@ss/w#r d?%:\n")
    (tmp_path / "password").chmod(0o640)
    settings = CameraSettings(password_file=str(tmp_path / "password"))
    opened = address_to_open("rtsp://admin@10.0.0.9:554/1?channel=1", settings)
    assert opened == "rtsp://admin:p%40ss%2Fw%23r%20d%3F%25%3A@10.0.0.9:554/1?channel=1"


def test_the_environment_comes_before_the_file_and_an_address_with_a_password_before_both(tmp_path, monkeypatch):
    monkeypatch.setenv(PASSWORD_VARIABLE, "from outside")
    settings = CameraSettings(password_file=str(tmp_path / "not there"))
    assert address_to_open("rtsp://admin@10.0.0.9/1", settings) == "rtsp://admin:from%20outside@10.0.0.9/1"
    assert address_to_open("rtsp://admin:own@10.0.0.9/1", settings) == "rtsp://admin:own@10.0.0.9/1"


def test_a_password_for_an_address_without_a_user_is_not_used_and_that_is_said(monkeypatch, caplog):
    monkeypatch.setenv(PASSWORD_VARIABLE, "s3cret")
    assert address_to_open("rtsp://10.0.0.9/1", CameraSettings()) == "rtsp://10.0.0.9/1"
    assert "names no user" in caplog.text


def test_a_password_file_that_everybody_can_read_is_told(tmp_path, caplog):
    (tmp_path / "password").write_text("s3cret")
    (tmp_path / "password").chmod(0o644)
    with caplog.at_level(logging.WARNING):
        address_to_open("rtsp://admin@10.0.0.9/1", CameraSettings(password_file=str(tmp_path / "password")))
    assert "every user can read it (mode 0644)" in caplog.text
    assert "s3cret" not in caplog.text


def test_a_useless_password_file_is_refused_by_its_name(tmp_path, subtests):
    for content in [None, b"", b"\n", b"one\ntwo\n", b"\xff\xfe", b"x" * 5000]:
        with subtests.test(content=content):
            if content is not None:
                (tmp_path / "password").write_bytes(content)
            with pytest.raises(ConfigError, match="password"):
                address_to_open("rtsp://admin@10.0.0.9/1", CameraSettings(password_file=str(tmp_path / "password")))


def test_the_camera_of_the_settings_is_inspected_and_its_secret_is_not_shown(
    tmp_path, monkeypatch, capsys, caplog, line
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text(f"camera: {{source: '{line}'}}\n")
    assert edge_here(capsys, "--no-record", "--once").returncode == 0
    (tmp_path / "config.yaml").write_text("camera: {source: 'rtsp://admin:s3cret@127.0.0.1:9/1'}\n")
    (tmp_path / "config.yaml").chmod(0o644)
    refused = edge_here(capsys, "run")
    assert refused.returncode == 3
    assert "config.yaml may hold a password, and every user can read it" in caplog.text
    assert "127.0.0.1:9" in refused.stderr and "s3cret" not in refused.stderr


def test_settings_on_record_hold_no_secret(tmp_path, monkeypatch, capsys, line):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "config.yaml").write_text("camera: {source: 'rtsp://admin:s3cret@127.0.0.1:9/1'}\n")
    assert edge_here(capsys, "--camera", line, "--once").returncode == 0
    with sqlite3.connect(tmp_path / "records" / "verdicts.sqlite") as database:
        kept = str(database.execute("SELECT * FROM runs").fetchall())
    assert "rtsp://***@127.0.0.1:9/1" in kept and "s3cret" not in kept


def test_no_camera_at_all_says_where_one_can_be_named(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for command in ("run", "teach --product x"):
        refused = edge_here(capsys, *command.split())
        assert refused.returncode == 2
        assert "neither --camera nor camera.source" in refused.stderr
        # the advice itself is not taken for a secret
        assert "rtsp://USER@HOST/PATH" in refused.stderr


def test_old_records_are_shown_without_the_secrets_that_they_hold(tmp_path, monkeypatch, capsys, line):
    monkeypatch.chdir(tmp_path)
    assert edge_here(capsys, "--camera", line, "--once").returncode == 0
    with sqlite3.connect(tmp_path / "records" / "verdicts.sqlite") as database:
        database.execute("UPDATE runs SET source = 'http://10.0.0.9/v?loginpas=s3cret&rate=5'")
    shown = edge_here(capsys, "report")
    assert "s3cret" not in shown.stdout and "http://10.0.0.9/v?loginpas=***&rate=5" in shown.stdout
    one = edge_here(capsys, "report", "--source", "http://10.0.0.9/v?loginpas=s3cret&rate=5")
    assert one.returncode == 0
    assert "s3cret" not in edge_here(capsys, "report", "--source", "http://10.0.0.9/w?pwd=s3cret").stderr
