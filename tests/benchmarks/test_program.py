"""Every measuring program has the same command line, messages, exit codes and result file."""

import json

import pytest

from benchmarks.program import SEED, option, program
from edge.core.errors import CameraError


@program(option("--bundle"), SEED, option("--broken", action="store_true"), failed=lambda values: values["seed"] > 7)
def main(options):
    if options.broken:
        raise CameraError("the camera is gone", fix="plug it in")
    return {"seed": options.seed}


def test_the_values_are_shown_and_written_with_the_command_that_gives_them_again(tmp_path, capsys):
    out = tmp_path / "result.json"
    assert main(["--seed", "3", "--bundle", str(tmp_path / "a bundle"), "--out", str(out)]) == 0
    result = json.loads(out.read_text())
    assert result["seed"] == 3 and result["device"]["cores"] > 0
    # no path of this machine gets into a file that others read
    assert result["command"] == f"python -m {__name__} --seed 3 --bundle 'a bundle' --out result.json"
    assert json.loads(capsys.readouterr().out) == {"seed": 3}


def test_without_out_nothing_is_written_and_a_failure_of_the_values_is_exit_code_1(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert (main([]), main(["--seed", "8"])) == (0, 1)
    assert list(tmp_path.iterdir()) == []


def test_an_expected_error_is_one_message_with_its_fix_and_its_exit_code(capsys):
    assert main(["--broken"]) == CameraError.exit_code
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err == f"python -m {__name__}: the camera is gone\n  fix: plug it in\n"


def test_the_help_is_the_docstring_of_the_module(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    assert "Every measuring program has the same command line" in capsys.readouterr().out
