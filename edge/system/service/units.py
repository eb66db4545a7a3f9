"""The files that make a line a service of systemd."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

UNITS = Path("/etc/systemd/system")
SETTINGS = Path("/etc/edge-inspect")
STATE = Path("/var/lib/edge-inspect")
RUN = Path("/run/edge-inspect")
USER = "edge-inspect"
_HOMES = (Path("/home"), Path("/root"), Path("/run/user"))
_PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/_-.+:,@")

# what a line needs is open: the network, cameras, GPUs, its own folders. Writable code stays: networks are compiled
_SANDBOX = """\
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ProtectHome={home}
PrivateTmp=yes
ProtectProc=invisible
ProtectClock=yes
ProtectHostname=yes
ProtectKernelLogs=yes
ProtectKernelModules=yes
ProtectKernelTunables=yes
ProtectControlGroups=yes
RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
RemoveIPC=yes
KeyringMode=private
UMask=0027
"""

_LINE = """\
[Unit]
Description=edge-inspect, line %i
Wants=network-online.target
After=network-online.target
# a line is started again for ever
StartLimitIntervalSec=0

[Service]
Type=notify
ExecStart={program} run --config {settings}/%i.yaml --line %i --run-directory {run}/%i
User={user}
SupplementaryGroups=video
WorkingDirectory={state}/%i
# compiled kernels of a GPU
Environment=XDG_CACHE_HOME={state}/%i/cache
StateDirectory=edge-inspect/%i
StateDirectoryMode=0750
RuntimeDirectory=edge-inspect/%i
RuntimeDirectoryMode=0750

# fed while inspection comes round; a process that hangs cannot be asked to end
WatchdogSec=10
WatchdogSignal=SIGKILL
Restart=always
RestartSec=2
# loading a network and opening a camera; saving what waits
TimeoutStartSec=300
TimeoutStopSec=60
# the exit code of a stop
SuccessExitStatus=130

