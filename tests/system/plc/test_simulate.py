"""`edge-inspect simulate plc` as an engineer calls it, and ten thousand parts with a PLC that makes every mistake."""

import json
import socket

import pytest

from benchmarks.studies.plant.plc_parts import main, wrong
from tests.system.command_line import assert_refused, edge_here, running

pytest.importorskip("pymodbus", reason="the extra `plc` is not installed")


def test_a_line_is_asked_for_parts_and_each_is_told(here, line, bundle_path, port, tmp_path):
    (tmp_path / "config.yaml").write_text(f"trigger: {{mode: plc}}\nplc: {{port: {port}}}\n")
    with running("--camera", line, "--bundle", bundle_path, "--json", cwd=tmp_path) as run:
        result = edge_here(here, "simulate", "plc", "--parts", 5, "--lot", "L7", "--json", "--timeout", 20_000)
        assert result.returncode == 0, result.stderr
        seen = json.loads(result.stdout)
        assert (seen["held"], seen["parts"], seen["passed"], seen["rejected"]) == (True, 5, 4, {"NG": 1})
        assert f"the box answers at 127.0.0.1, port {port}" in result.stderr
        run.wait_for_count(5)
        named = [(each["part_number"], each["lot"], each["decision"]) for each in run.verdicts]
        assert named == [(str(number + 1), "L7", "NG" if number % 3 == 2 else "OK") for number in range(5)]


def test_a_line_without_a_trigger_is_never_ready_and_the_table_says_what_to_do(
    here, camera, bundle_path, port, tmp_path
):
    (tmp_path / "config.yaml").write_text(f"plc: {{port: {port}}}\n")
    with running("--camera", camera.url, "--bundle", bundle_path, cwd=tmp_path):
        result = edge_here(here, "simulate", "plc", "--parts", 2, "--timeout", 300, "--wait", 100)
    assert result.returncode == 1
    assert "the handshake did NOT hold:\n  READY never came (2 of 2 parts)" in result.stdout
    assert "trigger.mode" in result.stdout.partition("what to do:")[2]


def test_a_box_that_is_not_there_is_told_in_one_line(here, port):
    result = edge_here(here, "simulate", "plc", "--port", port, "--wait", 0.3)
    assert result.returncode == 1
    assert result.stderr == f"edge-inspect: 127.0.0.1, port {port}: connection refused; trying again\n"
    assert "the box was never there" in result.stdout


def test_a_server_that_speaks_another_language_is_no_traceback(here):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        result = edge_here(here, "simulate", "plc", "--port", silent.getsockname()[1], "--wait", 0.4)
    assert result.returncode == 1
    assert "no answer within 250 ms" in result.stderr and "Traceback" not in result.stderr


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ([], "neither --port nor plc.port"),
        (["--port", "1502", "--drop", "0.9"], "not between 0 and 0.5"),
        (["--port", "1502", "--ack-delay", "9-2"], "MIN <= MAX"),
        (["--port", "1502", "--lot", "a lot of seventeen"], "at most 16"),
        (["--port", "1502", "--recipe", "70000"], "not between 1 and 65535"),
    ],
)
def test_a_wrong_option_is_refused_with_what_is_right(here, arguments, word):
    assert_refused(edge_here(here, "simulate", "plc", *arguments), 2, word)


def many_parts(folder, *arguments):
    """What the study found."""
    out = folder / "parts.json"
    code = main([*map(str, arguments), "--out", str(out)])
    values = json.loads(out.read_text())
    assert code == int(wrong(values)), values
    return values


def test_a_plc_that_makes_mistakes_gets_no_ok_of_another_part_and_no_part_is_lost_or_doubled(tmp_path, capsys):
    # a seed by which each mistake comes, and those that take a second come once
    slips = ("--drop", 0.015, "--double", 0.05, "--ack-delay", 10, "--seed", 4)
    values = many_parts(tmp_path, "--parts", 200, *slips)
    assert not wrong(values), values
    assert values["passed"] > 20 and values["rejected"]["NG"] > 20
    assert set(values["slips"]) == {
        "trigger left out", "acknowledge left out", "trigger while not ready", "trigger twice while busy",
        "trigger again after the result",
    }  # fmt: skip


@pytest.mark.long
def test_ten_thousand_parts(tmp_path, capsys):
    values = many_parts(tmp_path)
    assert not wrong(values), values
    assert values["parts"] == 10_000
