"""A file that tells the part: what is read, and what is none rather than an old one."""

import json
import os
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from edge.capture.part_file import LARGEST_BYTES, IdentifiedFrames, PartFile, part_in
from edge.core.config import MqttSettings, Settings
from edge.core.datatypes import Fault, Part, Reason
from edge.core.errors import ConfigError
from edge.core.files.atomic_file import write_atomic
from edge.core.files.settings_file import load_settings
from edge.samples import sample_data
from tests.fakes import ScriptedSupply, eventually, frame
from tests.system.command_line import assert_refused, edge_here, verdicts


@pytest.fixture
def watched(tmp_path):
    """(path, part file)"""
    path = tmp_path / "part.txt"
    path.write_text("number: first\n")
    file = PartFile(path, every_s=0.005)
    yield path, file
    file.close()


def now(file):
    return file.part_at(time.perf_counter_ns())


@pytest.mark.parametrize(
    ("data", "part"),
    [
        (b"number: 4711\nlot: L7\n", Part("4711", "L7")),
        (b"\xef\xbb\xbfLot : L7\r\n\r\nNUMBER:  47 11 \r\n", Part("47 11", "L7")),
        (b"4711\n", Part("4711")),
        (b"A:7", Part("A:7")),
        ("Gehäuse\x1b[31m".encode(), Part("Gehäuse [31m")),
        (b"lot: L7", Part("", "L7")),
        (b"number:\nlot:\n", None),
        (b"", None),
        (b" \n\n", None),
    ],
)
def test_a_file_of_a_part_is_read(data, part):
    assert part_in(data) == part


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"\xff\xd8\xff\xe0", "no text in UTF-8"),
        (b"4711\0\0", "zero bytes"),
        (b"4711\n4712\n", "neither `number: …` nor `lot: …`"),
        (b"number: 1\nlto: 2\n", "`lto: 2` is neither"),
        (b"number: 1\nNumber: 2\n", "two lines `number: …`"),
    ],
)
def test_what_is_no_such_file_is_refused_in_words(data, why):
    with pytest.raises(ValueError, match=re.escape(why)):
        part_in(data)


def test_a_replaced_file_tells_the_new_part_and_the_grab_decides_which_it_was(watched):
    path, file = watched
    assert now(file) == Part("first")
    before_ns = time.perf_counter_ns()
    write_atomic(path, b"number: second\nlot: L2\n")
    assert eventually(lambda: now(file) == Part("second", "L2"))
    assert file.part_at(before_ns) == Part("first")
    assert file.part_at(before_ns - 10**12) is None


@pytest.mark.parametrize("spoil", ["binary", "huge", "missing", "folder", "pipe", "empty", "link out"])
def test_a_file_that_cannot_be_used_tells_no_part_instead_of_the_old_one(watched, spoil, tmp_path, caplog):
    path, file = watched
    path.unlink()
    if spoil == "binary":
        path.write_bytes(bytes(range(256)))
    elif spoil == "huge":
        path.write_bytes(b"7" * (LARGEST_BYTES + 1))
    elif spoil == "folder":
        path.mkdir()
    elif spoil == "pipe":
        os.mkfifo(path)
    elif spoil == "empty":
        path.write_bytes(b"")
    elif spoil == "link out":
        path.symlink_to("/etc/hostname")
    assert eventually(lambda: now(file) is None)
    time.sleep(0.05)
    assert now(file) is None
    assert ("tells no part" in caplog.text) == (spoil in ("binary", "huge", "folder", "pipe", "link out"))
    (path.rmdir if spoil == "folder" else lambda: path.unlink(missing_ok=True))()
    write_atomic(path, b"number: good again\n")
    assert eventually(lambda: now(file) == Part("good again"))


def test_a_file_that_could_not_be_read_is_read_once_it_can_though_it_has_not_changed(watched, tmp_path, caplog):
    """As after a chmod: the same inode, size and time."""
    path, file = watched
    outside = tmp_path.parent / f"{tmp_path.name}-outside.txt"
    outside.write_text("number: second\n")
    path.unlink()
    path.symlink_to(outside)
    assert eventually(lambda: "tells no part" in caplog.text)
    assert now(file) is None
    os.link(outside, tmp_path / "inside.txt")
    (tmp_path / "inside.txt").replace(path)
    assert eventually(lambda: now(file) == Part("second"))


def test_a_file_that_is_still_being_written_tells_nothing(watched):
    path, file = watched
    seen = set()
    with path.open("w") as written:
        for _ in range(40):
            written.write("7")
            written.flush()
            # each look finds another file
            time.sleep(0.001)
            seen.add(now(file))
    assert eventually(lambda: now(file) == Part("7" * 40))
    assert seen <= {None, Part("first")}


