"""What the sections of the settings are made of, and those that other programs of the plant go by.

Like edge/core/config.py this imports neither cv2 nor numpy.
"""

from __future__ import annotations

import os
import re
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator


class Section(BaseModel):
    """Frozen, and strict: an unknown key or a value of another type is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def at_home(path: str) -> str:
    """The path with `~` and `~user` replaced by that user's home; raises ValueError when there is no such user."""
    found = os.path.expanduser(path)  # noqa: PTH111 - pathlib raises RuntimeError
    if found.startswith("~"):
        raise ValueError(f"{path}: no home of such a user is known; write ./{path} for a folder of that name")
    return found


Positive = Annotated[float, Field(gt=0)]
PositiveInt = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(ge=0, le=1)]
Level = Annotated[int, Field(ge=0, le=255)]
PathText = Annotated[str, AfterValidator(at_home)]
Host = Annotated[str, Field(min_length=1)]
Port = Annotated[int, Field(ge=1, le=65535)]
# part of topics, file names and labels
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]


class LineSettings(Section):
    name: Name = "line"
    run_directory: PathText | None = None


class GenICamSettings(Section):
    producers: list[PathText] = []
    exposure_us: Positive | None = None
    gain_db: Annotated[float, Field(ge=0)] | None = None
    pixel_format: Name | None = None
    packet_bytes: Annotated[int, Field(ge=220, le=65536)] | None = None
    trigger_source: Name | None = None


class PartSettings(Section):
    file: PathText | None = None


class MetricsSettings(Section):
    port: Port | None = None
    # an empty one would mean every network card
    address: Host = "127.0.0.1"


class MqttSettings(Section):
    host: Host | None = None
    port: Port | None = None
    site: Name = "site"
    user: str | None = None
    password_file: PathText | None = None
    tls: bool = False
    ca_file: PathText | None = None
    certificate_file: PathText | None = None
    key_file: PathText | None = None
    accept_part: bool = False
    accept_recipe: bool = False

    @model_validator(mode="after")
    def _consistent(self) -> MqttSettings:
        if self.password_file is not None and self.user is None:
            raise ValueError("password_file needs user")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together: give both or neither")
        if not self.tls and (self.ca_file is not None or self.certificate_file is not None):
            raise ValueError("ca_file, certificate_file and key_file need tls: true")
        return self


class OpcUaLineSettings(Section):
    name: Name
    run_directory: PathText
    records: PathText


class OpcUaSettings(Section):
    port: Port | None = None
    address: Host = "127.0.0.1"
    nodeset: PathText | None = None
    folder: PathText | None = None
    lines: list[OpcUaLineSettings] = []

    @model_validator(mode="after")
    def _consistent(self) -> OpcUaSettings:
        if self.port is not None and (self.nodeset is None or self.folder is None):
            raise ValueError("port needs nodeset, the official file of types, and folder, for certificates")
        names = [line.name for line in self.lines]
        if len(set(names)) < len(names):
            raise ValueError("two lines have the same name")
        return self


class PlcSettings(Section):
    port: Port | None = None
    address: Host = "127.0.0.1"
    allow: list[str] = []
    ack_timeout_ms: Annotated[int, Field(ge=50)] = 2000
    silent_after_ms: Annotated[int, Field(ge=200)] = 1000
    pass_unrecorded: bool = False

    @property
    def networks(self) -> list[IPv4Network | IPv6Network]:
        """Whose connections are taken; this machine alone where nothing is allowed."""
        return [ip_network(text) for text in self.allow or ("127.0.0.0/8", "::1/128")]

    @model_validator(mode="after")
    def _consistent(self) -> PlcSettings:
        for text in self.allow:
            try:
                ip_network(text)
            except ValueError as error:
                raise ValueError(f"allow: {error}; write 192.168.0.10, or a network as 192.168.0.0/28") from None
        if self.port is not None and not self.allow and not _is_loopback(self.address):
            raise ValueError(
                f"address {self.address} can be reached by other machines: allow must name the PLC's address"
            )
        return self


