"""Standard input, output and error of a process that must go on when nobody reads them."""

from __future__ import annotations

import io
import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType


class _Descriptor(io.RawIOBase):
    """An open file descriptor to write to. lenient: what cannot be written is dropped instead of raised.

    error: the last thing that went wrong.
    """

    def __init__(self, number: int, lenient: bool) -> None:
        super().__init__()
        self._number = number
        self.lenient = lenient
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._number

    def isatty(self) -> bool:
        return os.isatty(self._number)

    def write(self, data: object) -> int:
        view = memoryview(data)  # type: ignore[arg-type]
        try:
            return os.write(self._number, view)
        except OSError as error:
            self.error = error
            if not self.lenient:
                raise
            return view.nbytes


@dataclass(frozen=True)
class StandardStreams:
    """output_closed: the process was started without a standard output."""

    output_closed: bool
    _output: _Descriptor

    def output_failed_with(self, error: OSError) -> bool:
        """Whether this is an error of standard output, and of nothing else."""
        return error is self._output.error

    def drop_output(self) -> None:
        """Let nothing that is still to be written to standard output raise, the interpreter's last flush included."""
        self._output.lenient = True


def take_streams() -> StandardStreams:
    """Replace `sys.stdout` and `sys.stderr`, to be called once, before anything is opened.

    Standard error never raises: a terminal that is gone or a full log must not end an inspection. A descriptor that was
    closed is opened on nothing, or whoever prints would write into the next file to be opened, such as the records.
    """
    closed = [number for number in (0, 1, 2) if not _is_open(number)]
    for number in closed:
        # the lowest free number is taken, so each comes where it belongs
        os.open(os.devnull, os.O_RDONLY if number == 0 else os.O_WRONLY)
    output = _Descriptor(1, lenient=1 in closed)
    for old in (sys.stdout, sys.stderr):
        with suppress(AttributeError, OSError, ValueError):
            old.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(output),
        encoding=_encoding(sys.stdout),
        errors="backslashreplace",
        line_buffering=output.isatty(),
    )
    sys.stderr = io.TextIOWrapper(
        io.BufferedWriter(_Descriptor(2, lenient=True)),
        encoding=_encoding(sys.stderr),
        errors="backslashreplace",
        line_buffering=True,
    )
    return StandardStreams(1 in closed, output)


def _is_open(number: int) -> bool:
    try:
        os.fstat(number)
    except OSError:
        return False
    return True


def _encoding(stream: object) -> str:
    return getattr(stream, "encoding", None) or "utf-8"


def show(table: RenderableType) -> None:
    """Print what rich has drawn for this terminal, pipe or file."""
    from rich.console import Console

    console = Console()
    with console.capture() as drawn:
        console.print(table)
    # printed here, because rich ends the program with code 1 when the reader of a pipe leaves
    print(drawn.get(), end="")


def printable(text: str) -> str:
    """The text with a mark in place of what would steer the terminal: somebody else may have written it."""
    return "".join(character if character.isprintable() else "�" for character in text)
