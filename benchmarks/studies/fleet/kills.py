"""A process that is killed at a chosen step: a fork of this one, which the signal ends before a line of our code."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

# where a step changes what is on disk, or decides what will be
_STEPS_IN = ("edge/fleet/export/export.py", "edge/fleet/export/parquet_files.py", "edge/core/files/atomic_file.py",
             "edge/review/database.py")  # fmt: skip


def killed_before(step: int, work: Callable[[], object]) -> bool:
    """Do the work in a fork that SIGKILL ends before its line number `step`, counted as they are executed, from 0.

    False: it came to its end before. Raises RuntimeError when it failed.
    """
    child = os.fork()
    if child == 0:
        _work_to(step, work)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL:
        return True
    if status:
        raise RuntimeError(f"the work ended with status {status}")
    return False


def _work_to(step: int, work: Callable[[], object]) -> None:
    left = step

    def at_line(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if event == "line":
            if not left:
                os.kill(os.getpid(), signal.SIGKILL)
            left -= 1
        return at_line

    def at_call(frame: FrameType, event: str, argument: Any) -> Any:
        return at_line if frame.f_code.co_filename.endswith(_STEPS_IN) else None

    code = 1
    try:
        sys.settrace(at_call)
        work()
        code = 0
    finally:
        # nothing of the parent's is flushed or cleaned up twice
        os._exit(code)
