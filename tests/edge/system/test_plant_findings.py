"""What `doctor` says of the surfaces to the plant."""

import pytest

from edge.core.config import Settings
from edge.core.errors import install_extra
from edge.system.findings import State
from edge.system.plant_findings import plant_findings


def findings_of(**sections):
    return {each.name: each for each in plant_findings(Settings.model_validate(sections))}


ALL = {
    "metrics": {"port": 9464}, "mqtt": {"host": "broker"}, "plc": {"port": 1502},
    "outputs": {"chip": "/dev/no such chip", "ok_line": 1}, "channel": {"source": "/mnt/share/bracket"},
}  # fmt: skip


def test_nothing_is_said_of_what_is_not_asked_for():
    assert plant_findings(Settings()) == []


def test_a_package_that_is_missing_is_named_with_its_extra(monkeypatch):
    monkeypatch.setattr("edge.system.extras.find_spec", lambda package: None)
    found = findings_of(**ALL)
    assert {name: each.state for name, each in found.items()} == dict.fromkeys(
        ("sign", "metrics", "mqtt", "plc", "gpio"), State.FAIL
    )
    assert found["plc"].value == "pymodbus is not installed"
    assert found["plc"].fix == install_extra("plc")


def test_a_package_that_is_there_is_named_with_its_version():
    pytest.importorskip("pymodbus", reason="the extra `plc` is not installed")
    found = findings_of(plc={"port": 1502})["plc"]
    assert found.state is State.OK and found.value.startswith("pymodbus 3.16")


def test_opc_ua_without_its_nodeset_is_found(tmp_path):
    pytest.importorskip("asyncua", reason="the extra `opcua` is not installed")
    opcua = {"port": 4840, "folder": str(tmp_path), "nodeset": str(tmp_path / "types.xml")}
    found = findings_of(opcua=opcua)["opcua"]
    assert found.state is State.FAIL and "types.xml: no such file" in found.value
    (tmp_path / "types.xml").touch()
    assert findings_of(opcua=opcua)["opcua"].value.startswith("asyncua 2.1")


def test_a_port_that_needs_a_right_is_a_warning(monkeypatch):
    pytest.importorskip("pymodbus", reason="the extra `plc` is not installed")
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    found = findings_of(plc={"port": 502})["plc"]
    assert found.state is State.WARN and "1502" in found.fix
    assert findings_of(plc={"port": 1502})["plc"].state is State.OK


def test_a_chip_that_cannot_be_used_is_named(monkeypatch, tmp_path):
    pytest.importorskip("gpiod", reason="the extra `gpio` is not installed")
    assert "no such chip" in findings_of(outputs=ALL["outputs"])["gpio"].value
    chip = tmp_path / "gpiochip0"
    chip.touch()
    outputs = {"chip": str(chip), "ok_line": 1}
    assert findings_of(outputs=outputs)["gpio"].state is State.OK
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert "no permission" in findings_of(outputs=outputs)["gpio"].value


def test_the_producers_of_genicam_cameras_are_named(monkeypatch, tmp_path):
    pytest.importorskip("harvesters", reason="the extra `genicam` is not installed")
    monkeypatch.setenv("GENICAM_GENTL64_PATH", f"{tmp_path}/nowhere:{tmp_path}")
    found = findings_of(camera={"source": "genicam:4711"})["genicam"]
    assert found.state is State.FAIL and "no GenTL producer was found" in found.value
    (tmp_path / "maker.cti").touch()
    found = findings_of(camera={"source": "genicam:4711"})["genicam"]
    assert found.state is State.OK and found.value.endswith(f", {tmp_path}/maker.cti")
    named = findings_of(camera={"genicam": {"producers": ["/no/such.cti"]}})["genicam"]
    assert named.state is State.FAIL and "/no/such.cti: no such GenTL producer" in named.value
