"""A group's bundles in a running line: versions are taken up camera by camera, drift and hangs have a camera's name."""

import shutil
import threading

import numpy as np
import pytest

pytest.importorskip("openvino", reason="openvino is not installed: no network can run")

from edge.bundles.bundle import MANIFEST, load_bundle
from edge.capture.group.joined import Joiner
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision, Fault, Reason
from edge.core.errors import BundleError, UsageError
from edge.inspection.group.inspector import group_inspector
from edge.inspection.group.opening import CameraPool, GroupDrift, GroupVersions, open_group
from edge.inspection.inspector_pool import InspectorPool
from edge.inspection.loop import run_loop
from edge.monitoring.alarm_log import AlarmLog
from edge.plant.preview import preview_picture
from edge.records.overlay import draw_overlay
from tests.bundle_edits import commit_threshold
from tests.fakes import BrightnessBackend, HangingBackend, ListSink, ScriptedSupply, frame, inspector
from tests.small_bundle import bad_part, good_part

NAMES = ("left", "right")


@pytest.fixture
def settings(tmp_path, bundle_path):
    shutil.copytree(bundle_path, tmp_path / "other")
    cameras = [{"name": "left", "source": "1", "bundle": str(bundle_path)}]
    cameras.append({"name": "right", "source": "2", "bundle": str(tmp_path / "other")})
    return Settings.model_validate({"group": {"cameras": cameras}})


@pytest.fixture
def group(settings):
    opened = open_group(settings, 1)
    yield opened
    for each in opened.pool.inspectors:
        each.backend.close()


def part(index=0, left=good_part, right=good_part):
    return Joiner(NAMES).joined(index, [frame(index, left(index)), frame(index, right(100 + index, 60, 80))])


def sharing(bundle_path, **top):
    cameras = [{"name": name, "source": name} for name in NAMES] + [{"name": "top", "source": "top", **top}]
    return Settings.model_validate({"group": {"cameras": cameras}, "inspection": {"bundle": str(bundle_path)}})


def test_cameras_with_one_bundle_share_its_network(bundle_path):
    shared = open_group(sharing(bundle_path), 2)
    first, second = shared.pool.inspectors
    assert first.inspector_of("left") is first.inspector_of("top") is not second.inspector_of("left")
    assert [each.cameras for each in shared.bundles] == [("left", "right", "top")]


def test_golden_pictures_are_of_the_camera_that_names_them(bundle_path):
    # which this bundle refuses
    with pytest.raises(UsageError, match=r"^camera top: .* does not compare with golden pictures"):
        open_group(sharing(bundle_path, reference="golden"), 1)


def test_a_bundle_that_is_damaged_is_refused_with_its_camera(settings, tmp_path):
    (tmp_path / "other" / MANIFEST).write_text("{}")
    with pytest.raises(BundleError, match=r"^camera right: "):
        open_group(settings, 1)


def test_a_version_is_taken_up_for_its_camera_alone(group, tmp_path):
    counters = RunCounters()
    versions = GroupVersions(group, counters)
    (before,) = group.pool.inspectors
    versions.write(part(), before.inspect(part()))
    commit_threshold(load_bundle(tmp_path / "other"), 0.99)
    versions.poll()
    (after,) = group.pool.inspectors
    assert after.inspector_of("left") is before.inspector_of("left") and counters.switches == 1
    verdict = after.inspect(part(1, bad_part, bad_part))
    assert [each.verdict.threshold for each in verdict.cameras][1] == 0.99
    assert [each.verdict.decision for each in verdict.cameras] == [Decision.NG, Decision.OK]
    assert counters.bundle_state.startswith("right: version ")
    # what was replaced is closed, what goes on is not
    versions.poll()
    assert after.inspect(part(2)).decision is Decision.OK


class Closing(BrightnessBackend):
    closed = False

    def close(self):
        self.closed = True


def test_what_a_part_in_hand_is_judged_with_stays_open_through_two_changes():
    left, right = Closing(), Closing()
    pool = InspectorPool([group_inspector([("left", inspector(left)), ("right", inspector(right))])])
    in_hand = pool.enter()
    for name in NAMES:
        CameraPool(pool, [name]).replace([inspector()])
    pool.close_retired()
    assert not left.closed and not right.closed
    pool.leave(in_hand)
    pool.close_retired()
    assert left.closed and right.closed


