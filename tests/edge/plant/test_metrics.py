"""What a scrape of a line says, and what it costs the line: nothing that another program does can hold it up."""

import socket
import urllib.error
import urllib.request
from dataclasses import replace

import pytest

from edge.core.alarms import BURST
from edge.core.config import Settings
from edge.core.counters import RunCounters
from edge.core.datatypes import Decision
from edge.core.errors import MissingDependency, install_extra
from edge.core.sections import MetricsSettings
from edge.monitoring.alarm_log import AlarmLog
from edge.plant.metrics import MetricsServer
from edge.plant.outputs import line_outputs, require_packages
from edge.plant.state import BUCKETS_S, LineInfo, LineStateKeeper
from tests.edge.records.records_fakes import look, wait_for

parser = pytest.importorskip("prometheus_client.parser", reason="the extra `metrics` is not installed")

INFO = LineInfo("left", "fake camera", 'plate "A"', "openvino", "int8")


@pytest.fixture
def line():
    """(keeper, counters, server) of a line that has given four verdicts."""
    counters = RunCounters()
    keeper = LineStateKeeper(INFO, counters, every_s=0.005)
    for index, decision in enumerate((Decision.OK, Decision.NG, Decision.INVALID, Decision.OK)):
        taken, verdict = look(index, decision)
        keeper.write(taken, replace(verdict, times=replace(verdict.times, total=4.0)))
    wait_for(lambda: len(keeper.state.newest) == 4)
    server = MetricsServer("127.0.0.1", 0, lambda: keeper.state)
    yield keeper, counters, server
    server.close()
    keeper.close()


def scrape(server):
    """(family, its labels without the line) → value, read by the official parser."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    samples = [s for family in parser.text_string_to_metric_families(text) for s in family.samples]
    ours = [sample for sample in samples if sample.name.startswith("edge_inspect")]
    assert {sample.labels["line"] for sample in ours} == {"left"}
    return {(s.name, *(v for k, v in s.labels.items() if k != "line")): s.value for s in samples}


def test_a_scrape_has_the_counts_and_times_of_the_line(line):
    _, counters, server = line
    counters.dropped, counters.reconnects, counters.records_lost, counters.beat_ns = 3, 2, 1, 1
    counters.missed_triggers = 5
    alarms = AlarmLog(counters, lambda alarm: None)
    for _ in range(2):
        alarms.begin(BURST, "many rejects", "look")
    wait_for(lambda: scrape(server).get(("edge_inspect_alarms_active", "burst")) == 2)
    values = scrape(server)
    assert values["edge_inspect_verdicts_total", "OK", "below_threshold"] == 2
    assert values["edge_inspect_verdicts_total", "NG", "above_threshold"] == 1
    assert values["edge_inspect_verdicts_total", "INVALID", "black"] == 1
    buckets = {key[1:]: value for key, value in values.items() if key[0] == "edge_inspect_stage_seconds_bucket"}
    total = {bound: value for (bound, stage), value in buckets.items() if stage == "total"}
    assert (total["0.0025"], total["0.005"], total["2.5"], total["+Inf"]) == (0, 3, 3, 3)
    assert len(total) == len(BUCKETS_S) + 1
    assert values["edge_inspect_stage_seconds_count", "total"] == 3
    assert values["edge_inspect_stage_seconds_sum", "total"] == pytest.approx(0.012)
    assert values["edge_inspect_frames_dropped_total",] == 3
    assert values["edge_inspect_camera_reconnects_total",] == 2
    assert values["edge_inspect_records_lost_total",] == 1
    assert values["edge_inspect_plc_missed_triggers_total",] == 5
    assert values["edge_inspect_loop_beat_age_seconds",] > 0
    (info,) = [key for key in values if key[0] == "edge_inspect_bundle_info"]
    assert 'plate "A"' in info and "b" * 64 in info
    assert values["process_resident_memory_bytes",] > 0


def test_only_metrics_are_served(line):
    _, _, server = line
    for path in ("/", "/metrics/../etc", "/status.json"):
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{server.port}{path}", timeout=10)
    request = urllib.request.Request(f"http://127.0.0.1:{server.port}/metrics", data=b"x", method="POST")
    with pytest.raises(urllib.error.HTTPError, match="501"):
        urllib.request.urlopen(request, timeout=10)


def test_silent_and_broken_clients_keep_nobody_for_long(line, capfd):
    _, _, server = line
    silent = socket.create_connection(("127.0.0.1", server.port))
    with socket.create_connection(("127.0.0.1", server.port)) as broken:
        broken.sendall(bytes(range(256)) * 10 + b"\r\n\r\n")
    assert scrape(server)["edge_inspect_verdicts_total", "OK", "below_threshold"] == 2
    silent.close()
    assert "Traceback" not in capfd.readouterr().err


def outputs(port, counters=None):
    counters = counters or RunCounters()
    settings = Settings(metrics=MetricsSettings(port=port))
    alarms = AlarmLog(counters, lambda alarm: None)
    return line_outputs(settings, INFO, counters, lambda: None, alarms), counters


def test_a_port_that_is_taken_is_an_alarm_and_the_line_goes_on(line):
    _, _, server = line
    beside, counters = outputs(server.port)
    (alarm,) = counters.alarms.standing()
    assert f"no metrics: 127.0.0.1, port {server.port}: " in alarm.what
    beside.write(*look(0))
    beside.close()


def test_nothing_is_made_unless_it_is_asked_for():
    assert outputs(None)[0] is None


def test_a_missing_package_is_refused_before_the_line_starts(monkeypatch):
    require_packages(Settings(metrics=MetricsSettings(port=9464)))
    monkeypatch.setattr("edge.system.extras.find_spec", lambda name: None)
    require_packages(Settings())
    with pytest.raises(MissingDependency, match="prometheus_client") as refusal:
        require_packages(Settings(metrics=MetricsSettings(port=9464)))
    assert refusal.value.fix == install_extra("metrics")
