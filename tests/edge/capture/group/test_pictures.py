"""A group of folders: pictures of the same name show the same part, and none takes another's place."""

import pytest

from edge.capture.group.opening import open_group_supply
from edge.capture.group.pictures import PairedPictures
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Reason
from edge.core.errors import CameraError
from tests.fakes import picture, write_picture


def group_settings(tmp_path, mode="free", sources=("left", "right"), **more):
    cameras = [
        {"name": name, "source": source if source == "demo" or ":" in source else str(tmp_path / source)}
        for name, source in zip(("left", "right", "top"), sources, strict=False)
    ]
    plc = {"port": 15020} if mode == "plc" else {}
    return Settings.model_validate({"group": {"cameras": cameras}, "trigger": {"mode": mode}, "plc": plc, **more})


@pytest.fixture
def folders(tmp_path):
    for side, first in (("left", 0), ("right", 100)):
        (tmp_path / side).mkdir()
        for number in (1, 2, 10):
            write_picture(tmp_path / side / f"part{number}.png", picture(first + number))
    return tmp_path


def read_all(settings):
    source = PairedPictures(settings)
    frames = []
    while (frame := source.read()) is not None:
        frames.append(frame)
    return frames


def test_pictures_of_one_name_are_a_part_in_natural_order(folders):
    frames = read_all(group_settings(folders))
    assert [[view.frame.source.rsplit("/", 2)[1:] for view in frame.views] for frame in frames] == [
        [["left", f"part{number}.png"], ["right", f"part{number}.png"]] for number in (1, 2, 10)
    ]
    assert (frames[2].views[1].frame.image == picture(110)).all()


def test_a_missing_picture_is_its_parts_and_shifts_no_other(folders, caplog):
    (folders / "right" / "part2.png").unlink()
    frames = read_all(group_settings(folders))
    faults = [frame.views[1].frame.fault for frame in frames]
    assert [fault and fault.reason for fault in faults] == [None, Reason.NO_FRAME, None]
    assert "camera right has no picture of 1 of 3 parts, which are INVALID: part2" in caplog.text


def test_a_damaged_and_a_black_picture_are_their_cameras_fault(folders):
    (folders / "left" / "part1.png").write_bytes(b"no picture")
    write_picture(folders / "right" / "part2.png", picture(1) // 100)
    first, second, _ = read_all(group_settings(folders))
    assert first.views[0].frame.fault.reason is Reason.UNDECODABLE and first.views[1].frame.fault is None
    assert second.views[1].frame.fault.reason is Reason.BLACK and second.fault is None


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda here: [p.rename(p.with_stem(f"r{p.stem}")) for p in (here / "right").iterdir()], "has the same name"),
        (lambda here: write_picture(here / "left" / "part1.bmp", picture(3)), "have the same name"),
        (lambda here: [p.unlink() for p in (here / "left").iterdir()], "camera left: "),
    ],
)  # fmt: skip
def test_folders_that_cannot_be_paired_are_refused(folders, change, says):
    change(folders)
    with pytest.raises(CameraError, match=says):
        PairedPictures(group_settings(folders))


@pytest.mark.parametrize(
    ("mode", "sources", "says"),
    [
        ("free", ("demo", "demo"), "nothing says which of their pictures"),
        ("plc", ("left", "genicam:1"), "left is files, and the others are live"),
        ("hardware", ("left", "right"), "files have no trigger of their own"),
        ("hardware", ("genicam:1", "demo"), "of the group right is none"),
        ("free", ("left", "right/part1.png"), "is no folder of pictures"),
    ],
)
def test_sources_that_cannot_be_paired_are_refused(folders, mode, sources, says):
    with pytest.raises(CameraError, match=says):
        open_group_supply(group_settings(folders, mode, sources), RunCounters())


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"trigger": {"mode": "part"}}, "trigger.mode part"),
        ({"camera": {"source": "0"}}, "both say what is looked at"),
        ({"camera": {"watch": True}}, "camera.watch"),
        ({"recipes": {"file": "r.yaml"}}, "a group judges one product"),
        ({"inspection": {"reference": "golden"}}, "golden pictures are of one camera"),
        ({"group": {"cameras": [{"name": "left", "source": "a"}]}}, "2 to 4 cameras, got 1"),
        ({"group": {"cameras": [{"name": n, "source": n} for n in ("a", "A")]}}, "the same name"),
        ({"group": {"cameras": [{"name": n, "source": "0"} for n in ("a", "b")]}}, "the same source"),
        (
            {"group": {"cameras": [{"name": n, "source": n, "camera": {"wdth": 3}} for n in ("a", "b")]}},
            "group camera a: camera.wdth: Extra inputs",
        ),
        ({"group": {"only": "top", "cameras": [{"name": n, "source": n} for n in ("a", "b")]}}, "no camera top"),
        ({"trigger": {"mode": "hardware", "frame_timeout_ms": 50}}, "must be below trigger.frame_timeout_ms"),
    ],
)
def test_settings_that_cannot_be_are_refused(tmp_path, values, says):
    given = group_settings(tmp_path).model_dump(exclude_unset=True)
    with pytest.raises(ValueError, match=says):
        Settings.model_validate({**given, **values})


def test_one_camera_of_a_group_is_a_line_of_its_own(tmp_path):
    cameras = [
        {"name": "left", "source": "1", "bundle": "l", "camera": {"fps": 5.0, "genicam": {"gain_db": 1.0}}},
        {"name": "right", "source": "2", "reference": "golden"},
    ]
    line = {"camera": {"fps": 9.0, "genicam": {"exposure_us": 7.0}}, "inspection": {"bundle": "both"}}
    settings = Settings.model_validate({"group": {"cameras": cameras}, **line})
    left, right = settings.of_camera("left"), settings.of_camera("right")
    assert (left.camera.source, left.camera.fps, left.inspection.bundle, left.inspection.reference) == (
        "1",
        5,
        "l",
        None,
    )
    assert (left.camera.genicam.exposure_us, left.camera.genicam.gain_db) == (7, 1)
    assert (right.camera.fps, right.inspection.bundle, right.inspection.reference) == (9, "both", "golden")
    assert not left.group.cameras
