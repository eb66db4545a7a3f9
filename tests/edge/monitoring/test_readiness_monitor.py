"""A line that was challenged stays ready only while that challenge counts; its verdicts go on either way."""

from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest

from edge.capture.group.joined import Joiner
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.inspection.challenges.challenge import Challenge, JudgedPart
from edge.inspection.challenges.readiness import readiness_monitor
from edge.inspection.challenges.records import save_challenge
from edge.inspection.group.inspector import group_inspector
from edge.monitoring.alarm_log import AlarmLog
from edge.monitoring.readiness_monitor import CHECK_EVERY_S
from edge.records.alarms import recorded_alarms
from edge.records.store import RecordStore
from tests.edge.records.records_fakes import frame, inspector, recorder

CHALLENGED, OTHER = "b" * 64, "d" * 64
GOLDEN = JudgedPart("golden", "a", Decision.OK, 0.2, "fine")
FOUND = JudgedPart("synthetic", "spot", Decision.NG, 0.9, "found")


class ChallengedLine:
    """Frames in, with the records in `directory` and a clock that the test sets."""

    def __init__(self, directory, more=lambda alarm: None, require="refuse", camera="0"):
        self.directory, self.counters, self.states, self.index = directory, RunCounters(), [], 0
        self.settings = Settings.model_validate(
            {"challenge": {"require": require, "max_age_hours": 12}, "record": {"directory": str(directory)}}
        )

        def note(alarm):
            self.states.append(alarm)
            more(alarm)

        self.now_s = 100.0
        log = AlarmLog(self.counters, note)
        self.watch = readiness_monitor(camera, self.settings, self.counters, log, [(CHALLENGED, "e" * 64)])
        if self.watch is not None:
            self.watch._now_s = lambda: self.now_s

    def challenge(self, *looks, bundle=CHALLENGED, age_hours=1.0):
        utc = datetime.now(timezone.utc) - timedelta(hours=age_hours)
        save_challenge(self.directory, Challenge(utc, "camera 0", bundle, "e" * 64, 0.5, looks or (GOLDEN, FOUND)))

    def judges_with(self, bundle_sha256):
        taken = frame(self.index)
        self.watch.write(taken, inspector(bundle_sha256=bundle_sha256).inspect(taken))
        self.index += 1
        self.watch.poll()

    def waits(self):
        """So long that the records are looked at again."""
        self.now_s += CHECK_EVERY_S

    def becomes(self, state):
        assert self.counters.ready_state == state


@pytest.fixture
def line(tmp_path):
    return lambda **options: ChallengedLine(tmp_path, **options)


def test_another_version_is_not_ready_until_it_is_challenged(line):
    started = line()
    started.challenge()
    started.judges_with(CHALLENGED)
    started.becomes("ready")
    assert started.states == []
    started.judges_with(OTHER)
    started.becomes("NOT READY")
    (alarm,) = started.counters.alarms.standing()
    assert "the line is not ready: the last challenge, of" in alarm.what
    assert "was of bundle version bbbbbbbbbbbbbbbb" in alarm.what and "this is dddddddddddddddd" in alarm.what
    assert "edge-inspect challenge --data" in alarm.advice
    assert alarm.first_frame == 1
    started.challenge(bundle=OTHER, age_hours=0)
    started.waits()
    started.judges_with(OTHER)
    started.becomes("ready")
    assert started.counters.alarms.standing() == []
    assert [alarm.ended is None for alarm in started.states] == [True, False]


def test_a_line_without_parts_knows_whether_it_is_ready_and_becomes_it(line):
    started = line()
    started.watch.poll()
    started.becomes("NOT READY")
    started.challenge(age_hours=0)
    started.waits()
    started.watch.poll()
    started.becomes("ready")
    assert started.counters.alarms.standing() == []


def test_going_back_to_the_challenged_version_is_ready_again(line):
    started = line()
    started.challenge()
    for version, state in ((OTHER, "NOT READY"), (CHALLENGED, "ready")):
        started.judges_with(version)
        started.becomes(state)