def test_a_version_that_cannot_be_used_leaves_both_cameras_as_they_were(group, tmp_path, monkeypatch):
    monkeypatch.setattr("edge.inspection.hot_swap.TRY_AGAIN_S", 0.0)
    counters = RunCounters()
    versions = GroupVersions(group, counters)
    (before,) = group.pool.inspectors
    (tmp_path / "other" / MANIFEST).write_text("{}")
    versions.poll()
    assert group.pool.inspectors == (before,)
    assert "right: " in counters.bundle_state and "REFUSED" in counters.bundle_state


def test_rejects_in_a_row_raise_an_alarm_with_the_camera(group):
    counters, alarms = RunCounters(), []
    drift = GroupDrift(group, counters, AlarmLog(counters, alarms.append))
    (judge,) = group.pool.inspectors
    for index in range(12):
        shown = part(index, right=bad_part)
        drift.write(shown, judge.inspect(shown))
    drift.close()
    raised = [alarm for alarm in alarms if alarm.kind == "burst"]
    assert raised and all(alarm.what.startswith("camera right: 8 of ") for alarm in raised)
    assert counters.drift_state and [alarm.what for alarm in counters.alarms.standing()] == [raised[-1].what]


def test_a_network_that_hangs_gets_its_verdict_from_the_watchdog():
    hanging = HangingBackend()
    pool = InspectorPool([group_inspector([("left", inspector()), ("right", inspector(hanging))])])
    sink, counters = ListSink(), RunCounters()
    values = {"freshness": {"max_age_ms": 100}, "inspection": {"deadline_ms": 200}}
    supply, stop = ScriptedSupply([lambda: part()], endless=True), threading.Event()
    thread = threading.Thread(
        target=run_loop, args=(supply, pool, [sink], Settings.model_validate(values), counters), kwargs={"stop": stop}
    )
    thread.start()
    assert sink.wait_until(lambda verdicts: len(verdicts) >= 1)
    hanging.released.set()
    stop.set()
    thread.join()
    verdict = sink.verdicts[0]
    assert verdict.reason is Reason.DEADLINE_MISSED
    assert [each.verdict.decision for each in verdict.cameras] == [Decision.INVALID] * 2


def test_a_part_that_grew_old_while_a_camera_was_waited_for_names_the_camera():
    pool = InspectorPool([group_inspector([(name, inspector()) for name in NAMES])])
    sink, counters = ListSink(), RunCounters()
    old = [frame(0, age_ms=600), frame(0, fault=Fault(Reason.MISSED_FRAME, "no pulse"), age_ms=600)]
    supply = ScriptedSupply([Joiner(NAMES).joined(0, old)])
    run_loop(supply, pool, [sink], Settings(), counters, stop=threading.Event())
    (verdict,) = sink.verdicts
    assert verdict.reason is Reason.MISSED_FRAME and verdict.detail.startswith("camera right: no pulse; ")
    assert "ms old at the start of inspection" in verdict.detail


def test_overlay_and_preview_show_every_camera(group):
    (judge,) = group.pool.inspectors
    rejected = part(3, right=bad_part)
    verdict = judge.inspect(rejected)
    drawn = draw_overlay(rejected, verdict, None, "1-000003")
    factor = drawn.shape[1] // rejected.image.shape[1]
    below = drawn[-60 * factor :: factor, ::factor].astype(int)
    # the right camera's picture has heat and a box, the left one's is nearly as it was
    changed = np.abs(below[:, : 64 + 80] - rejected.image).mean(axis=(0, 2))
    assert changed[64:].mean() > 5 * changed[:64].mean()
    seen = preview_picture(rejected, verdict, None)
    changed = np.abs(seen.astype(int) - rejected.image).mean(axis=(0, 2))
    assert seen.shape == rejected.image.shape and changed[64:].mean() > 5 * changed[:64].mean()
    alone = draw_overlay(frame(3, rejected.image), inspector().inspect(frame(3, rejected.image)), None)
    # above each picture stands its camera
    assert drawn.shape[0] > alone.shape[0]


def test_a_camera_without_a_picture_is_grey_and_named(group):
    (judge,) = group.pool.inspectors
    lost = Joiner(NAMES).joined(0, [frame(0, good_part(0)), frame(0, fault=Fault(Reason.NO_FRAME, "nothing"))])
    verdict = judge.inspect(lost)
    drawn = draw_overlay(lost, verdict, None)
    assert (drawn[-48:, -64:] == np.uint8(96)).all() and verdict.detail == "camera right: nothing"
