"""`edge-inspect publish` against a real broker, which is killed under load; and its TLS and password."""

import signal

import pytest

from tests.edge.plant.mqtt.mosquitto import PASSWORD, USER, WAIT_S, Mosquitto, Subscriber, make_certificates
from tests.edge.plant.recording_line import Line
from tests.edge.records.records_fakes import stored, wait_for
from tests.system.command_line import running

pytestmark = pytest.mark.mosquitto
pytest.importorskip("paho.mqtt.client", reason="the extra `mqtt` is not installed")


@pytest.fixture
def broker(tmp_path):
    broker = Mosquitto(tmp_path / "broker")
    yield broker
    broker.kill()


@pytest.fixture
def subscriber(broker):
    subscriber = Subscriber(broker)
    yield subscriber
    subscriber.close()


def write_settings(folder, broker, password=PASSWORD, extra=""):
    (folder / "password").write_text(password + "\n")
    (folder / "password").chmod(0o640)
    (folder / "config.yaml").write_text(
        f"line: {{name: left, run_directory: run}}\n"
        f"mqtt: {{host: 127.0.0.1, port: {broker.port}, site: hall, user: {USER}, password_file: password{extra}}}\n"
    )


def test_every_verdict_arrives_although_the_broker_is_killed_under_load(broker, subscriber, tmp_path):
    write_settings(tmp_path, broker)
    with running("publish", "--from-beginning", cwd=tmp_path) as publisher:
        line = Line(tmp_path)
        wait_for(lambda: len(subscriber.of("verdict")) > 50, WAIT_S)
        broker.kill()
        before = line.counters.recorded
        wait_for(lambda: line.counters.recorded > before + 300, WAIT_S)
        broker.start()
        wait_for(lambda: len(subscriber.of("verdict")) > before, WAIT_S)
        line.end()
        rows = {record.id for record in stored(tmp_path / "records")}
        assert len(rows) == line.counters.recorded > 350
        wait_for(lambda: {verdict["row"] for verdict in subscriber.of("verdict")} == rows, WAIT_S)
        publisher.signal(signal.SIGTERM)
        assert publisher.ended() == 130
    assert f"{len(rows)} verdicts published" in publisher.errors
    assert "has gone" in publisher.errors and "Traceback" not in publisher.errors


def test_a_killed_publisher_is_offline_and_its_successor_leaves_nothing_out(broker, subscriber, tmp_path):
    write_settings(tmp_path, broker)
    line = Line(tmp_path)
    with running("publish", "--from-beginning", cwd=tmp_path) as publisher:
        wait_for(lambda: subscriber.of("status")[-1:] == ["online"], WAIT_S)
        wait_for(lambda: len(subscriber.of("verdict")) > 50, WAIT_S)
        publisher.signal(signal.SIGKILL)
        publisher.ended()
    wait_for(lambda: subscriber.of("status")[-1] == "offline", WAIT_S)
    with running("publish", cwd=tmp_path):
        wait_for(lambda: subscriber.of("status")[-1] == "online", WAIT_S)
        line.end()
        rows = {record.id for record in stored(tmp_path / "records")}
        wait_for(lambda: {verdict["row"] for verdict in subscriber.of("verdict")} == rows, WAIT_S)
        # the line has ended, the publisher goes on
        wait_for(lambda: subscriber.of("status")[-1] == "offline", WAIT_S)


def test_a_part_is_taken_from_the_broker_where_the_settings_allow_it(broker, subscriber, tmp_path):
    topic, part = "edge-inspect/hall/left/cmd/part", tmp_path / "run" / "part.txt"
    subscriber.say(topic, {"number": "of yesterday"}, retain=True)
    write_settings(tmp_path, broker, extra=", accept_part: true")
    part.parent.mkdir(exist_ok=True)
    part.write_text("number: of an hour ago")
    with running("publish", cwd=tmp_path) as publisher:
        wait_for(lambda: "a retained message was left" in publisher.errors, WAIT_S)
        assert not part.exists(), "neither the retained one nor that of an earlier publisher"
        subscriber.say(topic, {"number": "4711", "lot": "L7"})
        wait_for(lambda: part.exists() and part.read_text() == "number: 4711\nlot: L7\n", WAIT_S)
        subscriber.say(topic, ["4712"])
        wait_for(lambda: "cmd/part was not taken" in publisher.errors and not part.exists(), WAIT_S)
        subscriber.say(topic, {"number": "4713"})
        wait_for(part.exists, WAIT_S)
        broker.kill()
        wait_for(lambda: not part.exists(), WAIT_S)
        broker.start()
    write_settings(tmp_path, broker)
    with running("publish", cwd=tmp_path):
        told = len(subscriber.of("status"))
        wait_for(lambda: len(subscriber.of("status")) > told, WAIT_S)
        subscriber.say(topic, {"number": "4713"})
        subscriber.say(topic.replace("cmd", "verdict"), {})
        wait_for(lambda: {} in subscriber.of("part"), WAIT_S)
        assert not part.exists()


def test_a_wrong_password_is_told_and_nothing_is_published(broker, subscriber, tmp_path):
    write_settings(tmp_path, broker, password="guessed")
    with running("publish", cwd=tmp_path) as publisher:
        wait_for(lambda: "Not authorized" in publisher.errors, WAIT_S)
        publisher.signal(signal.SIGTERM)
        assert publisher.ended() == 130
    assert subscriber.messages == []
    assert "guessed" not in publisher.errors


def test_tls_takes_a_broker_whose_certificate_fits_and_no_other(tmp_path):
    certificates = make_certificates(tmp_path / "certificates")
    broker = Mosquitto(tmp_path / "broker", certificates)
    try:
        subscriber = Subscriber(broker, certificates)
        write_settings(tmp_path, broker, extra=", tls: true, ca_file: certificates/stranger.pem")
        with running("publish", cwd=tmp_path) as publisher:
            wait_for(lambda: "certificate verify failed" in publisher.errors, WAIT_S)
        assert subscriber.messages == []
        write_settings(tmp_path, broker, extra=", tls: true, ca_file: certificates/ca.pem")
        with running("publish", cwd=tmp_path):
            wait_for(lambda: subscriber.of("status") == ["offline"], WAIT_S)
        subscriber.close()
    finally:
        broker.kill()


def test_files_of_no_use_are_named(tmp_path):
    settings = "mqtt: {host: 127.0.0.1, port: 1, site: hall, tls: true, ca_file: nothing.pem}\n"
    (tmp_path / "config.yaml").write_text("line: {name: left, run_directory: run}\n" + settings)
    with running("publish", cwd=tmp_path) as publisher:
        assert publisher.ended() == 2
    assert "TLS cannot be used with mqtt.ca_file" in publisher.errors
    assert "fix:" in publisher.errors
