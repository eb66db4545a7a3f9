"""Names that are no text, as a disk from another system brings them: nothing ends, everything is on record."""

import json
import os
import shutil
import sqlite3
import sys

import pytest

from edge.bundles.history import read_history
from edge.inspection.challenges.records import latest_challenges
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part
from tests.system.command_line import edge, rows

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps names that are no text")

# Latin-1, where UTF-8 is expected
BUNDLE, RECORDS, PARTS = (os.fsdecode(name) for name in (b"b\xfcndel", b"rec\xe9", b"gut\xe9"))
LOCALES = [{}, {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}]


@pytest.fixture
def place(tmp_path, bundle_path):
    """A bundle, four parts and one that cannot be decoded, all with such names."""
    shutil.copytree(bundle_path, tmp_path / BUNDLE)
    (tmp_path / PARTS).mkdir()
    for number in range(4):
        write_picture(tmp_path / "part.png", (bad_part if number == 2 else good_part)(100 + number))
        (tmp_path / "part.png").rename(tmp_path / PARTS / os.fsdecode(b"part\xe4%d.png" % number))
    (tmp_path / PARTS / os.fsdecode(b"part\xe45.png")).write_bytes(b"no picture")
    return tmp_path


def fine(result, code=0):
    assert "Traceback" not in result.stderr, result.stderr
    assert result.returncode == code, (result.returncode, result.stderr)
    return result


@pytest.mark.parametrize("locale", LOCALES, ids=["usual", "ascii"])
def test_every_verdict_is_recorded_told_reported_and_replayed(place, locale):
    run = ("--camera", PARTS, "--bundle", BUNDLE, "--record-dir", RECORDS)
    told = [json.loads(line) for line in fine(edge(*run, "--json", cwd=place, **locale)).stdout.splitlines()]
    assert [one["decision"] for one in told] == ["OK", "OK", "NG", "OK", "INVALID"]
    # what stands there is text, also where the name was none
    assert "part\\udce42.png" in told[2]["source"]
    json.dumps(told, ensure_ascii=False).encode("utf-8")
    assert len(rows(place / RECORDS)) == 5
    with sqlite3.connect(place / RECORDS / "verdicts.sqlite") as database:
        ((config,),) = database.execute("SELECT config FROM runs").fetchall()
    assert json.loads(config)["inspection"]["bundle"] == BUNDLE
    listed = fine(edge("report", "--ng", "--record-dir", RECORDS, cwd=place, **locale))
    assert told[2]["id"] in listed.stdout
    # the bundle is found by what the records say of it
    again = fine(edge("replay", told[2]["id"], "--record-dir", RECORDS, cwd=place, **locale))
    assert again.stdout.splitlines()[-1].startswith("same: ")


def test_a_challenge_and_the_history_keep_such_names(place):
    (place / PARTS / os.fsdecode(b"part\xe45.png")).unlink()
    (place / PARTS / os.fsdecode(b"part\xe42.png")).unlink()
    names = ("--bundle", BUNDLE, "--data", PARTS, "--record-dir", RECORDS)
    assert "Traceback" not in edge("challenge", *names, cwd=place).stderr
    assert latest_challenges(place / RECORDS, 1)[0].source == "gut\\udce9"
    note = os.fsdecode(b"w\xe4rmer")
    fine(edge("threshold", "--bundle", BUNDLE, "--set", 0.9, "--note", note, cwd=place))
    assert read_history(place / BUNDLE)[-1].note == "w\\udce4rmer"
    assert "w\\udce4rmer" in fine(edge("history", "--bundle", BUNDLE, cwd=place)).stdout
    refused = fine(edge("recalibrate", PARTS, "--bundle", BUNDLE, cwd=place), code=2)
    assert "gut\\udce9" in refused.stderr
    assert read_history(place / BUNDLE)[-1].refused


def test_a_gate_writes_its_page_about_and_under_such_names(place):
    (place / PARTS / os.fsdecode(b"part\xe45.png")).unlink()
    page = os.fsdecode(b"seite\xe9.html")
    gate = ("gate", "--bundle", BUNDLE, "--data", PARTS, "--ng", PARTS, "--page", page)
    assert "Traceback" not in edge(*gate, cwd=place).stderr
    assert (place / page).read_text(encoding="utf-8").startswith("<!")


def test_a_network_is_trained_into_a_folder_of_such_a_name(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed: nothing can be trained")
    (tmp_path / PARTS).mkdir()
    for number in range(16):
        write_picture(tmp_path / "part.png", good_part(300 + number))
        (tmp_path / "part.png").rename(tmp_path / PARTS / os.fsdecode(b"part\xe4%02d.png" % number))
    run = os.fsdecode(b"lauf\xe9")
    smoke = ("--method", "kist", "--variant", "smoke", "--steps", 4)
    fine(edge("fit", "--data", PARTS, "--run-dir", run, *smoke, cwd=tmp_path))
    fine(edge("export", "--run-dir", run, "--out", "plate", cwd=tmp_path))
    assert (tmp_path / run / "sheet.png").is_file()
