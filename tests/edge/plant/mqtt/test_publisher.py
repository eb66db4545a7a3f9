"""Every recorded verdict reaches the broker, whatever happens to the broker, the publisher and the records."""

import json
import shutil
from contextlib import contextmanager
from dataclasses import replace

import pytest

from edge.core.alarms import BURST
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.core.errors import ConfigError, RecordError
from edge.core.files.atomic_file import write_atomic
from edge.core.sections import LineSettings, MqttSettings
from edge.monitoring.alarm_log import AlarmLog
from edge.plant.mqtt.publish import publish
from edge.plant.mqtt.publisher import COUNTS_EVERY_S, MOST_SENT, PublishedLine, Publisher
from edge.plant.state import LineInfo, LineStateKeeper
from edge.plant.status_file import STATUS_NAME, status_bytes
from edge.review.database import ReviewDatabase
from tests.edge.records.records_fakes import look, recorder, stored, wait_for


class FakeBroker:
    """Takes messages while `connected`; confirms them while `confirms`. received: (kind, content, retained)."""

    def __init__(self):
        self.connected, self.connections, self.confirms = True, 1, True
        self.received = []
        self._numbers = 0
        self._open = set()

    def publish(self, topic, payload, *, retain=False):
        start, _, kind = topic.rpartition("/")
        assert start == "edge-inspect/hall/left"
        content = payload.decode() if kind == "status" else json.loads(payload)
        self.received.append((kind, content, retain))
        self._numbers += 1
        self._open.add(self._numbers)
        return self._numbers

    def arrived(self, number):
        # asked again after a yes, a broker would know the number of another message
        assert number in self._open
        if self.confirms:
            self._open.discard(number)
        return self.confirms

    def wait(self, seconds): ...

    def of(self, kind):
        return [content for each, content, _ in self.received if each == kind]

    @property
    def rows(self):
        return [content["row"] for content in self.of("verdict")]


class Clock:
    def __init__(self):
        self.now_s = 0.0

    def __call__(self):
        return self.now_s


class Line:
    """A line's records and run directory, without the line."""

    def __init__(self, tmp_path):
        self.records, self.run = tmp_path / "records", tmp_path / "run"
        self.run.mkdir()
        self.clock = Clock()
        self.given = 0

    def record(self, *decisions, alarms=()):
        """One run of these verdicts and alarms: (what, whether it ends)."""
        counters = RunCounters()
        run = recorder(self.records, counters)
        for decision in decisions:
            run.write(*look(self.given, decision))
            self.given += 1
        log = AlarmLog(counters, run.note)
        for what, ends in alarms:
            alarm = log.begin(BURST, what, "look")
            if ends:
                log.end(alarm)
        run.close()
        assert counters.recorded == len(decisions)

    def write_status(self, **changes):
        keeper = LineStateKeeper(LineInfo("left", "camera", "plate", "openvino", "int8"), RunCounters(beat_ns=1))
        keeper.close()
        state = replace(keeper.state, **{"running": True, "beat_age_s": 0.0, **changes})
        write_atomic(self.run / STATUS_NAME, status_bytes(state))

    @contextmanager
    def publisher(self, broker, **others):
        with ReviewDatabase(self.records) as review:
            line = PublishedLine("hall", "left", self.records, self.run)
            yield Publisher(line, broker, review, now_s=self.clock, **others)


@pytest.fixture
def line(tmp_path):
    return Line(tmp_path)


def publish_all(publisher):
    """Until nothing is left to send, and all has arrived."""
    while publisher.step():
        pass
    publisher.step()
    publisher.settle()


OK, NG, INVALID = Decision.OK, Decision.NG, Decision.INVALID


