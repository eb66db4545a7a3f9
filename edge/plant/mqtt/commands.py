"""What others may tell a line through the broker, where the settings allow it: which part lies before the camera."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from edge.core.config import PART_NAME
from edge.core.counters import worth_a_line
from edge.core.datatypes import Part, clean_identity
from edge.core.files.atomic_file import write_atomic
from edge.core.files.private_files import FILE_MODE, make_folder

log = logging.getLogger("edge.plant.mqtt")

_LONGEST_MESSAGE = 1024
_KEYS = ("number", "lot")


def part_in_message(payload: bytes) -> Part:
    """The part that a message on `cmd/part` names; raises ValueError that says what is wrong with it.

    JSON: an object with `number`, `lot` or both, text that needs no cleaning. Empty text: no longer known.
    """
    if len(payload) > _LONGEST_MESSAGE:
        raise ValueError(f"{len(payload)} bytes, more than {_LONGEST_MESSAGE}")
    try:
        pairs = json.loads(payload, object_pairs_hook=list)
    # an array nested a thousand times is none of ours, either
    except (ValueError, RecursionError):
        raise ValueError("it is no JSON in UTF-8") from None
    keys = [pair[0] for pair in pairs if isinstance(pair, tuple)] if isinstance(pairs, list) else []
    if not keys or len(keys) != len(pairs) or len(set(keys)) != len(keys) or not set(keys) <= set(_KEYS):
        raise ValueError("it is no object with the keys number and lot, or one of them")
    values = dict(pairs)
    for key, text in values.items():
        if not isinstance(text, str) or clean_identity(text) != text:
            raise ValueError(f"{key} is no text of at most 64 printable characters")
    return Part(**values)


class PartCommand:
    """Takes messages on `cmd/part`: each replaces the file in the line's run directory that the line looks at.

    What cannot be used, or written, is logged. It may have named the next part, so none is known then: none is better
    than an old one. `forget`: whoever tells the part cannot be heard.
    """

    def __init__(self, run_directory: Path) -> None:
        self._file = run_directory / PART_NAME
        self._failures = 0

    def __call__(self, payload: bytes) -> None:
        try:
            part = part_in_message(payload)
            make_folder(self._file.parent)
            write_atomic(self._file, f"number: {part.number}\nlot: {part.lot}\n".encode(), FILE_MODE, sync=False)
        except (OSError, ValueError) as error:
            self._failures += 1
            if worth_a_line(self._failures):
                log.warning("a message on cmd/part was not taken (%d times): %s", self._failures, error)
            self.forget()

    def forget(self) -> None:
        """The line does not know its part any more."""
        try:
            self._file.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError as error:
            log.warning("%s cannot be removed, and may name an old part: %s", self._file, error.strerror)
