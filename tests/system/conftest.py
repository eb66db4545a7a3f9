import socket

import pytest

from tests.fakes import MjpegCamera, write_picture
from tests.small_bundle import bad_part, good_part


@pytest.fixture
def here(capsys, monkeypatch, tmp_path):
    """What `edge_here` needs: the output, and a working directory that holds nothing yet."""
    monkeypatch.chdir(tmp_path)
    return capsys


@pytest.fixture
def camera():
    camera = MjpegCamera()
    yield camera
    camera.kill()


@pytest.fixture
def parts_camera():
    """Its pictures are different good parts."""
    camera = MjpegCamera(show=lambda count: good_part(count % 8))
    yield camera
    camera.kill()


@pytest.fixture
def port():
    """One that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


def parts_in(folder, count, digits, first=0):
    """A folder of parts; every third has a scratch."""
    folder.mkdir()
    for number in range(count):
        part = bad_part if number % 3 == 2 else good_part
        write_picture(folder / f"part{number:0{digits}d}.png", part(first + number))
    return folder


@pytest.fixture
def line(tmp_path):
    """A folder of six parts; the third and the sixth have a scratch."""
    return parts_in(tmp_path / "line", 6, digits=1, first=100)


@pytest.fixture
def moving_line(tmp_path):
    """Parts for a paced source, so that the run goes on until it is stopped; the last has a scratch."""
    return parts_in(tmp_path / "parts", 300, digits=3)
