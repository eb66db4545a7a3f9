"""The end of the process: no thread is inside a native library when the interpreter goes away.

The interpreter ends a daemon thread as soon as that asks for the interpreter's lock again. If the thread comes out of a
C++ library just then, OpenCV's encoders or a driver's read, the C++ runtime refuses to be unwound and aborts the whole
process (`terminate called without an active exception`, exit code 134). So where a thread is left, nothing is unwound:
what can be flushed is flushed, and the process ends at once.
"""

from __future__ import annotations

import atexit
import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

_FLUSH_S = 0.5
_STANDARD_ERROR = 2
_TIMES = "EDGE_INSPECT_STARTED_AGAIN"


class ProcessEnd:
    """Ends the process with `code` if threads are still at work when everything else is done.

    To be made before anything registers at `atexit`, which calls the first to come last. code: 1 until it is known.
    """

    def __init__(self) -> None:
        self.code = 1
        atexit.register(self._leave)

    def _leave(self) -> None:
        if any(thread.daemon for thread in threading.enumerate()):
            # newer interpreters start no thread this late; and whoever blocks standard output has been left before
            _flush()
            os._exit(self.code)


def times_started_again() -> int:
    """How often this program has become another process since it last inspected."""
    text = os.environ.get(_TIMES, "")
    return int(text) if text.isdecimal() else 0


def forget_starts() -> None:
    """It inspects: what comes now is counted anew."""
    os.environ.pop(_TIMES, None)


def start_again() -> NoReturn:
    """Become a new process of the same program, with the same arguments and standard streams, past all threads.

    To a service manager and to the reader of standard output it stays the same process. Records must be closed.
    """
    # the environment outlives the process
    os.environ[_TIMES] = str(times_started_again() + 1)
    print("edge-inspect: starting again", file=sys.stderr, flush=True)
    _flush_if_it_returns()
    # what a library opened without saying so must not stay open: a camera, or the broken device
    descriptors = Path("/proc/self/fd")
    for entry in descriptors.iterdir() if descriptors.is_dir() else ():
        with suppress(OSError):
            if int(entry.name) > _STANDARD_ERROR:
                os.set_inheritable(int(entry.name), False)
    os.execv(sys.executable, [sys.executable, *sys.orig_argv[1:]])


def leave(code: int) -> NoReturn:
    """End the process now, past a thread that does not return; what was printed is flushed if that returns."""
    _flush_if_it_returns()
    os._exit(code)


def _flush_if_it_returns() -> None:
    flushing = threading.Thread(target=_flush, name="last flush", daemon=True)
    flushing.start()
    flushing.join(_FLUSH_S)


def _flush() -> None:
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
