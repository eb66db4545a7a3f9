"""Who changed a bundle, when, from what and why: history.jsonl, one line for each change, only ever appended to.

A line is on disk before the change that it describes. What comes after the line shows whether the change happened:
where a power cut prevented it, the next line, or the bundle, is still at the version before. So a version that is live
always has its line.
"""

from __future__ import annotations

import getpass
import json
import os
import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from edge import __version__
from edge.core.errors import BundleError
from edge.core.files.atomic_file import sync_directory
from edge.core.files.safe_file import read_safe
from edge.core.files.text_names import storable

HISTORY = "history.jsonl"
_MAXIMUM_BYTES = 64_000_000


def _as_text(value: Any) -> Any:
    return storable(value) if isinstance(value, str) else value


# folders, files and notes may have names that are no text
_Text = Annotated[str, BeforeValidator(_as_text)]


class SampleSet(BaseModel):
    """The pictures that a change was made from. sha256: of the pixel hashes of those used, sorted.

    folder: where they lay, as given to the command. rejected: what could not be used, by reason. quarantined: names of
    those set aside as suspicious.
    """

    model_config = ConfigDict(frozen=True)

    folder: _Text
    count: int
    sha256: str
    rejected: dict[str, int] = {}
    quarantined: tuple[_Text, ...] = ()


class HistoryEntry(BaseModel):
    """One change. before, after: hashes of the live manifest; before is None for the first. changed, gate: for people.

    refused: nothing was changed, because the attempt came to nothing; before and after are then the live version.
    `changed` is found by comparing the two versions, `gate` is the result of the gate, `note` what the command adds.
    """

    # a newer program may write more than this one knows
    model_config = ConfigDict(frozen=True, extra="ignore")

    utc: str
    who: _Text
    action: str
    before: str | None
    after: str
    changed: tuple[_Text, ...] = ()
    samples: SampleSet | None = None
    gate: tuple[_Text, ...] = ()
    note: _Text = ""
    refused: bool = False
    software: str = __version__


def whoever_runs_this() -> str:
    """user@host, for the record; a user without a name is its number."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = f"uid {os.getuid()}" if hasattr(os, "getuid") else "unknown"
    return f"{user}@{socket.gethostname()}"


@dataclass(frozen=True)
class Audit:
    """What a command knows of the change that it makes: goes into the history together with what changed.

    action: the command's name. gate: the result of the gate, a line each.
    """

    action: str
    samples: SampleSet | None = None
    gate: Sequence[str] = ()
    note: str = ""
    who: str = field(default_factory=whoever_runs_this)

    def entry(self, before: str | None, after: str, changed: Iterable[str]) -> HistoryEntry:
        return HistoryEntry(
            utc=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            who=self.who,
            action=self.action,
            before=before,
            after=after,
            changed=tuple(changed),
            samples=self.samples,
            gate=tuple(self.gate),
            note=self.note,
        )


def append_entry(path: Path, entry: HistoryEntry) -> None:
    """Add a line to the history of the bundle at `path`, and have it on disk before this returns."""
    file = path / HISTORY
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | getattr(os, "O_NOFOLLOW", 0), 0o644)
        with os.fdopen(descriptor, "r+b") as opened:
            size = opened.seek(0, os.SEEK_END)
            # a line that a power cut left unfinished must not swallow this one
            torn = size > 0 and (opened.seek(size - 1), opened.read(1))[1] != b"\n"
            opened.write((b"\n" if torn else b"") + entry.model_dump_json().encode() + b"\n")
            opened.flush()
            os.fsync(descriptor)
        sync_directory(path)
    except OSError as error:
        raise BundleError(f"{file}: {error.strerror}", fix="free some space or choose a writable directory") from error


def read_history(path: Path) -> list[HistoryEntry]:
    """All changes, oldest first; lines that a power cut or somebody's editor spoilt are left out.

    A bundle made before there was a history, or copied without it, has none: an empty list.
    """
    try:
        data = read_safe(path, HISTORY, _MAXIMUM_BYTES)
    except FileNotFoundError:
        return []
    except (OSError, RuntimeError) as error:
        raise BundleError(
            f"{path / HISTORY}: {getattr(error, 'strerror', error)}", fix="move it away; the bundle runs without it"
        ) from error
    entries = []
    for line in data.split(b"\n"):
        try:
            entries.append(HistoryEntry.model_validate(json.loads(line)))
        except (ValueError, RecursionError, ValidationError):
            continue
    return entries


def took_effect(entries: Sequence[HistoryEntry], live: str) -> list[bool]:
    """For each entry, whether its change happened: not when the next one, or the bundle, is still where it began."""
    results = [following.before for following in entries[1:]] + [live]
    return [entry.before != result for entry, result in zip(entries, results, strict=False)]
