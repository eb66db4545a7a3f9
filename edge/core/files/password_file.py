"""Passwords that stand in files, so that no settings file and no list of processes shows them."""

from __future__ import annotations

import logging
import os
import stat
from pathlib import Path

from edge.core.errors import ConfigError

log = logging.getLogger(__name__)

_LONGEST_PASSWORD = 1024


def read_password(path: Path, key: str, of: str) -> str:
    """The only line of a text file. key: the setting that names the file; of: whose password it is, in words.

    A file that every user can read is logged. Raises ConfigError for a useless file.
    """
    fix = f"{key} names a text file (UTF-8) whose only line is the {of}'s password"
    try:
        with path.open("rb") as file:
            data = file.read(_LONGEST_PASSWORD + 1)
        warn_if_others_can_read(path)
        password = data.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}", fix=fix) from error
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text", fix=fix) from None
    if not password or "\n" in password or len(data) > _LONGEST_PASSWORD:
        raise ConfigError(f"{path}: empty, or more than one line", fix=fix)
    return password


def warn_if_others_can_read(path: Path) -> None:
    """Log it when a file that holds a password can be read by every user of this machine."""
    mode = stat.S_IMODE(path.stat().st_mode)
    if os.name == "posix" and mode & stat.S_IROTH:
        log.warning("%s may hold a password, and every user can read it (mode %04o): chmod 640 %s", path, mode, path)
