"""Commands of `edge-inspect` that take minutes: one for each line at a time, in a process of its own, and watched."""

from __future__ import annotations

import contextlib
import logging
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edge.core.errors import EdgeInspectError
from edge.core.redact import redact
from edge.web.page import Refusal

log = logging.getLogger("edge.web")

_MOST_READ = 64_000
_MOST_LINES = 40

BUSY = Refusal(409, "Not now", "A recalibration of this line, or teaching, has not ended.", "Wait for it, or stop it.")


@dataclass
class Job:
    """One command. about: of `recalibrate` the version that was live, of `teach` the product. code: its exit code;
    None while it runs. ended: on request.
    """

    about: str
    file: Path
    process: subprocess.Popen[bytes]
    started_s: float = field(default_factory=time.monotonic)
    seconds: float | None = None
    code: int | None = None
    ended: bool = False

    @property
    def runs(self) -> bool:
        return self.code is None

    @property
    def failed(self) -> bool:
        """It is over, and made no version."""
        return self.code not in (None, 0)

    @property
    def killed(self) -> bool:
        """Another program ended it, such as the system for want of memory."""
        return self.code is not None and self.code < 0 and not self.ended

    @property
    def took(self) -> str:
        """How long so far, or in all."""
        seconds = time.monotonic() - self.started_s if self.seconds is None else self.seconds
        return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"

    def lines(self) -> list[str]:
        """What it said last."""
        return said_in(self.file)


def said_in(file: Path) -> list[str]:
    """The last lines that a command said, a line of progress only where it is the newest."""
    with contextlib.suppress(OSError), file.open("rb") as opened:
        opened.seek(max(0, file.stat().st_size - _MOST_READ))
        said = redact(opened.read().decode(errors="replace")).splitlines()
        kept = [text.strip() for text in said if text.strip()]
        last = len(kept) - 1
        return [text for at, text in enumerate(kept) if at == last or not text.endswith(" left")][-_MOST_LINES:]
    return []


class Jobs:
    """Of all lines; from any thread. What they said goes with this program, unless they are given a file for it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._jobs: dict[tuple[str, str], Job] = {}
        self._place = tempfile.TemporaryDirectory(prefix="edge-inspect-web-", ignore_cleanup_errors=True)

    def of(self, line: str, command: str) -> Job | None:
        """The newest one of a line; None where none was begun since this program started."""
        with self._lock:
            return self._jobs.get((line, command))

    def busy(self, line: str) -> bool:
        """Whether a command of this line runs, whatever it does."""
        with self._lock:
            return self._busy(line)

    def begin(
        self, line: str, command: str, words: Sequence[str], about: str, over: Callable[[bool], None],
        said: Path | None = None,
    ) -> bool:  # fmt: skip
        """Whether it was begun: False while another one of the line runs, whatever it does.

        words: of the whole command. over: called when it has ended, with whether it failed. said: where to keep what it
        says. Raises OSError where that cannot be written.
        """
        with self._lock:
            if self._busy(line):
                return False
            # from a folder without settings
            folder = Path(tempfile.mkdtemp(dir=self._place.name))
            file = folder / "said" if said is None else said
            with file.open("wb") as out:
                process = subprocess.Popen(
                    [sys.executable, "-m", "edge", *words], cwd=folder, stdin=subprocess.DEVNULL, stdout=out, stderr=out
                )
            job = self._jobs[line, command] = Job(about, file, process)
        threading.Thread(target=self._watch, args=(job, over), name="job", daemon=True).start()
        return True

    def end(self, line: str, command: str) -> None:
        """Stop what runs, as Ctrl-C would; it leaves everything as it was."""
        job = self.of(line, command)
        if job is not None and job.runs:
            job.ended = True
            job.process.terminate()

    def _busy(self, line: str) -> bool:
        return any(job.runs for (name, _), job in self._jobs.items() if name == line)

    def _watch(self, job: Job, over: Callable[[bool], None]) -> None:
        code = job.process.wait()
        job.seconds = time.monotonic() - job.started_s
        try:
            over(code != 0)
        except EdgeInspectError as error:
            log.warning("the end of a command is not in the audit: %s", error.message)
        finally:
            # last: whoever sees that it is over finds it in the audit
            job.code = code
