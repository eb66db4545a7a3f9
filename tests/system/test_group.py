"""A group of two cameras, from two folders to the records and back: each camera's picture is judged as if alone."""

import json
import shutil
import sqlite3
from contextlib import closing

import cv2
import pytest

from edge.bundles.bundle import load_bundle
from edge.core.errors import RecordError
from edge.records.group_pictures import cameras_in, cut_outs, own_pictures
from edge.records.schema import DATABASE_NAME
from edge.records.store import RecordStore
from edge.review.labels import Answer
from edge.review.uses import export_defects, export_escapes, good_parts
from tests.bundle_edits import commit_threshold
from tests.edge.review.review_fakes import say
from tests.fakes import write_picture
from tests.small_bundle import bad_part, good_part
from tests.system.command_line import assert_refused, edge_here, verdicts

pytest.importorskip("openvino", reason="openvino is not installed: no network can run")

# of part 3 the right camera has no picture; part 2 has a scratch on the left, part 4 one on the right
SCRATCHED = {"left": 2, "right": 4}
MISSING = 3


@pytest.fixture
def group(tmp_path, bundle_path):
    """config.yaml of a group whose cameras have a bundle each, and the folder parts/ with their pictures."""
    shutil.copytree(bundle_path, tmp_path / "other")
    commit_threshold(load_bundle(tmp_path / "other"), 1.2 * load_bundle(bundle_path).calibration("int8").threshold)
    for side, first, size in (("left", 0, (48, 64)), ("right", 100, (60, 80))):
        (tmp_path / "parts" / side).mkdir(parents=True)
        for number in range(6):
            part = bad_part if number == SCRATCHED[side] else good_part
            if (side, number) != ("right", MISSING):
                write_picture(tmp_path / "parts" / side / f"{number}.png", part(first + number, *size))
    (tmp_path / "config.yaml").write_text(
        "record: {keep_ok_share: 1.0}\ngroup:\n  cameras:\n"
        f"  - {{name: left, source: 'genicam:1', bundle: {bundle_path}}}\n"
        f"  - {{name: right, source: 'genicam:2', bundle: {tmp_path / 'other'}}}\n"
    )
    return tmp_path


@pytest.fixture
def told(group, here):
    """The verdicts of a run over the folders."""
    ran = edge_here(here, "run", "--camera", "parts", "--json")
    assert ran.returncode == 0, ran.stderr
    return verdicts(ran.stdout)


def test_each_camera_is_judged_as_it_would_be_alone(group, told, here):
    assert [each["decision"] for each in told] == ["OK", "OK", "NG", "INVALID", "NG", "OK"]
    assert told[MISSING]["detail"] == "camera right: no picture 3"
    assert [told[2]["detail"][:12], told[4]["detail"][:12]] == ["camera left:", "camera right"]
    for place, name in enumerate(("left", "right")):
        alone = edge_here(here, "run", "--only", name, "--camera", f"parts/{name}", "--json", "--no-record")
        scores = [each["score"] for each in verdicts(alone.stdout)]
        # of a part with a picture of each
        together = [each["cameras"][place]["score"] for number, each in enumerate(told) if number != MISSING]
        assert together == [scores[number] for number in range(len(scores)) if name == "right" or number != MISSING]
        shas = {each["bundle_sha256"] for each in verdicts(alone.stdout)}
        assert {each["cameras"][place]["bundle_sha256"] for each in told} == shas


def test_records_and_publishers_have_what_was_told_of_each_camera(group, told):
    with RecordStore(group / "records") as store:
        for number, each in enumerate(told):
            assert store.verdict(number + 1).verdict().as_json("line")["cameras"] == each["cameras"]


def test_every_verdict_is_repeated_from_its_picture(told, here):
    # a model is loaded for each camera
    for each in told[2:4]:
        again = edge_here(here, "replay", each["id"], "--json")
        assert again.returncode == 0, again.stderr
        assert json.loads(again.stdout)["outcome"] == ("not repeatable" if each["decision"] == "INVALID" else "same")


def test_a_stored_picture_says_whose_picture_stands_where_also_of_a_copy(group, told):
    for number, each in enumerate(told):
        copy = group / "copy.png"
        shutil.copy(each["picture"], copy)
        found = {camera.camera: camera.cut_out(cv2.imread(str(copy))) for camera in cameras_in(copy.read_bytes())}
        assert (found["left"] == cv2.imread(str(group / "parts" / "left" / f"{number}.png"))).all()
        if number == MISSING:
            assert found["right"] is None
        else:
            assert (found["right"] == cv2.imread(str(group / "parts" / "right" / f"{number}.png"))).all()


