"""The folder of certificates and users, the state in the specification's words, and what is refused at the start."""

import os
import shutil
import time

import pytest

from edge.core.errors import ConfigError, RecordError
from edge.core.files.file_lock import file_lock
from edge.plant.opcua.certificates import MOST_REJECTED, Certificates, new_user, read_users
from edge.plant.opcua.newest_records import NewestRecords
from edge.plant.opcua.vision_state import vision_state
from tests.edge.records.records_fakes import wait_for
from tests.system.command_line import assert_refused, edge, edge_here, running

cryptography = pytest.importorskip("cryptography", reason="cryptography is not installed: no certificates can be made")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Certificates(tmp_path_factory.mktemp("made") / "opcua", "192.168.0.5")


def copy_of(made, folder):
    """The same pair in a folder of one's own; a key takes time to make."""
    folder.mkdir()
    for name in ("own.pem", "own.key"):
        (folder / name).write_bytes((made.folder / name).read_bytes())
        (folder / name).chmod(0o600)
    return folder


def test_the_own_certificate_is_made_once_and_names_the_application_and_the_place(made, tmp_path):
    from cryptography import x509

    names = made.own.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [made.application_uri] == names.get_values_for_type(x509.UniformResourceIdentifier)
    assert [str(each) for each in names.get_values_for_type(x509.IPAddress)] == ["192.168.0.5"]
    assert (made.folder / "own.key").stat().st_mode & 0o777 == 0o600
    again = Certificates(copy_of(made, tmp_path / "again"), "127.0.0.1")
    assert again.own == made.own


def test_files_of_no_use_are_named_with_what_to_do(made, tmp_path):
    def refused(change):
        folder = copy_of(made, tmp_path / change.__name__)
        change(folder)
        with pytest.raises(ConfigError) as caught:
            Certificates(folder, "127.0.0.1")
        return f"{caught.value.message} {caught.value.fix}"

    def open_key(folder):
        (folder / "own.key").chmod(0o640)

    def no_certificate(folder):
        (folder / "own.pem").write_text("nothing")

    def other_key(folder):
        from cryptography.hazmat.primitives import serialization
        from cryptography.hazmat.primitives.asymmetric import ec

        key = ec.generate_private_key(ec.SECP256R1())
        (folder / "own.key").write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    def key_alone(folder):
        (folder / "own.pem").unlink()

    assert "chmod 600" in refused(open_key)
    assert "no certificate in PEM or DER" in refused(no_certificate)
    assert "is not the key of own.pem" in refused(other_key)
    assert "No such file" in refused(key_alone)


def test_a_certificate_is_trusted_as_long_as_its_file_is_there(made, tmp_path):
    from cryptography.hazmat.primitives.serialization import Encoding

    folder = Certificates(copy_of(made, tmp_path / "opcua"), "127.0.0.1")
    der = made.own.public_bytes(Encoding.DER)
    assert (
        folder.trusted_name(der) is None and folder.trusted_name(None) is None and folder.trusted_name(b"\x30") is None
    )
    trusted = folder.folder / "trusted"
    (trusted / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nnothing\n")
    (trusted / "away.pem").symlink_to("/etc/hostname")
    (trusted / "folder").mkdir()
    (trusted / "cell 4.pem").write_bytes(made.own.public_bytes(Encoding.PEM))
    assert folder.trusted_name(der) == "cell 4"
    (trusted / "cell 4.pem").unlink()
    assert folder.trusted_name(der) is None
    # while somebody puts another folder in its place
    trusted.rename(folder.folder / "away")
    assert folder.trusted_name(der) is None


def test_the_folder_of_those_turned_away_does_not_fill(made, tmp_path):
    from cryptography.hazmat.primitives.serialization import Encoding

    folder = Certificates(copy_of(made, tmp_path / "opcua"), "127.0.0.1")
    der = made.own.public_bytes(Encoding.DER)
    assert folder.reject(b"nothing") is None
    assert folder.reject(der).name.startswith("edge-inspect-on-")
    assert folder.reject(der) is None
    (kept,) = (folder.folder / "rejected").iterdir()
    kept.unlink()
    for number in range(MOST_REJECTED):
        (folder.folder / "rejected" / f"{number}.der").touch()
    assert folder.reject(der) is None


def test_a_user_has_the_newest_password_and_the_file_does_not_hold_it(made, tmp_path):
    folder = Certificates(copy_of(made, tmp_path / "opcua"), "127.0.0.1")
    assert not folder.user_may_enter("mes", "")
    old, new = new_user(folder.folder, "mes"), new_user(folder.folder, "mes")
    assert folder.user_may_enter("mes", new)
    assert not folder.user_may_enter("mes", old) and not folder.user_may_enter("scada", new)
    file = folder.folder / "users.json"
    assert new not in file.read_text() and file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="others can read it"):
        read_users(folder.folder)
    file.write_text('{"version": 1, "users": {"mes": 1}}')
    with pytest.raises(ConfigError, match="no file of users"):
        read_users(folder.folder)