def test_a_challenge_grows_too_old_while_the_line_runs(line, monkeypatch):
    started = line()
    started.challenge()
    started.judges_with(CHALLENGED)
    started.becomes("ready")
    later = datetime.now(timezone.utc) + timedelta(hours=12)

    class Clock(datetime):
        @classmethod
        def now(cls, tz=None):
            return later

    monkeypatch.setattr("edge.inspection.challenges.readiness.datetime", Clock)
    started.waits()
    started.judges_with(CHALLENGED)
    started.becomes("NOT READY")
    later += timedelta(hours=5)
    started.waits()
    started.judges_with(CHALLENGED)
    (alarm,) = started.states
    assert "is out of date: 12 hours are allowed" in alarm.what


def test_a_challenge_that_fails_beside_the_line_is_told_in_the_same_alarm(line):
    started = line()
    started.challenge(bundle=OTHER)
    started.judges_with(CHALLENGED)
    started.becomes("NOT READY")
    started.challenge(GOLDEN, replace(FOUND, decision=Decision.OK), age_hours=0)
    started.waits()
    started.judges_with(CHALLENGED)
    assert len(started.states) == 2
    assert {alarm.number for alarm in started.states} == {1}
    assert "0 of 1 defects found" in started.states[-1].what


def test_the_records_are_not_asked_for_every_frame(line, monkeypatch):
    asked = []
    monkeypatch.setattr(
        "edge.inspection.challenges.readiness.why_not_ready", lambda *arguments: asked.append(arguments)
    )
    started = line()
    for _ in range(10):
        started.judges_with(CHALLENGED)
    started.waits()
    started.judges_with(CHALLENGED)
    assert len(asked) == 2


def test_records_that_cannot_be_read_make_no_line_ready(line, tmp_path):
    (tmp_path / "verdicts.sqlite").write_bytes(b"no database at all, but long enough to be read as one" * 40)
    started = line()
    started.judges_with(CHALLENGED)
    started.becomes("NOT READY")
    assert "verdicts.sqlite cannot be used" in started.states[0].what


def test_it_goes_on_record_beside_the_alarms_of_the_line(line, tmp_path):
    sink = recorder(tmp_path)
    started = line(more=sink.note)
    taken = started.counters.alarms.new_number()
    started.judges_with(OTHER)
    started.becomes("NOT READY")
    sink.close()
    with RecordStore(tmp_path) as store:
        (entry,) = recorded_alarms(store)
    assert entry.alarm == started.states[-1]
    assert (entry.alarm.kind, entry.alarm.number) == ("not ready", taken + 1)


@pytest.mark.parametrize(("require", "camera"), [(None, "0"), ("refuse", "demo"), ("refuse", "parts/good")])
def test_where_no_challenge_is_asked_for_nothing_is_watched(line, require, camera):
    assert line(require=require, camera=camera).watch is None


def test_a_group_is_ready_when_every_camera_s_bundle_was_challenged(tmp_path):
    cameras = [{"name": name, "source": name} for name in ("left", "right")]
    settings = Settings.model_validate(
        {
            "challenge": {"require": "refuse"}, "record": {"directory": str(tmp_path)},
            "trigger": {"mode": "plc"}, "plc": {"port": 15020}, "group": {"cameras": cameras},
        }
    )  # fmt: skip
    counters = RunCounters()
    of_cameras = [(CHALLENGED, "e" * 64), (OTHER, "e" * 64)]
    watch = readiness_monitor("0", settings, counters, AlarmLog(counters, lambda alarm: None), of_cameras)
    watch._now_s = iter(range(100, 1000, 10)).__next__

    def challenge(bundle):
        utc = datetime.now(timezone.utc)
        save_challenge(tmp_path, Challenge(utc, "camera 0", bundle, "e" * 64, 0.5, (GOLDEN, FOUND)))

    challenge(CHALLENGED)
    watch.poll()
    assert counters.ready_state == "NOT READY"
    assert "camera right: " in counters.alarms.standing()[0].what
    challenge(OTHER)
    watch.poll()
    assert counters.ready_state == "ready"
    group = group_inspector(
        [("left", inspector(bundle_sha256=CHALLENGED)), ("right", inspector(bundle_sha256="f" * 64))]
    )
    taken = Joiner(("left", "right")).joined(0, [frame(0), frame(1)])
    watch.write(taken, group.inspect(taken))
    watch.poll()
    assert counters.ready_state == "NOT READY"
