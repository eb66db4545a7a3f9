"""`python -m benchmarks.studies.teach`: what it refuses is told as `teach` tells it."""

import pytest

pytest.importorskip("resource", reason="no processor times of children on this system")
pytest.importorskip("torch", reason="torch is not installed: nothing can be taught")

from benchmarks.studies.teach import main
from tests.fakes import write_picture
from tests.small_bundle import good_part


@pytest.fixture
def parts(tmp_path):
    for seed in range(5):
        write_picture(tmp_path / f"{seed}.png", good_part(seed))
    return tmp_path


def test_fewer_pictures_than_asked_for_are_told(parts, capsys):
    assert main(["--data", str(parts)]) == 2
    assert "holds 5 pictures" in capsys.readouterr().err


def test_a_refusal_of_teach_is_passed_on_with_its_reason(parts, capsys):
    assert main(["--data", str(parts), "--count", "5"]) == 2
    told = capsys.readouterr().err
    assert "ended with 2" in told and "5 samples of good parts, at least 16 are needed" in told