def test_every_verdict_is_published_once_with_what_json_says_of_it(line):
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        line.record(OK, NG, INVALID)
        publish_all(publisher)
        line.record(OK)
        publish_all(publisher)
        assert publisher.verdicts == 4
    assert broker.rows == [1, 2, 3, 4]
    ng = broker.of("verdict")[1]
    record = stored(line.records)[1]
    assert ng["id"] == record.number == "1-000001"
    assert (ng["decision"], ng["reason"], ng["score"]) == ("NG", "above_threshold", record.score)
    assert ng["source"] == "fake camera" and len(ng["regions"]) == 1 and ng["times_ms"]["total"] > 0
    assert not any(retained for kind, _, retained in broker.received if kind == "verdict")


def test_a_broker_that_is_away_gets_all_when_it_comes_back(line):
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        broker.connected = False
        line.record(*[OK] * 30)
        publish_all(publisher)
        assert broker.received == []
        broker.connected, broker.connections = True, broker.connections + 1
        publish_all(publisher)
    assert broker.rows == list(range(1, 31))


def test_a_publisher_that_dies_repeats_what_was_not_confirmed_and_leaves_nothing_out(line):
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        line.record(OK, OK)
        publish_all(publisher)
        broker.confirms = False
        line.record(NG, OK)
        publisher.step()
    # killed here: nothing is settled
    again = FakeBroker()
    with line.publisher(again) as publisher:
        publish_all(publisher)
    assert broker.rows == [1, 2, 3, 4]
    assert again.rows == [3, 4]
    third = FakeBroker()
    with line.publisher(third) as publisher:
        publish_all(publisher)
    assert third.rows == []


def test_what_a_killed_broker_may_have_taken_along_is_published_once_more(line):
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        for _ in range(4):
            line.record(OK, NG)
            publish_all(publisher)
            line.clock.now_s += 3.0
        assert broker.rows == [1, 2, 3, 4, 5, 6, 7, 8]
        broker.received.clear()
        broker.connections += 1
        line.record(OK)
        publish_all(publisher)
        publish_all(publisher)
        # those of the five seconds before the last confirmation, then what is new
        assert broker.rows == [5, 6, 7, 8, 9]
        assert publisher.verdicts == 9


def test_a_broker_that_is_killed_at_once_gets_the_first_verdicts_again(line):
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        line.record(OK, NG)
        publish_all(publisher)
        broker.connections += 1
        publish_all(publisher)
    assert broker.rows == [1, 2, 1, 2]


def test_only_so_many_messages_are_on_their_way(line):
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        line.record(*[OK] * (MOST_SENT + 50))
        broker.confirms = False
        for _ in range(5):
            publisher.step()
        assert len(broker.received) <= MOST_SENT + 2
        broker.confirms = True
        publish_all(publisher)
    assert broker.rows == list(range(1, MOST_SENT + 51))


def test_the_first_start_begins_with_what_is_recorded_from_then_on(line):
    line.record(OK, NG, alarms=[("an old one", True)])
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        publish_all(publisher)
    assert broker.rows == [] and broker.of("alarm") == []
    line.record(OK)
    with line.publisher(broker) as publisher:
        publish_all(publisher)
    assert broker.rows == [3]


def test_or_with_the_oldest_where_that_is_asked_for(line):
    line.record(OK, NG, alarms=[("an old one", True)])
    broker = FakeBroker()
    with line.publisher(broker, from_beginning=True) as publisher:
        publish_all(publisher)
    assert broker.rows == [1, 2] and len(broker.of("alarm")) == 1


def test_another_database_in_the_place_is_published_from_its_beginning(line, caplog):
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        line.record(OK, OK, OK)
        publish_all(publisher)
        broker.confirms = False
        line.record(NG)
        publisher.step()
        for file in line.records.glob("verdicts.sqlite*"):
            file.unlink()
        shutil.rmtree(line.records / "images", ignore_errors=True)
        line.record(NG, OK)
        broker.confirms = True
        publish_all(publisher)
    assert broker.rows == [1, 2, 3, 4, 1, 2]
    assert caplog.text.count("other records stand in") == 1
    again = FakeBroker()
    with line.publisher(again) as publisher:
        publish_all(publisher)
    assert again.rows == []


