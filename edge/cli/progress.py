"""What long work tells a person, on standard error: standard output is for results."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def progress_bar(title: str, measure: str = "") -> Iterator[Callable[..., None]]:
    """Yields advance(done, total[, value]): a bar with time left, and the value under its name.

    Without a terminal: a line for each tenth of the way, so that a log shows that work goes on.
    """
    if not sys.stderr.isatty():
        yield _Lines(title, measure)
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    times = (TextColumn("{task.fields[value]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
    with Progress(*columns, *times, console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None, value="")

        def advance(done: int, total: int, value: float | None = None) -> None:
            shown = "" if value is None else f"{measure} {value:.4f}"
            bar.update(task, completed=done, total=total, value=shown)

        yield advance


class _Lines:
    def __init__(self, title: str, measure: str) -> None:
        self._title, self._measure, self._tenth = title, measure, 0

    def __call__(self, done: int, total: int, value: float | None = None) -> None:
        tenth = 10 * done // total
        if tenth > self._tenth:
            self._tenth = tenth
            shown = "" if value is None else f"  {self._measure} {value:.4f}"
            print(f"{self._title}: {done}/{total}{shown}", file=sys.stderr, flush=True)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
