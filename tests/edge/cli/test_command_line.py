"""A command that works beside an inspection on the same cores steps back; one that inspects does not."""

from types import SimpleNamespace

import pytest

from edge.cli import main
from edge.cli.standard_streams import StandardStreams


@pytest.fixture(autouse=True)
def the_process_stays_pytests(monkeypatch):
    monkeypatch.setattr("edge.cli.ProcessEnd", SimpleNamespace)
    monkeypatch.setattr("edge.cli.take_streams", lambda: StandardStreams(False, SimpleNamespace()))


@pytest.mark.parametrize(("command", "steps"), [("history", [10]), ("challenge", [])])
def test_commands_beside_the_line_step_back(command, steps, monkeypatch, tmp_path):
    stepped = []
    monkeypatch.setattr("os.nice", stepped.append)
    monkeypatch.setattr("sys.argv", ["edge-inspect", command, "--bundle", str(tmp_path)])
    assert main() == 4
    assert stepped == steps


def test_a_caller_of_main_keeps_its_priority(monkeypatch, tmp_path):
    monkeypatch.setattr("os.nice", lambda steps: pytest.fail("the priority is the caller's"))
    assert main(["history", "--bundle", str(tmp_path)]) == 4
