"""What the sections of the settings are made of, and those that other programs of the plant go by.

Like edge/core/config.py this imports neither cv2 nor numpy.
"""

from __future__ import annotations

import os
from typing import Annotated, Literal

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

    @model_validator(mode="after")
    def _consistent(self) -> MqttSettings:
        if self.password_file is not None and self.user is None:
            raise ValueError("password_file needs user")
        if (self.certificate_file is None) != (self.key_file is None):
            raise ValueError("certificate_file and key_file go together: give both or neither")
        if not self.tls and (self.ca_file is not None or self.certificate_file is not None):
            raise ValueError("ca_file, certificate_file and key_file need tls: true")
        return self


class ServiceSettings(Section):
    restart_after_s: Positive = 30


class LoggingSettings(Section):
    level: Literal["debug", "info", "warning", "error"] = "warning"