def test_a_file_that_was_not_looked_at_for_long_is_not_believed(watched, monkeypatch):
    _, file = watched
    file.close()
    assert now(file) == Part("first")
    monkeypatch.setattr("edge.capture.part_file._BELIEVED_S", 0.0)
    assert now(file) is None


def test_frames_say_which_part_they_show():
    supply = IdentifiedFrames(ScriptedSupply([frame(0), frame(1)]), lambda moment_ns: Part("4711"))
    assert [supply.take(0.0).part, supply.take(0.0).part, supply.take(0.0)] == [Part("4711"), Part("4711"), None]
    assert supply.ended and supply.blank(Fault(Reason.NO_FRAME, "gone")).part == Part("4711")


def test_a_part_of_a_triggered_camera_keeps_the_count_of_its_trigger():
    shown = replace(frame(0), part=Part(trigger=7))
    supply = IdentifiedFrames(ScriptedSupply([shown, shown]), lambda moment_ns: Part("4711", "L7"))
    assert supply.take(0.0).part == Part("4711", "L7", trigger=7)
    assert IdentifiedFrames(ScriptedSupply([shown]), lambda moment_ns: None).take(0.0).part == Part(trigger=7)


def test_only_one_may_tell_the_part(tmp_path):
    for text, words in (
        ("part: {file: a}\ntrigger: {mode: plc}\nplc: {port: 1502}\n", "part.file and trigger.mode plc"),
        ("part: {file: a}\nmqtt: {accept_part: true}\nline: {run_directory: run}\n", "part.file and mqtt.accept_part"),
        ("mqtt: {accept_part: true}\n", "line.run_directory"),
    ):
        (tmp_path / "c.yaml").write_text(text)
        with pytest.raises(ConfigError, match=re.escape(words)):
            load_settings(tmp_path / "c.yaml")
    accepting = Settings(line={"run_directory": "run"}, mqtt=MqttSettings(accept_part=True))
    assert accepting.part_file == Path("run/part.txt")
    assert Settings().part_file is None


def test_the_part_of_a_file_is_in_json_records_names_report_and_replay(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pictures").mkdir()
    for kind in sorted((sample_data() / "test").iterdir())[:3]:
        shutil.copy(sorted(kind.iterdir())[0], tmp_path / "pictures" / f"{kind.name}.png")
    (tmp_path / "part").write_text("number: 4711\nlot: L7\n")
    (tmp_path / "config.yaml").write_text("part: {file: part}\nview: {live: off}\n")
    told = verdicts(edge_here(capsys, "--camera", "pictures", "--json").stdout)
    assert {(each["part_number"], each["lot"]) for each in told} == {("4711", "L7")}
    rejected = [each for each in told if each["decision"] == "NG"]
    assert rejected and all(Path(each["picture"]).name.endswith("-NG~4711~L7.png") for each in rejected)
    (tmp_path / "config.yaml").write_text("view: {live: off}\n")
    edge_here(capsys, "--camera", "pictures", "--once")

    def report(*arguments):
        return json.loads(edge_here(capsys, "report", "--json", *arguments).stdout)

    chosen = ((), ("--part", "4711"), ("--lot", "L7"), ("--lot", "L8"))
    assert [report(*given)["verdicts"] for given in chosen] == [3, 2, 2, 0]
    listed = report("--ng", "--part", " 4711\n", "--lot", "L7")
    assert (listed["part_number"], listed["lot"]) == ("4711", "L7")
    assert {(each["part_number"], each["lot"]) for each in listed["ng"]} == {("4711", "L7")}
    shown = edge_here(capsys, "report", "--ng", "--lot", "L7").stdout
    assert f"{len(told)} verdicts   lot L7" in shown and ", part 4711, lot L7  " in shown

    replayed = edge_here(capsys, "replay", "--part", "4711", "--lot", "L7")
    assert replayed.returncode == 0
    assert f"{len(rejected)} same" in replayed.stdout and "part 4711, lot L7" in replayed.stdout
    answers = json.loads(edge_here(capsys, "replay", "--lot", "L7", "--json").stdout)
    assert [each["id"] for each in answers] == [each["id"] for each in told]
    assert_refused(edge_here(capsys, "replay", "--part", "nobody's"), 2, "no verdict of part nobody's is on record")
    assert_refused(edge_here(capsys, "replay"), 2, "either a VERDICT, or --part")
    assert_refused(edge_here(capsys, "replay", told[0]["id"], "--lot", "L7"), 2, "either a VERDICT, or --part")
