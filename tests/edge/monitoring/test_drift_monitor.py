"""Alarms beside the verdicts: raised once, over once, on record, and from no reference at all."""

from __future__ import annotations

import io

import numpy as np
import pytest

from edge.core.alarms import BURST, Alarm
from edge.core.config import BurstSettings, DriftSettings
from edge.core.counters import RunCounters
from edge.core.datatypes import AnomalyMap, Decision, Frame
from edge.inspection.inspector import Inspector
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.drift.burst import BurstWatch
from edge.monitoring.drift_monitor import DriftMonitor, WatchedBundle
from edge.monitoring.run_statistics import RunStatistics, run_summary
from edge.preprocessing.preprocess import Preprocess
from edge.records.alarms import recorded_alarms
from edge.records.report import build_report, report_table
from edge.records.store import RecordStore
from tests.edge.monitoring.drift.parts import CHANGES, moment, plate, reference_of
from tests.edge.records.records_fakes import recorder, wait_for
from tests.fakes import eventually

SCORES = np.array([0.1, 0.12, 0.15, 0.11, 0.2, 0.14, 0.16, 0.13], np.float32)
PREPROCESS = Preprocess(32, 32)


class GivenScores:
    """A backend that scores as it is told."""

    name = "fake"
    model_sha256 = "e" * 64

    def __init__(self) -> None:
        self.next_score = 0.14

    def score(self, image, clock):
        return AnomalyMap(np.zeros((4, 4), np.float32), self.next_score, 0)

    def close(self):
        pass


class WatchedLine:
    def __init__(self, reference, drift=None, burst=None, more=lambda alarm: None, of=None, scores_of=None):
        self.backend, self.counters, self.told, self.index = GivenScores(), RunCounters(), [], 0
        self.inspector = Inspector(self.backend, PREPROCESS, 0.6, 0.6, "b" * 64)
        self._more = more
        self.watch = DriftMonitor(
            drift or DriftSettings(),
            burst or BurstSettings(),
            lambda sha256, recipe: WatchedBundle(
                PREPROCESS, (of or {}).get(sha256, reference), *(scores_of or {}).get(sha256, (SCORES, 0.6))
            ),
            self.counters,
            AlarmLog(self.counters, self._note),
        )

    def _note(self, alarm: Alarm) -> None:
        self.told.append(alarm)
        self._more(alarm)

    def run(self, parts, change=lambda picture: picture, score=0.14):
        for _ in range(parts):
            self.backend.next_score = score
            frame = Frame(self.index, 0, moment(self.index), "test", change(plate(2000 + self.index)))
            self.watch.write(frame, self.inspector.inspect(frame))
            # as slow as a line; a picture that waits too long is left out
            wait_for(lambda: self.watch._worker.waiting == 0)
            self.index += 1

    def finished(self) -> list[Alarm]:
        self.watch.close()
        return self.counters.alarms.all()


@pytest.fixture(scope="module")
def reference():
    return reference_of((plate(seed) for seed in range(24)), PREPROCESS)


def test_a_drift_is_one_alarm_and_one_end(reference):
    line = WatchedLine(reference)
    line.run(40)
    line.run(60, CHANGES["light down"])
    line.run(60)
    (alarm,) = line.finished()
    assert alarm.kind == "light down" and alarm.ended is not None
    assert alarm.since == moment(alarm.first_frame)
    assert [told.ended is None for told in line.told] == [True] * (len(line.told) - 1) + [False]


def test_rejects_in_a_row_are_one_alarm(reference):
    line = WatchedLine(reference)
    line.run(20)
    line.run(50, score=0.9)
    line.run(20)
    (alarm,) = [alarm for alarm in line.finished() if alarm.kind == BURST]
    assert alarm.what == "8 of 10 parts rejected"
    assert (alarm.first_frame, alarm.ended is not None) == (20, True)
    assert "pictures before sorting" in alarm.advice


def test_a_burst_under_changed_light_says_so(reference):
    line = WatchedLine(reference)
    line.run(24)
    line.run(64, CHANGES["light down"], score=0.9)
    alarms = {alarm.kind: alarm for alarm in line.finished()}
    assert "light down" in alarms[BURST].advice
    # where all is rejected, rejects are what tells why
    assert "light down" in alarms


def test_verdicts_stay_true_in_a_burst(reference):
    line = WatchedLine(reference)
    line.run(12, score=0.9)
    verdict = line.inspector.inspect(Frame(99, 0, moment(99), "test", plate(1)))
    line.finished()
    assert verdict.decision is Decision.NG