def test_alarms_are_told_when_they_begin_and_when_they_are_over_also_after_a_restart(line):
    counters = RunCounters()
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        run = recorder(line.records, counters)
        log = AlarmLog(counters, run.note)
        standing = log.begin(BURST, "many rejects", "look")

        def told(count):
            publish_all(publisher)
            return len(broker.of("alarm")) == count

        wait_for(lambda: told(1))
        assert broker.of("alarm")[0] | {"since": ""} == {
            "number": "1-1", "kind": "burst", "what": "many rejects", "advice": "look", "since": "", "ended": None,
            "stands": True,
        }  # fmt: skip
        publish_all(publisher)
        assert told(1)
    again = FakeBroker()
    with line.publisher(again) as publisher:
        log.end(standing)
        run.close()
        publish_all(publisher)
    assert [alarm["stands"] for alarm in again.of("alarm")] == [False]
    last = FakeBroker()
    with line.publisher(last) as publisher:
        publish_all(publisher)
    assert last.of("alarm") == []


def test_an_alarm_that_stood_when_the_run_ended_stands_no_more(line):
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        line.record(OK, alarms=[("first", False), ("second", True)])
        publish_all(publisher)
    assert {alarm["what"]: alarm["stands"] for alarm in broker.of("alarm")} == {"first": False, "second": False}


def test_the_line_is_online_only_while_it_gives_verdicts(line):
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        for status in ({}, {}, {"beat_age_s": 5.0}, {}, {"running": False}):
            line.write_status(**status)
            line.clock.now_s += 1.0
            publisher.step()
        broker.connections += 1
        publisher.step()
    # after a new connection again, since the broker may have told the will
    assert broker.of("status") == ["online", "offline", "online", "offline", "offline"]
    assert all(retained for kind, _, retained in broker.received if kind in ("status", "info"))
    assert {info["info"]["product"] for info in broker.of("info")} == {"plate"}


def test_a_line_that_was_never_seen_is_offline(line):
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        publisher.step()
    assert [content for _, content, _ in broker.received] == ["offline"]


def test_counts_come_every_ten_seconds_of_a_line_that_lives(line):
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        for _ in range(25):
            line.write_status()
            line.clock.now_s += 1.0
            publisher.step()
        assert len(broker.of("counts")) == 25 // COUNTS_EVERY_S + 1
        assert broker.of("counts")[0]["frames"] == 0


def test_records_that_cannot_be_read_are_told_and_tried_again(line, caplog):
    broker = FakeBroker()
    with line.publisher(broker) as publisher:
        (line.records / "verdicts.sqlite").write_bytes(b"no database" * 100)
        for _ in range(10):
            assert not publisher.step()
        assert "not published (1 times)" in caplog.text and "not published (10 times)" in caplog.text
        (line.records / "verdicts.sqlite").unlink()
        line.record(NG)
        publish_all(publisher)
    assert broker.rows == [1]


def settings(tmp_path, **changes):
    values = {
        "mqtt": MqttSettings(host="127.0.0.1"),
        "line": LineSettings(run_directory=str(tmp_path)),
        **changes,
    }
    return Settings(**values)


def test_what_publishing_needs_is_asked_for(tmp_path, subtests):
    from edge.core.config import RecordSettings

    for missing, changes in [
        ("mqtt.host", {"mqtt": MqttSettings()}),
        ("record.directory", {"record": RecordSettings(directory=None)}),
        ("line.run_directory", {"line": LineSettings()}),
    ]:
        with subtests.test(missing=missing), pytest.raises(ConfigError, match=missing):
            publish(settings(tmp_path, **changes), None, print)


def test_one_publisher_at_a_time_has_the_records(tmp_path, monkeypatch):
    from edge.core.files.file_lock import file_lock

    monkeypatch.chdir(tmp_path)
    (tmp_path / "records").mkdir()
    with (
        file_lock(tmp_path / "records" / "publish.lock"),
        pytest.raises(RecordError, match="another process publishes records already"),
    ):
        publish(settings(tmp_path), None, print)
