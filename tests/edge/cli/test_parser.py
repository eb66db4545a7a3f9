"""The command line: what it knows, what an earlier version knew, and what it loads to answer."""

import subprocess
import sys

import pytest

from edge.cli import main, settings_for
from edge.cli.command_table import COMMANDS, REPLACED_OPTIONS
from edge.cli.parser import parse
from edge.core.errors import ConfigError, UsageError
from tests.paths import ROOT

HEAVY = {"cv2", "numpy", "torch", "onnx", "openvino", "rich"}


def loaded_by(*words):
    """What the program has imported once it has answered."""
    program = (
        "import sys\nfrom edge.cli.parser import parse\n"
        "try:\n    parse(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    result = subprocess.run([sys.executable, "-c", program, *words], cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return set(result.stderr.split())


def test_the_list_of_commands_loads_none_of_them():
    loaded = loaded_by("--help")
    assert not HEAVY & loaded
    assert not [name for name in loaded if name.startswith(tuple(f"edge.cli.{c.module}" for c in COMMANDS.values()))]


def test_the_options_of_a_command_load_nothing_that_opencv_s_environment_must_come_before():
    for name in COMMANDS:
        assert not HEAVY & loaded_by(name, "--help"), name


def test_a_command_loads_no_other_command():
    loaded = loaded_by("history", "--help")
    assert "edge.cli.bundles.history" in loaded and "edge.cli.bundles.rollback" not in loaded


def test_the_options_that_are_gone_are_these():
    assert set(REPLACED_OPTIONS) == {("export", option) for option in ("--check", "--ng", "--json", "--page")}


@pytest.mark.parametrize(("command", "option"), REPLACED_OPTIONS)
def test_an_option_of_an_earlier_version_names_what_replaces_it(command, option, capsys):
    assert main([command, "--bundle", "b", f"{option}=x", "--data", "d"]) == 2
    error = capsys.readouterr().err
    assert f"`{command}` has no {option} any more" in error
    replacement = REPLACED_OPTIONS[command, option]
    assert f"`{replacement}` replaces it" in error
    # and that is understood
    assert parse(replacement.split()[1:]).command == "gate"


def refused(tmp_path, settings, *words):
    (tmp_path / "line.yaml").write_text(settings)
    with pytest.raises(ConfigError) as caught:
        settings_for(parse([*words, "--config", str(tmp_path / "line.yaml")]))
    assert caught.value.exit_code == 2
    return caught.value


def test_an_option_is_held_to_the_rules_of_the_settings_and_named(tmp_path):
    error = refused(tmp_path, "challenge: {require: refuse}\n", "run", "--camera", "0", "--no-record")
    assert error.message == "--no-record: challenge.require needs record.directory: challenges are kept in the records"
    assert error.fix == f"leave --no-record out, or change {tmp_path / 'line.yaml'}"


def test_every_option_that_overrides_a_setting_is_validated(tmp_path, monkeypatch):
    values = {
        "fps": -1.0, "align": "sideways", "backend": "abacus", "precision": "int4",
        "bundle": "~nobody-of-this-name/b", "engines": "~nobody-of-this-name/e", "record_dir": "~nobody-of-this-name/r",
        "watch": "perhaps", "uncalibrated": "perhaps",
    }  # fmt: skip
    options = parse(["run", "--camera", "0"])
    monkeypatch.chdir(tmp_path)
    for name, value in values.items():
        given = type(options)(**{**vars(options), name: value})
        with pytest.raises(ConfigError, match=f"^--{name.replace('_', '-')}: "):
            settings_for(given)


def test_an_error_of_the_file_is_told_as_the_file_s_with_its_line(tmp_path):
    error = refused(tmp_path, "camera:\n  fps: -1\n", "run", "--camera", "0", "--no-record")
    assert "line.yaml, line 2: camera.fps" in error.message


def test_an_option_may_mend_what_the_file_leaves_out(tmp_path):
    (tmp_path / "line.yaml").write_text("challenge: {require: warn}\nrecord: {directory: null}\n")
    words = ["run", "--camera", "0", "--config", str(tmp_path / "line.yaml"), "--record-dir", "here"]
    assert settings_for(parse(words)).record.directory == "here"


def test_a_benchmark_without_records_needs_no_challenge(tmp_path):
    (tmp_path / "line.yaml").write_text("challenge: {require: warn}\n")
    options = parse(["benchmark", "--no-record", "--config", str(tmp_path / "line.yaml")])
    assert options.unrecorded and settings_for(options).record.directory == "records"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["rnu"], "did you mean `run`?"),
        (["run", "--camra", "0"], "did you mean `--camera`?"),
        (["--xxx"], "run --help"),
    ],
)
def test_a_word_that_is_not_known_is_met_with_the_nearest(words, says):
    with pytest.raises(UsageError) as caught:
        parse(words)
    assert says in caught.value.fix


def test_a_field_is_one_side_or_two_of_which_the_width_comes_first():
    train = ["train", "--data", "parts", "--out", "bundle", "--field"]
    assert parse([*train, "320"]).field == 320
    assert parse([*train, "512x256"]).field == (256, 512)
    with pytest.raises(UsageError):
        parse([*train, "512x"])