def _is_loopback(address: str) -> bool:
    try:
        return address == "localhost" or ip_address(address).is_loopback
    except ValueError:
        return False


Line = Annotated[int, Field(ge=0, le=1023)]


class OutputSettings(Section):
    chip: PathText | None = None
    ok_line: Line | None = None
    ng_line: Line | None = None
    heartbeat_line: Line | None = None
    ok_ms: Annotated[int, Field(ge=10, le=1000)] = 100

    @model_validator(mode="after")
    def _consistent(self) -> OutputSettings:
        lines = [line for line in (self.ok_line, self.ng_line, self.heartbeat_line) if line is not None]
        if (self.chip is None) != (self.ok_line is None):
            raise ValueError("chip and ok_line go together: give both or neither")
        if lines and self.chip is None:
            raise ValueError("ng_line and heartbeat_line need chip and ok_line")
        if len(set(lines)) < len(lines):
            raise ValueError(f"ok_line, ng_line and heartbeat_line must be different lines, got {lines}")
        return self


class RecipesSettings(Section):
    file: PathText | None = None
    start: Name | None = None
    keep_loaded: Annotated[int, Field(ge=1, le=64)] = 2

    @model_validator(mode="after")
    def _consistent(self) -> RecipesSettings:
        if self.file is None and self.start is not None:
            raise ValueError("start needs file: it names a recipe of that file")
        return self


# quarters of an hour: records are counted by them
ShiftStart = Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):(00|15|30|45)$")]


class WebLineSettings(Section):
    name: Name
    run_directory: PathText | None = None
    records: PathText | None = None
    bundle: PathText | None = None


class WebSettings(Section):
    port: Port = 8080
    address: Host = "127.0.0.1"
    hosts: list[Host] = []
    lines: list[WebLineSettings] = []
    shifts: Annotated[list[ShiftStart], Field(min_length=1)] = ["06:00", "14:00", "22:00"]
    tokens_file: PathText | None = None
    certificate_file: PathText | None = None
    key_file: PathText | None = None

    @model_validator(mode="after")
    def _consistent(self) -> WebSettings:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together: give both or neither")
        names = [line.name for line in self.lines]
        if len(set(names)) < len(names):
            raise ValueError("two lines have the same name")
        if sorted(set(self.shifts)) != self.shifts:
            raise ValueError("shifts must be in the order of the day, each once")
        return self


class ChannelSettings(Section):
    source: PathText | None = None
    signed_by: PathText | None = None
    ca_file: PathText | None = None
    certificate_file: PathText | None = None
    key_file: PathText | None = None
    poll_s: Annotated[float, Field(ge=1)] = 300
    box: Name | None = None
    ring: Annotated[int, Field(ge=1, le=3)] | None = None
    trial_frames: Annotated[int, Field(ge=0)] = 300
    trial_limit: Share = 0.01
    trial_silence_s: Annotated[float, Field(ge=30)] = 900
    report: PathText | None = None

    @model_validator(mode="after")
    def _consistent(self) -> ChannelSettings:
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together: give both or neither")
        for name, value in (("source", self.source), ("report", self.report)):
            if value is not None and is_address(value):
                _refuse_unsafe_address(name, value)
        return self


def is_address(text: str) -> bool:
    """Whether this names a server, and no folder."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def _refuse_unsafe_address(name: str, text: str) -> None:
    """Addresses are read by others, so a secret does not belong there; what is not encrypted can be held back."""
    parts = urlsplit(text)
    # ValueError for a port that is none
    if parts.scheme not in ("https", "http") or not parts.hostname or parts.port == 0:
        raise ValueError(f"{name} is no https:// address with a host, and no folder")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError(f"{name} has a user, a ? or a #: give host, port and path; a box is known by certificate_file")
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise ValueError(f"{name} is a http:// address: only https:// is followed, and http:// on this machine itself")


class ServiceSettings(Section):
    restart_after_s: Positive = 30


class LoggingSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "warning"
