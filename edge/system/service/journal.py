"""Lines for the journal of systemd, with the level that `journalctl -p` goes by."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping

# the numbers of syslog, sd-daemon(3)
_ERROR, _WARNING, _INFO, _DEBUG = 3, 4, 6, 7


def writes_to_journal(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether standard error leads to the journal, and to nowhere that it was diverted to since."""
    try:
        state = os.fstat(2)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{state.st_dev}:{state.st_ino}"


def with_level(text: str, level: int) -> str:
    """Every line of the text with its level. level: of `logging`."""
    number = next(
        (number for limit, number in ((logging.ERROR, _ERROR), (logging.WARNING, _WARNING), (logging.INFO, _INFO))
         if level >= limit), _DEBUG,
    )  # fmt: skip
    return "\n".join(f"<{number}>{line}" for line in text.splitlines())