def test_single_defects_are_no_burst():
    burst = BurstWatch(8, 10)
    assert not any(burst.add(index % 2 == 0) for index in range(100))


def test_without_a_reference_the_first_accepted_parts_serve_as_one():
    line = WatchedLine(None, DriftSettings(learn_from=24))
    line.run(10)
    assert line.counters.drift_state == "no reference in the bundle: learning from accepted parts, 10 of 24"
    line.run(38)
    assert line.counters.drift_state == "compared with the first 24 accepted parts of this run"
    line.run(48, CHANGES["focus"])
    assert [alarm.kind for alarm in line.finished()] == ["focus"]


def test_alarms_go_on_record_and_into_the_report(reference, tmp_path):
    sink = recorder(tmp_path)
    line = WatchedLine(reference, more=sink.note)
    line.run(40)
    line.run(60, CHANGES["light down"])
    line.run(60)
    line.finished()
    sink.close()
    with RecordStore(tmp_path) as store:
        (entry,) = recorded_alarms(store)
        report = build_report(store)
    assert entry.alarm == line.told[-1]
    assert report.as_json()["alarms"][0]["what"] == entry.alarm.what
    from rich.console import Console

    console = Console(file=io.StringIO(), width=160)
    console.print(report_table(report))
    assert "light down 12 %" in console.file.getvalue()


def test_another_version_of_the_bundle_is_compared_with_its_own_parts(reference):
    dark = reference_of((CHANGES["light down"](plate(seed)) for seed in range(24)), PREPROCESS)
    line = WatchedLine(reference, of={"d" * 64: dark})
    line.run(24)
    line.run(48, CHANGES["light down"])
    line.inspector.bundle_sha256 = "d" * 64
    line.run(48, CHANGES["light down"])
    (alarm,) = line.finished()
    assert (alarm.kind, alarm.last_frame) == ("light down", 72)
    assert "(against version bbbbbbbbbbbb, which judges no longer)" in alarm.what


def test_scores_of_another_version_are_compared_with_its_own(reference):
    other = SCORES + np.float32(0.4)
    line = WatchedLine(reference, scores_of={"d" * 64: (other, 0.9)})
    line.run(48)
    line.inspector.bundle_sha256, line.inspector.threshold = "d" * 64, 0.9
    line.run(96, score=0.54)
    assert line.told == []
    line.run(96, score=0.75)
    assert line.told[0].kind == "scores"
    line.inspector.bundle_sha256, line.inspector.threshold = "b" * 64, 0.6
    line.run(96)
    alarms = line.finished()
    assert all(alarm.kind == "scores" and alarm.last_frame <= 240 for alarm in alarms)


def test_the_summary_names_every_alarm(reference):
    line = WatchedLine(reference)
    line.run(12, score=0.9)
    line.finished()
    text = run_summary(RunStatistics(), line.counters, None)
    assert "alarms      8 of 8 parts rejected since" in text


def test_grey_pictures_on_a_bundle_in_colour_are_told_once(reference, caplog):
    line = WatchedLine(reference)
    line.run(6, lambda picture: np.repeat(picture[:, :, 1:2], 3, axis=2))
    line.finished()
    assert (
        caplog.text.count("the camera's pictures are grey, the bundle was taught with pictures that are in colour") == 1
    )


def test_colour_on_a_grey_bundle_is_told_and_the_same_kind_is_not(reference, caplog):
    grey = reference_of((np.repeat(plate(seed)[:, :, 1:2], 3, axis=2) for seed in range(24)), PREPROCESS)
    line = WatchedLine(grey)
    line.run(2, lambda picture: np.repeat(picture[:, :, 1:2], 3, axis=2))
    line.finished()
    line = WatchedLine(reference)
    line.run(2)
    line.finished()
    assert "taught with pictures" not in caplog.text
    line = WatchedLine(grey)
    line.run(3)
    line.finished()
    assert caplog.text.count("pictures are in colour, the bundle was taught with pictures that are grey") == 1


def test_what_was_learned_of_a_product_is_there_when_its_recipe_comes_back():
    line = WatchedLine(None, drift=DriftSettings(learn_from=16))
    for recipe, state in (("plate", "10 of 16"), ("gear", "10 of 16"), ("plate", "the first 16 accepted")):
        line.inspector.recipe = recipe
        line.run(10)
        assert eventually(lambda state=state: state in line.counters.drift_state), line.counters.drift_state
    line.inspector.recipe = "gear"
    line.run(1)
    assert eventually(lambda: "11 of 16" in line.counters.drift_state)
    line.finished()