STATUS = {
    "running": True, "monotonic_s": 100.0, "beat_age_s": 0.1, "utc": "2026-03-14T08:00:00+00:00", "ready_state": "",
    "camera_state": "running", "record_state": "recording", "recipe": {"changing": False},
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "state", "mode", "words"),
    [
        ({}, "Operational", "ContinuousExecution", "inspecting"),
        ({"record_state": "disk full; 3 verdicts waiting"}, "Operational", "ContinuousExecution", "disk full"),
        ({"ready_state": "NOT READY"}, "Operational", "Initialized", "NOT READY"),
        ({"recipe": {"changing": True}}, "Operational", "Initialized", "another product"),
        ({"beat_age_s": None}, "Preoperational", None, "starting"),
        ({"beat_age_s": 1.9}, "Error", None, "hangs"),
        ({"camera_state": "lost"}, "Error", None, "the camera is lost"),
        ({"monotonic_s": 98.4}, "Error", None, "said nothing for 2 s"),
        ({"monotonic_s": 5000.0}, "Error", None, "since this machine started"),
        ({"running": False}, "Halted", None, "has ended"),
        ({"recipe": None}, "Error", None, "none of a line"),
        ({"beat_age_s": "soon"}, "Error", None, "none of a line"),
        ({"record_state": ["recording"]}, "Error", None, "none of a line"),
    ],
)
def test_the_state_is_never_better_than_what_the_line_says_now(changes, state, mode, words):
    told = vision_state({**STATUS, **changes}, now_s=100.5)
    assert (told.state, told.mode) == (state, mode)
    assert words in told.words


def test_a_line_without_a_status_is_halted():
    assert vision_state(None).state == "Halted"
    assert vision_state({**STATUS, "monotonic_s": time.monotonic()}).state == "Operational"


def test_settings_of_no_use_are_refused_at_once(tmp_path, monkeypatch, capsys):
    pytest.importorskip("asyncua", reason="the extra `opcua` is not installed")
    monkeypatch.chdir(tmp_path)

    def refused(text, *words):
        (tmp_path / "config.yaml").write_text(text)
        assert_refused(edge_here(capsys, "publish"), 2, *words)

    line = "line: {run_directory: run}\n"
    refused(line, "there is nobody to publish to")
    opcua = "opcua: {port: 4840, folder: opcua, nodeset: types.xml}\n"
    refused(line + opcua, "types.xml: No such file", "docs/line/opcua.md")
    (tmp_path / "types.xml").write_text("<UANodeSet/>")
    refused(line + opcua, "is not the nodeset of machine vision")
    (tmp_path / "types.xml").write_text('<UANodeSet a="http://opcfoundation.org/UA/MachineVision"')
    refused(opcua, "line.run_directory is null")
    (tmp_path / "opcua").mkdir()
    with file_lock(tmp_path / "opcua" / "server.lock"):
        refused(line + opcua, "another process serves OPC UA with opcua already")
    shutil.rmtree(tmp_path / "opcua")
    (tmp_path / "opcua").write_text("a file where the folder should be")
    refused(line + opcua, "opcua")
    refused("", "there is nobody to publish to")


