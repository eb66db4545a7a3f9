"""What the broker's clients may say of the part, and what is refused."""

import json

import pytest

from edge.capture.part_file import part_in
from edge.core.datatypes import Part
from edge.plant.mqtt.commands import PartCommand, part_in_message


@pytest.mark.parametrize(
    ("values", "part"),
    [
        ({"number": "4711", "lot": "L7"}, Part("4711", "L7")),
        ({"number": "4711"}, Part("4711")),
        ({"lot": "Gehäuse 7"}, Part("", "Gehäuse 7")),
        ({"number": ""}, Part()),
    ],
)
def test_a_message_names_the_part_and_the_line_reads_it(tmp_path, values, part):
    payload = json.dumps(values).encode()
    assert part_in_message(payload) == part
    PartCommand(tmp_path / "run")(payload)
    assert part_in((tmp_path / "run" / "part.txt").read_bytes()) == (part if part.words else None)


@pytest.mark.parametrize(
    "payload",
    [
        b"", b"4711", b"null", b"[]", b"{}", b'"4711"', b"\xff", b'{"number": 4711}', b'{"number": null}',
        b'{"number": "1", "lots": "2"}', b'{"number": "1", "number": "2"}', b'{"number": "a\\nlot: b"}',
        b'{"number": " a"}', b'{"number": "\\u0000"}', b'{"number": "\\ud800"}', b'[["number", "1"]]', b"[" * 1000,
        b'{"number": "' + b"7" * 65 + b'"}', b'{"number": "' + b"7" * 10_000 + b'"}',
    ],
)  # fmt: skip
def test_what_is_no_such_message_is_logged_and_the_part_is_not_known_any_more(tmp_path, payload, caplog):
    command = PartCommand(tmp_path)
    command(b'{"number": "before"}')
    command(payload)
    assert not (tmp_path / "part.txt").exists()
    assert "a message on cmd/part was not taken (1 times)" in caplog.text


def test_a_run_directory_that_cannot_be_written_is_logged(tmp_path, caplog):
    (tmp_path / "run").write_text("a file where the folder should be")
    PartCommand(tmp_path / "run")(b'{"number": "1"}')
    assert "was not taken" in caplog.text