def test_accepted_pictures_of_a_bundle_are_those_of_its_camera(group, told, bundle_path):
    records = group / "records"
    for bundle, name, first in ((bundle_path, "left", 0), (group / "other", "right", 100)):
        with RecordStore(records) as store:
            found = own_pictures(store, store.accepted_pictures(bundle), bundle, group / name)
        size = (48, 64) if name == "left" else (60, 80)
        assert [path.name.rsplit(".", 2)[1] for path in found] == [name] * 3
        for path, number in zip(found, (0, 1, 5), strict=True):
            assert (cv2.imread(str(path)) == good_part(first + number, *size)).all()
    with RecordStore(records) as store:
        assert store.accepted_pictures(group / "third") == []


def test_a_damaged_picture_is_left_to_who_reads_it_and_is_never_exported(group, told, bundle_path):
    say(group / "records", 3, Answer.DEFECT)
    (group / "data").mkdir()
    with RecordStore(group / "records") as store:
        accepted = store.accepted_pictures(bundle_path)
        for path in (accepted[0], *(group / "records").rglob("*NG*.png")):
            path.write_bytes(path.read_bytes()[:-30])
        found = own_pictures(store, accepted, bundle_path, group / "cut")
        assert found[0] == accepted[0] and [path.parent.name for path in found[1:]] == ["cut"] * 2
        with pytest.raises(RecordError, match=r"NG.* cannot be read: .* cut off"):
            export_defects(store, bundle_path, group / "data")


def test_labels_of_a_part_are_of_the_cameras_that_they_can_be_of(group, told, bundle_path):
    records, data = group / "records", group / "data"
    data.mkdir()
    # the part with the scratch on the left, and one that was accepted and is said to be defective
    say(records, 3, Answer.DEFECT)
    say(records, 6, Answer.DEFECT)
    with RecordStore(records) as store:
        assert export_defects(store, bundle_path, data).held == 1
        # the right camera found it OK
        assert export_defects(store, group / "other", data).held == 0
        # nobody has said which camera shows an escape
        assert export_escapes(store, bundle_path, data).held == 0
    say(records, 5, Answer.GOOD)
    say(records, 1, Answer.GOOD)
    # the verdicts grow old and go, what people said stays
    with closing(sqlite3.connect(records / DATABASE_NAME)) as connection, connection:
        connection.execute("DELETE FROM verdicts")
    with RecordStore(records) as store:
        parts = good_parts(store, group / "other", 1)
        assert len(parts.false_rejects) == 1
        ((name, picture),) = cut_outs(store, parts.false_rejects[0], group / "other")
    assert name == "right" and (picture == bad_part(104, 60, 80)).all()


def test_doctor_looks_at_every_camera(group, here):
    found = json.loads(edge_here(here, "doctor", "--json").stdout)
    names = {each["name"]: each["state"] for each in found["findings"]}
    assert (names["group"], names["bundle left"], names["bundle right"]) == ("fail", "ok", "ok")


def test_a_line_that_is_not_ready_names_the_camera_to_challenge(group, here):
    with (group / "config.yaml").open("a") as settings:
        settings.write("trigger: {mode: hardware}\nchallenge: {require: refuse}\n")
    assert_refused(edge_here(here, "run"), 1, "camera left: no challenge", "edge-inspect challenge --only left")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["challenge", "--data", "parts"], "add --only left"),
        (["run", "--camera", "0"], "leave --camera out, add --only left, or name a folder"),
        (["run", "--only", "top"], "its cameras are left, right"),
        (["evaluate", "--data", "parts"], "add --only left"),
    ],
)
def test_what_is_for_one_camera_says_so(group, here, arguments, says):
    assert_refused(edge_here(here, *arguments), 2, says)


def test_what_names_no_camera_of_the_line_goes_its_own_way(group, here):
    made = edge_here(here, "bundle", "keygen", "--key", "key")
    assert made.returncode == 0, made.stderr
    shown = edge_here(here, "history", "--bundle", "other")
    assert shown.returncode == 0, shown.stderr
    demo = edge_here(here, "demo", "--once", "--no-record", "--json")
    assert demo.returncode == 0 and verdicts(demo.stdout)[0]["cameras"] == []
