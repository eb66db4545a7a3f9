import pytest

from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part


@pytest.fixture
def here(capsys, monkeypatch, tmp_path):
    """What `edge_here` needs: the output, and a working directory that holds nothing yet."""
    monkeypatch.chdir(tmp_path)
    return capsys


@pytest.fixture
def line(tmp_path):
    """A folder of six parts; the third and the sixth have a scratch."""
    folder = tmp_path / "line"
    folder.mkdir()
    for number in range(6):
        part = bad_part if number % 3 == 2 else good_part
        write_picture(folder / f"part{number}.png", part(100 + number))
    return folder