def test_a_password_is_made_and_shown_once(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    result = edge_here(capsys, "publish", "--opcua-user", "mes")
    assert_refused(result, 2, "opcua.folder is null")
    (tmp_path / "config.yaml").write_text("opcua: {folder: opcua}\n")
    result = edge_here(capsys, "publish", "--opcua-user", "mes")
    assert result.returncode == 0
    assert read_users(tmp_path / "opcua")["mes"].is_of(result.stdout.strip())


def test_a_nodeset_that_is_cut_off_ends_the_command_with_its_name(tmp_path):
    pytest.importorskip("asyncua", reason="the extra `opcua` is not installed")
    (tmp_path / "types.xml").write_text('<UANodeSet a="http://opcfoundation.org/UA/MachineVision"')
    (tmp_path / "config.yaml").write_text(
        "line: {run_directory: run}\nopcua: {port: 48401, folder: opcua, nodeset: types.xml}\n"
    )
    result = edge("publish", cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert "types.xml cannot be used" in result.stderr and "fix: opcua.nodeset is the file" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_asyncua_without_the_names_that_security_and_delivery_rest_on_is_refused(monkeypatch):
    asyncua = pytest.importorskip("asyncua", reason="the extra `opcua` is not installed")
    from asyncua.server.monitored_item_service import MonitoredItemService

    from edge.plant.opcua.server import check_private_names

    server = asyncua.Server()
    check_private_names(server)
    monkeypatch.delattr(asyncua.Server, "_setup_server_nodes")
    monkeypatch.setattr(MonitoredItemService, "__init__", lambda *_: None)
    with pytest.raises(ConfigError, match="has no _setup_server_nodes, _monitored_events, _monitored_items"):
        check_private_names(server)


def test_mqtt_goes_on_where_opc_ua_cannot_start(tmp_path):
    pytest.importorskip("asyncua", reason="the extra `opcua` is not installed")
    pytest.importorskip("paho.mqtt", reason="the extra `mqtt` is not installed")
    (tmp_path / "config.yaml").write_text(
        "line: {run_directory: run}\nrecord: {directory: records}\nmqtt: {host: 127.0.0.1, port: 1}\n"
        "opcua: {port: 48401, folder: opcua, nodeset: types.xml}\n"
    )
    with running("publish", cwd=tmp_path) as publisher:
        wait_for(lambda: "no connection to the broker" in publisher.errors or publisher.process.poll() is not None)
        assert "OPC UA has failed" in publisher.errors and "types.xml: No such file" in publisher.errors
        assert publisher.process.poll() is None
        publisher.signal()
        assert publisher.ended() == 2
    assert "0 verdicts published" in publisher.errors


@pytest.mark.parametrize(
    ("package", "extra", "section"),
    [
        ("asyncua", "opcua", "opcua: {port: 4840, folder: opcua, nodeset: types.xml}"),
        ("paho", "mqtt", "mqtt: {host: broker}"),
    ],
)
def test_what_is_asked_for_and_not_installed_is_named_with_its_extra(
    tmp_path, monkeypatch, capsys, package, extra, section
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edge.system.extras.find_spec", lambda name: None if name == package else os)
    (tmp_path / "config.yaml").write_text(section)
    assert_refused(edge_here(capsys, "publish"), 2, f"needs {package}", f"edge-inspect[{extra}]")


def test_records_that_cannot_be_looked_at_are_an_expected_error(tmp_path):
    # as a folder that this user may not enter
    with pytest.raises(RecordError, match="File name too long"):
        NewestRecords(tmp_path / ("long" * 80)).read()
