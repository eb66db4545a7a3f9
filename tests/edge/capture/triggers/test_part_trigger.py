"""Parts, not frames: each is judged once, when it lies still, and nothing else is passed over in silence."""

import logging
import re
from dataclasses import replace

import cv2
import numpy as np
import pytest

from calibration.samples.empty_place import empty_place
from calibration.samples.features import measure_sample
from calibration.samples.screening import shows_no_part
from calibration.samples.statistics import statistics_of
from edge.capture.triggers.part_trigger import PartTrigger
from edge.core.config import TriggerSettings
from edge.core.counters import RunCounters
from edge.core.datatypes import Fault, Reason
from edge.core.files.settings_file import load_settings
from edge.samples import sample_data
from tests.edge.capture.triggers.test_motion_trigger import lying, moving
from tests.fakes import frame
from tests.small_bundle import good_part
from tests.system.command_line import decisions, edge_here

PERIOD_NS = 33_333_333


class Line:
    """Pictures 30 times a second, by their own clock; a Fault in place of a picture is a faulty frame."""

    live = True

    def __init__(self, pictures):
        self._pictures = list(pictures)
        self._taken = 0

    @property
    def ended(self):
        return self._taken == len(self._pictures)

    def take(self, timeout_s):
        if self.ended:
            return None
        index, self._taken = self._taken, self._taken + 1
        shown = self._pictures[index]
        is_fault = isinstance(shown, Fault)
        made = frame(index, None if is_fault else shown, shown if is_fault else None)
        return replace(made, captured_ns=1_000_000_000 + index * PERIOD_NS)

    def blank(self, fault):
        return frame(0, None, fault)


def passed_on(pictures, is_empty=None, **settings):
    """Frames that go on to be judged or told, and the counts."""
    line, counters = Line(pictures), RunCounters()
    trigger = PartTrigger(line, TriggerSettings(mode="part", **settings), counters, is_empty=is_empty)
    found = []
    while not trigger.ended:
        taken = trigger.take(10.0)
        if taken is not None:
            found.append(taken)
    return found, counters


def empty(seed, count):
    """A belt without a part, under sensor noise."""
    random = np.random.default_rng(seed)
    return [np.clip(80 + random.normal(0, 3, (240, 320, 3)), 0, 255).astype(np.uint8) for _ in range(count)]


def test_a_part_that_slides_in_lies_and_slides_out_is_one_look():
    line = []
    for part in range(3):
        line += [*moving(part, 12), *lying(part, 25)]
    found, counters = passed_on(line)
    assert [each.index for each in found] == [0, 1, 2]
    assert all(each.fault is None for each in found)
    assert counters.between_parts == len(line) - 3
    assert "last part" in counters.trigger_state


def test_an_empty_place_at_rest_is_no_part_where_it_is_known():
    line = [*lying(1, 20), *empty(5, 20), *lying(2, 20), *empty(6, 20)]
    is_empty = lambda picture: picture.std() < 10  # noqa: E731
    found, counters = passed_on(line, is_empty)
    assert len(found) == 2
    assert counters.empty_places == 2


def test_what_never_comes_to_rest_is_invalid_once_in_each_stated_time():
    found, _ = passed_on(moving(1, 100), max_moving_ms=1000)
    assert [each.fault.reason for each in found] == [Reason.PART_MOVING] * 3
    assert all(each.image is not None for each in found)
    assert "has moved for 1.0 s without lying still for 0.3 s" in found[0].fault.detail
    assert "trigger.max_moving_ms" in found[0].fault.detail


def test_a_part_that_stops_too_shortly_is_counted_and_said(caplog):
    caplog.set_level(logging.WARNING)
    found, counters = passed_on([*moving(1, 8), *lying(1, 6), *moving(1, 8), *lying(2, 20)])
    assert len(found) == 1
    assert counters.short_stops == 1
    assert "stopped for less than 0.3 s and was not judged (1 times)" in caplog.text


