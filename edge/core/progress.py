"""Progress of long work, on standard error: standard output is for results."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import TextIO

_SAID_AFTER_S, _SAID_AGAIN_S = 1.0, 30.0


@contextmanager
def progress_bar(title: str) -> Iterator[Callable[..., None]]:
    """Yields advance(done, total[, shown]): a bar with time left, and a text beside it.

    Without a terminal: a line for each tenth of the way, so that a log shows that work goes on.
    """
    if not sys.stderr.isatty():
        yield _Lines(title)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    times = (TextColumn("{task.fields[shown]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *times, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, shown="")

        def advance(done: int, total: int, shown: str = "") -> None:
            shown = "" if _details.get() is not None else shown
            bar.update(task, completed=done, total=total, shown=shown)

        yield advance


class _Lines:
    def __init__(self, title: str) -> None:
        self._title, self._tenth, self._first = title, 0, 0
        self._started = time.monotonic()

    def __call__(self, done: int, total: int, shown: str = "") -> None:
        # a run that goes on does not begin at zero, and the time left follows from what was done here
        self._first = self._first or done
        tenth = 10 * done // total
        if tenth > self._tenth:
            self._tenth = tenth
            spent_s = time.monotonic() - self._started
            left_s = spent_s / (done - self._first + 1) * (total - done)
            shown = "" if _details.get() is not None else f"  {shown}"
            print(f"{self._title}: {done}/{total}, {left_s:.0f} s left{shown}", file=sys.stderr, flush=True)


@contextmanager
def working(text: str) -> Iterator[None]:
    """Say what is being done as soon as it takes a second, and every half minute how long it has taken.

    Always on standard error, also while details go to a file: a person who waits must see that work goes on.
    """
    if _silent.get():
        yield
        return
    stream, done = sys.stderr, threading.Event()
    thread = threading.Thread(target=_report_while, args=(text, stream, done), name="progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


def _report_while(text: str, stream: TextIO, done: threading.Event) -> None:
    started = time.monotonic()
    wait_s, shown = _SAID_AFTER_S, f"{text} ..."
    # a stream whose reader has gone must not end the work
    with suppress(OSError, ValueError):
        while not done.wait(wait_s):
            print(shown, file=stream, flush=True)
            wait_s = _SAID_AGAIN_S
            shown = f"{text}: {time.monotonic() - started + wait_s:.0f} s so far ..."


@contextmanager
def silence(wanted: bool) -> Iterator[None]:
    """Inside, `working` says nothing: what is printed is for a program."""
    before = _silent.set(wanted)
    try:
        yield
    finally:
        _silent.reset(before)


def say(text: str) -> None:
    print(text, file=_details.get() or sys.stderr, flush=True)


_details: ContextVar[TextIO | None] = ContextVar("details", default=None)
_silent: ContextVar[bool] = ContextVar("silent", default=False)


@contextmanager
def details_in(file: TextIO) -> Iterator[None]:
    """What `say` prints inside goes to the file: details for an expert, which a line engineer need not read."""
    before = _details.set(file)
    try:
        yield
    finally:
        _details.reset(before)
