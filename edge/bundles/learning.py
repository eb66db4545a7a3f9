"""What is being learned for a bundle beside the line that runs it: learning.json in the bundle's folder.

`edge-inspect improve` writes it, and every running edge-inspect of the bundle shows it.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from edge.bundles.bundle import write_atomically
from edge.core.errors import BundleError
from edge.core.files.safe_file import read_safe

LEARNING = "learning.json"
_MAXIMUM_BYTES = 100_000


class Learning(BaseModel):
    """state: learning: a network is trained; trying: it judges beside the live version; over: nothing more comes.

    what: for the operator, in a few words. host, pid: the process that learns.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    state: Literal["learning", "trying", "over"]
    what: str
    host: str
    pid: int

    def text(self) -> str:
        """What to show now: a process that has gone learns nothing more."""
        if self.state != "over" and self.host == socket.gethostname() and not _alive(self.pid):
            return "learning was stopped; edge-inspect improve goes on"
        return self.what


def note_learning(path: Path, state: Literal["learning", "trying", "over"], what: str) -> None:
    """Tell every running edge-inspect of the bundle at `path`; raises BundleError."""
    learning = Learning(state=state, what=what, host=socket.gethostname(), pid=os.getpid())
    write_atomically(path / LEARNING, learning.model_dump_json().encode())


def read_learning(path: Path) -> Learning | None:
    """None where nothing was ever learned beside this bundle; raises BundleError when the file is not one."""
    try:
        return Learning.model_validate_json(read_safe(path, LEARNING, _MAXIMUM_BYTES))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        raise BundleError(f"{path / LEARNING} cannot be read: {error}", fix="delete it") from error


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        # another user's process
        return True
    return True