DevicePolicy=closed
DeviceAllow=char-video4linux rw
DeviceAllow=char-gpiochip rw
DeviceAllow=char-nvidia* rw
{sandbox}
[Install]
WantedBy=multi-user.target
"""

# what runs beside a line, and is not waited for by it
_BESIDE = """\
[Unit]
Description=edge-inspect, {what} of line %i
Wants=network-online.target
After=network-online.target edge-inspect@%i.service
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={program} {command}
User={user}
WorkingDirectory={state}/%i
StateDirectory=edge-inspect/%i
StateDirectoryMode=0750
# what is asked of a line goes through its run directory, which a line that is started again makes anew
RuntimeDirectory=edge-inspect
RuntimeDirectoryMode=0750
RuntimeDirectoryPreserve=yes
Restart=always
RestartSec=10
SuccessExitStatus=130
Nice=10
DevicePolicy=closed
{sandbox}
[Install]
WantedBy=multi-user.target
"""

# one for all lines; it makes their folder in /run, where it tells a line that somebody looks
_WEB = """\
[Unit]
Description=edge-inspect, pages
Wants=network-online.target
After=network-online.target
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart={program} web --config {settings}/web.yaml
User={user}
WorkingDirectory={state}
StateDirectory=edge-inspect
StateDirectoryMode=0750
RuntimeDirectory=edge-inspect
RuntimeDirectoryMode=0750
RuntimeDirectoryPreserve=yes
Restart=always
RestartSec=5
SuccessExitStatus=130
Nice=10
DevicePolicy=closed
{sandbox}
[Install]
WantedBy=multi-user.target
"""
_PUBLISH = f"publish --config {SETTINGS}/%i.yaml --line %i --run-directory {RUN}/%i"
_FOLLOW = f"channel follow --config {SETTINGS}/%i.yaml"
WEB_UNIT, WEB_SETTINGS = "edge-inspect-web.service", "web.yaml"


@dataclass(frozen=True)
class ServiceFile:
    """mode: of the file. keep: a file that is there already stays as it is."""

    path: Path
    text: str
    mode: int = 0o644
    keep: bool = False


@dataclass(frozen=True)
class ServicePlan:
    """line: its name. cpus: cores that it may use, such as 0-1,4; None: all. settings: the text of its settings file;
    None: that will be put in place by hand. writable: folders beside its own that it writes into. read: files and
    folders that it reads. published: to a broker or over OPC UA. served: folders that its publisher writes into.
    channel: also follow the channel of its bundle. reported: folders that its follower writes into.
    """

    line: str
    cpus: str | None = None
    settings: str | None = None
    writable: tuple[Path, ...] = ()
    read: tuple[Path, ...] = ()
    published: bool = False
    served: tuple[Path, ...] = ()
    channel: bool = False
    reported: tuple[Path, ...] = ()

    @property
    def units_beside(self) -> list[tuple[str, str, str, tuple[Path, ...]]]:
        """(unit, what it is, its command, folders of its own that it writes into) of each that runs beside the line."""
        publish = [("edge-inspect-publish", "MQTT and OPC UA", _PUBLISH, self.served)] if self.published else []
        return publish + ([("edge-inspect-channel", "channel", _FOLLOW, self.reported)] if self.channel else [])


def service_files(plan: ServicePlan) -> list[ServiceFile]:
    """What `service install` writes."""
    values = _values(plan.read)
    files = [ServiceFile(UNITS / "edge-inspect@.service", _LINE.format(**values))]
    cpus = [f"CPUAffinity={plan.cpus.replace(',', ' ')}"] if plan.cpus else []
    writable = [f"ReadWritePaths={_word(str(path))}" for path in plan.writable]
    files += _own_part(f"edge-inspect@{plan.line}", [*cpus, *writable])
    for unit, what, command, own in plan.units_beside:
        files.append(ServiceFile(UNITS / f"{unit}@.service", _BESIDE.format(**values, what=what, command=command)))
        served = [f"ReadWritePaths=-{_word(str(path))}" for path in own]
        files += _own_part(f"{unit}@{plan.line}", [*writable, *served])
    files.append(_user_file())
    if plan.settings is not None:
        # it may hold the address of a camera with its password
        files.append(ServiceFile(SETTINGS / f"{plan.line}.yaml", plan.settings, 0o640, keep=True))
    return files


def web_files(settings: str, read: Sequence[Path], writable: Sequence[Path]) -> list[ServiceFile]:
    """What `service install --web` writes. settings: the text of the settings file, which names the lines.

    read, writable: files and folders that the pages read, and those beside the lines' own that they write into: the
    records, for what people say of them.
    """
    files = [ServiceFile(UNITS / WEB_UNIT, _WEB.format(**_values(read)))]
    files += _own_part(WEB_UNIT.removesuffix(".service"), [f"ReadWritePaths=-{_word(str(path))}" for path in writable])
    return [*files, _user_file(), ServiceFile(SETTINGS / WEB_SETTINGS, settings, 0o640, keep=True)]


def _values(read: Sequence[Path]) -> dict[str, object]:
    """What stands in every unit. read: files and folders that its program reads."""
    program = program_words()
    paths = (Path(program[0]), Path(sys.base_prefix), *read)
    at_home = any(path.is_relative_to(home) for path in paths for home in _HOMES)
    return {
        "program": " ".join(map(_word, program)),
        "settings": SETTINGS,
        "state": STATE,
        "run": RUN,
        "user": USER,
        "sandbox": _SANDBOX.format(home="read-only" if at_home else "yes"),
    }


def _user_file() -> ServiceFile:
    return ServiceFile(Path("/etc/sysusers.d/edge-inspect.conf"), f'u {USER} - "edge-inspect lines" {STATE}\n')


def _own_part(unit: str, lines: Sequence[str]) -> list[ServiceFile]:
    """What one line has beside the unit of all lines."""
    text = "\n".join(["[Service]", *lines, ""])
    return [ServiceFile(UNITS / f"{unit}.service.d" / "line.conf", text)] if lines else []


def next_commands(plan: ServicePlan) -> list[str]:
    """What is to be done by root after the files are there."""
    units = [f"edge-inspect@{plan.line}", *(f"{unit}@{plan.line}" for unit, *_ in plan.units_beside)]
    return _commands(f"{plan.line}.yaml", units)


def next_web_commands() -> list[str]:
    """The same for the pages."""
    return _commands(WEB_SETTINGS, [WEB_UNIT.removesuffix(".service")])


def _commands(settings: str, units: Sequence[str]) -> list[str]:
    return ["systemd-sysusers", f"chgrp {USER} {SETTINGS / settings}", "systemctl daemon-reload",
            f"systemctl enable --now {' '.join(units)}"]  # fmt: skip


def program_words() -> Sequence[str]:
    """How this installation is started."""
    program = Path(sys.prefix) / "bin" / "edge-inspect"
    return (str(program),) if program.exists() else (sys.executable, "-m", "edge")


def _word(text: str) -> str:
    """One word of a unit file, where % and quotation marks have a meaning."""
    text = text.replace("%", "%%")
    if set(text) <= _PLAIN | {"%"}:
        return text
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
