"""The files of a service: whole, with commands that this program takes, and printed where they may not be written."""

import configparser
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from edge.cli.parser import parse
from edge.system.service.units import ServicePlan, program_words, service_files, web_files
from tests.system.command_line import assert_refused, edge_here

LINE = "edge-inspect@.service"
PUBLISH = "edge-inspect-publish@.service"
CHANNEL = "edge-inspect-channel@.service"


def unit(text):
    """Its keys; of one that is given several times, all values."""

    class Values(dict):
        def __setitem__(self, key, value):
            if isinstance(value, list) and key in self:
                value = self[key] + value
            super().__setitem__(key, value)

    parser = configparser.RawConfigParser(dict_type=Values, strict=False)
    parser.optionxform = str
    parser.read_string(text)
    return parser


CAMERA = "camera: {source: /dev/video0}\n"


def installed(here, root, settings="", *arguments, camera=CAMERA):
    Path("left.yaml").write_text(camera + settings)
    return edge_here(
        here, "service", "install", "--line", "left", "--config", "left.yaml", "--root", root, *arguments
    )  # fmt: skip


def files(root):
    return {path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()}


def test_unit_user_and_settings_are_written_and_the_next_commands_told(here, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    result = installed(here, root, "view: {refresh_per_second: 2}\n", "--cpus", "0,2-3")
    assert result.returncode == 0, result.stderr
    assert files(root) == {
        "etc/systemd/system/edge-inspect@.service",
        "etc/systemd/system/edge-inspect@left.service.d/line.conf",
        "etc/sysusers.d/edge-inspect.conf",
        "etc/edge-inspect/left.yaml",
    }
    settings = root / "etc/edge-inspect/left.yaml"
    assert settings.read_text() == CAMERA + "view: {refresh_per_second: 2}\n"
    assert settings.stat().st_mode & 0o777 == 0o640
    own = unit((root / "etc/systemd/system/edge-inspect@left.service.d/line.conf").read_text())
    assert own["Service"]["CPUAffinity"] == "0 2-3"
    assert "systemctl enable --now edge-inspect@left\n" in result.stderr


def test_settings_that_are_there_stay_and_units_are_replaced(here, tmp_path):
    root = tmp_path / "root"
    (root / "etc/edge-inspect").mkdir(parents=True)
    (root / "etc/systemd/system").mkdir(parents=True)
    (root / "etc/edge-inspect/left.yaml").write_text("# by hand\n")
    (root / "etc/systemd/system" / LINE).write_text("old")
    result = installed(here, root)
    assert (root / "etc/edge-inspect/left.yaml").read_text() == "# by hand\n"
    assert "stays as it is" in result.stderr
    assert "Type=notify" in (root / "etc/systemd/system" / LINE).read_text()


def test_without_the_right_to_write_everything_is_printed_and_nothing_written(here, tmp_path, monkeypatch):
    root = tmp_path / "root"
    root.mkdir()
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    result = installed(here, root)
    assert result.returncode == 1
    assert "cannot be written by this user: nothing is written" in result.stderr
    assert "# /etc/systemd/system/edge-inspect@.service\n[Unit]" in result.stdout
    assert files(root) == set()


def test_records_elsewhere_may_be_written_and_a_broker_gets_a_service_too(here, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    settings = f"record: {{directory: '{tmp_path}/my 100% records'}}\nmqtt: {{host: broker}}\n"
    result = installed(here, root, settings)
    for name in ("edge-inspect@left", "edge-inspect-publish@left"):
        own = unit((root / f"etc/systemd/system/{name}.service.d/line.conf").read_text())
        assert own["Service"]["ReadWritePaths"] == f'"{tmp_path}/my 100%% records"'
    assert (root / "etc/systemd/system" / PUBLISH).exists()
    assert "enable --now edge-inspect@left edge-inspect-publish@left" in result.stderr
    # cmd/part and cmd/recipe are written into the run directory of the line, which comes and goes with the line
    service = unit((root / "etc/systemd/system" / PUBLISH).read_text())["Service"]
    assert (service["RuntimeDirectory"], service["RuntimeDirectoryPreserve"]) == ("edge-inspect", "yes")


def test_a_channel_is_followed_by_a_service_and_line_and_follower_may_write_the_bundle(here, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    bundle = "inspection: {bundle: /opt/bundles/bracket}\n"
    followed = "channel: {source: https://updates.example/bracket, signed_by: /etc/maker.pub, report: /mnt/share}\n"
    result = installed(here, root, bundle + followed)
    # the line starts without the share, where nothing but reports is written
    for name, written in (
        ("edge-inspect@left", ["/opt/bundles/bracket"]),
        ("edge-inspect-channel@left", ["/opt/bundles/bracket", "-/mnt/share"]),
    ):
        own = (root / f"etc/systemd/system/{name}.service.d/line.conf").read_text()
        assert own.splitlines() == ["[Service]", *(f"ReadWritePaths={path}" for path in written)]
    service = unit((root / "etc/systemd/system" / CHANNEL).read_text())["Service"]
    options = parse(shlex.split(service["ExecStart"])[len(program_words()) :])
    assert (options.command, options.action, str(options.config)) == ("channel", "follow", "/etc/edge-inspect/%i.yaml")
    assert "enable --now edge-inspect@left edge-inspect-channel@left" in result.stderr
    relative = installed(here, root, bundle + followed.replace("/etc/maker.pub", "maker.pub"))
    assert_refused(relative, 2, "maker.pub: a service starts in /var/lib/edge-inspect/left")


def test_opc_ua_gets_the_service_too_with_the_folders_that_it_writes(here, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    lines = "[{name: right, run_directory: /run/edge-inspect/right, records: /data/right}]"
    settings = f"opcua: {{port: 4840, nodeset: /opt/machine-vision.xml, folder: /data/opcua, lines: {lines}}}\n"
    result = installed(here, root, settings)
    assert "enable --now edge-inspect@left edge-inspect-publish@left" in result.stderr
    own = (root / "etc/systemd/system/edge-inspect-publish@left.service.d/line.conf").read_text()
    assert own.splitlines() == ["[Service]", "ReadWritePaths=-/data/opcua", "ReadWritePaths=-/data/right"]


def test_paths_that_a_service_would_not_find_are_refused(here, tmp_path):
    result = installed(here, tmp_path / "root", "inspection: {bundle: bundles/bracket}\n")
    assert_refused(result, 2, "bundles/bracket: a service starts in /var/lib/edge-inspect/left")


def test_a_service_without_a_camera_is_refused(here, tmp_path):
    assert_refused(installed(here, tmp_path / "root", camera="{}"), 2, "camera.source is null in left.yaml")


def test_names_and_cores_that_are_none_are_refused(here, tmp_path):
    for arguments, words in [
        (("--line", "a/b"), "--line"),
        (("--line", "left", "--cpus", "all"), "is no list of cores"),
        ((), "--line"),
    ]:
        assert_refused(edge_here(here, "service", "install", *arguments), 2, words)


@pytest.mark.parametrize("name", [LINE, PUBLISH])
def test_the_command_of_a_unit_is_one_that_this_program_takes(name):
    (file,) = [file for file in service_files(ServicePlan("left", published=True)) if file.path.name == name]
    words = shlex.split(unit(file.text)["Service"]["ExecStart"])
    program = list(program_words())
    assert words[: len(program)] == program
    options = parse(words[len(program) :])
    assert options.command == ("run" if name == LINE else "publish")
    assert (options.line, str(options.run_directory)) == ("%i", "/run/edge-inspect/%i")


WEB = """web:
  lines:
    - {name: left, run_directory: /run/edge-inspect/left, records: /data/left}
    - {name: right, run_directory: /run/edge-inspect/right, bundle: /opt/bundles/right}
"""


def test_the_pages_of_all_lines_are_one_service(here, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    Path("web.yaml").write_text(WEB)
    result = edge_here(here, "service", "install", "--web", "--config", "web.yaml", "--root", root)
    assert result.returncode == 0, result.stderr
    assert files(root) == {
        "etc/systemd/system/edge-inspect-web.service",
        "etc/systemd/system/edge-inspect-web.service.d/line.conf",
        "etc/sysusers.d/edge-inspect.conf",
        "etc/edge-inspect/web.yaml",
    }
    own = (root / "etc/systemd/system/edge-inspect-web.service.d/line.conf").read_text()
    assert own.splitlines()[1:] == ["ReadWritePaths=-/data/left", "ReadWritePaths=-/opt/bundles/right"]
    whole = unit((root / "etc/systemd/system/edge-inspect-web.service").read_text())["Service"]
    words = shlex.split(whole["ExecStart"])[len(program_words()) :]
    assert parse(words).command == "web" and whole["Nice"] == "10"
    assert "systemctl enable --now edge-inspect-web\n" in result.stderr


def test_pages_without_lines_or_with_paths_of_no_use_are_refused(here, tmp_path):
    Path("web.yaml").write_text("web: {lines: [{name: left, records: records}]}\n")
    for arguments, words in [
        ((), "web.lines names no line"),
        (("--config", "web.yaml"), "records: a service does not find this"),
        (("--line", "left"), "not allowed with"),
    ]:
        result = edge_here(here, "service", "install", "--web", *arguments, "--root", tmp_path)
        assert_refused(result, 2, words)


def test_a_program_in_a_home_can_be_read_there(monkeypatch, tmp_path):
    def home(prefix):
        monkeypatch.setattr(sys, "base_prefix", str(prefix))
        return unit(service_files(ServicePlan("left", read=(Path("/opt/bundle"),)))[0].text)["Service"]["ProtectHome"]

    monkeypatch.setattr(sys, "prefix", "/opt/edge-inspect")
    monkeypatch.setattr(sys, "executable", "/opt/edge-inspect/bin/python")
    assert home("/usr") == "yes"
    assert home("/home/operator/.local") == "read-only"


def test_systemd_takes_the_units_and_finds_them_closed(tmp_path):
    if shutil.which("systemd-analyze") is None:
        pytest.skip("systemd-analyze is not installed: units cannot be checked")
    plan = ServicePlan("left", cpus="0", published=True, writable=(tmp_path / "my 100% records",))
    paths = []
    for file in service_files(plan):
        if file.path.suffix == ".service":
            # a template is checked as one of its services
            paths.append(tmp_path / file.path.name.replace("@.", "@left."))
            paths[-1].write_text(file.text)
    for file in web_files("", (), (tmp_path / "my 100% records",)):
        if file.path.suffix == ".service":
            paths.append(tmp_path / file.path.name)
            paths[-1].write_text(file.text)
    assert len(paths) == 3
    checked = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True)
    assert checked.returncode == 0 and checked.stderr == "", checked.stderr
    for path in paths:
        command = ["systemd-analyze", "security", "--offline=yes", "--threshold=30", path]
        closed = subprocess.run(command, capture_output=True, text=True)
        if "unrecognized option" in closed.stderr:
            pytest.skip("this systemd cannot tell how closed a unit is")
        # 3.0 of 10, the lower the closer
        assert closed.returncode == 0, closed.stdout[-300:] + closed.stderr