def test_a_blink_of_the_light_before_a_part_is_judged_is_no_stop():
    found, counters = passed_on([*moving(1, 8), *lying(1, 6), lying(1, 1)[0] // 2, *lying(1, 20)])
    assert len(found) == 1
    assert counters.short_stops == 0


def test_a_gap_of_empty_belt_between_two_parts_is_no_short_stop():
    line = [*lying(1, 20), *empty(5, 6), *lying(2, 20)]
    _, counters = passed_on(line, lambda picture: picture.std() < 10)
    assert counters.short_stops == 0


def test_a_line_without_parts_for_a_minute_says_so(caplog):
    caplog.set_level(logging.WARNING)
    line = [*lying(1, 20), *empty(5, 30)]
    stretched = [each for each in line[20:] for _ in range(64)]
    passed_on([*line[:20], *stretched], lambda picture: picture.std() < 10)
    assert "no part has come to rest for 60 s" in caplog.text


def test_faults_go_on_as_they_came():
    fault = Fault(Reason.NO_FRAME, "the camera was lost")
    found, _ = passed_on([*lying(1, 20), fault, fault, *lying(2, 5)])
    assert [each.fault for each in found] == [None, fault, fault]
    assert [each.index for each in found] == [0, 1, 2]


def test_a_recording_goes_by_its_own_time_and_not_by_how_fast_it_is_read():
    line, counters = Line(lying(1, 20)), RunCounters()
    trigger = PartTrigger(line, TriggerSettings(mode="part"), counters, frames_per_s=5.0)
    assert trigger.take(10.0) is not None
    # three pictures at five a second are 0.4 s
    assert counters.between_parts == 2


@pytest.mark.parametrize(("value", "meant"), [("free", "free"), ("part", "part"), ("plc", "plc"), ("frame", "free")])
def test_the_mode_is_a_setting_and_frame_its_name_of_old_for_free(tmp_path, value, meant):
    (tmp_path / "c.yaml").write_text(f"trigger:\n  mode: {value}\nplc:\n  port: 1502\n")
    assert load_settings(tmp_path / "c.yaml").trigger.mode == meant


def test_a_bundle_that_was_taught_knows_an_empty_place():
    known = statistics_of([measure_sample(str(seed), good_part(seed), good_part(seed)) for seed in range(20)])
    plate = np.full((48, 64, 3), 90, np.uint8)
    assert shows_no_part(plate, plate, known)
    assert not shows_no_part(good_part(99), good_part(99), known)


class _Taught:
    """As much of a bundle as says what its samples looked like."""

    def __init__(self, files):
        self.manifest = type("Manifest", (), {"files": files})
        self.preprocess = type("Preprocess", (), {"rectangle": (8, 4, 40, 40)})

    def read(self, key):
        looks = [measure_sample(str(seed), good_part(seed), good_part(seed)[4:44, 8:48]) for seed in range(20)]
        return statistics_of(looks).to_bytes()


def test_the_region_of_interest_decides_whether_a_part_is_there():
    is_empty = empty_place(_Taught({"samples": None}))
    assert is_empty(np.full((48, 64, 3), 90, np.uint8)) and not is_empty(good_part(99))
    assert empty_place(_Taught({})) is None


def belt(path, parts, fps=15):
    """A video of a belt: each part slides in, lies for a second, and slides out."""
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), fps, (256, 256))
    random = np.random.default_rng(0)
    for part in parts:
        lies = cv2.resize(cv2.imread(str(part)), (256, 256))
        for shift in (200, 150, 100, 50, *[0] * fps, -50, -100, -150, -200):
            shown = cv2.warpAffine(lies, np.float32([[1, 0, shift], [0, 1, 0]]), (256, 256), borderMode=cv2.BORDER_WRAP)
            noise = random.normal(0, 2, shown.shape)
            writer.write(np.clip(shown + noise, 0, 255).astype(np.uint8))
    writer.release()


def test_a_belt_of_parts_gives_as_many_verdicts_as_parts(tmp_path, capsys, caplog, monkeypatch):
    monkeypatch.chdir(tmp_path)
    parts = sorted((sample_data() / "test" / "good").iterdir())[:3]
    belt(tmp_path / "belt.avi", parts)
    (tmp_path / "config.yaml").write_text("trigger:\n  mode: part\nview:\n  live: off\n")
    result = edge_here(capsys, "--camera", "belt.avi", "--no-record", "--json")
    assert len(decisions(result.stdout)) == 3, result.stderr
    assert re.search(r"^parts       3: ", result.stderr, re.MULTILINE)
    assert "66 pictures between parts, 0 stops too short" in result.stderr
    assert "does not know what a place without a part looks like" in caplog.text


def test_the_demo_counts_parts(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = edge_here(capsys, "--camera", "demo", "--frames", 3, "--no-record")
    assert re.search(r"^parts       3: ", result.stderr, re.MULTILINE)


def test_another_product_brings_its_own_empty_place_and_patience():
    counters, looked_at = RunCounters(), []
    trigger = PartTrigger(Line([*lying(3, 30), *moving(3, 6), *lying(9, 30)]), TriggerSettings(mode="part"), counters)
    assert trigger.take(10.0) is not None
    trigger.follow(TriggerSettings(mode="part", max_moving_ms=100), lambda shown: bool(looked_at.append(1)) or True)
    taken = []
    while not trigger.ended:
        taken.append(trigger.take(10.0))
    assert {each.fault.reason for each in taken if each is not None} == {Reason.PART_MOVING}
    assert looked_at and counters.empty_places == 1
