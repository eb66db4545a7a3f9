"""A measuring program: its options, messages, exit code and result file, for every `python -m benchmarks.…`."""

from __future__ import annotations

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from benchmarks.results_file import json_text, write_result
from edge.core.errors import EdgeInspectError
from edge.core.progress import say
from edge.samples import sample_bundle, sample_data

Measure = Callable[[argparse.Namespace], dict[str, Any] | None]
Option = tuple[tuple[str, ...], dict[str, Any]]
Values = dict[str, Any]


class Main(Protocol):
    """A program: its command line, sys.argv's where none is given, to its exit code."""

    def __call__(self, arguments: Sequence[str] | None = None) -> int: ...


def option(*names: str, **settings: Any) -> Option:
    """An option, with the arguments of argparse's add_argument."""
    return names, settings


BUNDLE = option("--bundle", type=Path, default=sample_bundle(), help="calibrated bundle (default: the shipped one)")
DATA = option("--data", type=Path, default=sample_data(), help="folder of parts (default: the shipped samples)")
SEED = option("--seed", type=int, default=0)
_OUT = option("--out", type=Path, help="write a result file, for example to benchmarks/results/DEVICE/")


def program(
    *options: Option,
    show: Callable[[Values], str] = json_text,
    failed: Callable[[Values], object] = lambda values: False,
) -> Callable[[Measure], Main]:
    """Make a measuring function the `main` of its module, whose docstring is the help.

    The function returns the values of a result file, or None when it wrote something else. It may set `options.out` to
    a file of its own; an own option --out replaces the common one. `main` shows the values on standard output, writes
    them, and returns 0, 1 when they failed, or the exit code of the error, which is one message on standard error.
    """

    def decorate(measure: Measure) -> Main:
        module = measure.__globals__

        def main(arguments: Sequence[str] | None = None) -> int:
            given = sys.argv[1:] if arguments is None else list(arguments)
            name = f"python -m {module['__spec__'].name}"
            parser = argparse.ArgumentParser(
                prog=name, description=module["__doc__"], formatter_class=argparse.RawDescriptionHelpFormatter
            )
            own = {word for names, _ in options for word in names}
            for names, settings in options if "--out" in own else (*options, _OUT):
                parser.add_argument(*names, **settings)
            parsed = parser.parse_args(given)
            try:
                values = measure(parsed)
            except EdgeInspectError as error:
                print(f"{name}: {error}", file=sys.stderr)
                return error.exit_code
            if values is None:
                return 0
            print(show(values))
            if parsed.out is not None:
                write_result(parsed.out, command(name, given), values)
                say(f"written: {parsed.out}")
            return 1 if failed(values) else 0

        return main

    return decorate


def command(name: str, arguments: Sequence[str]) -> str:
    """What to call again: of an absolute path, which is this machine's, the last name."""
    return " ".join([name, *(shlex.quote(Path(word).name if Path(word).is_absolute() else word) for word in arguments)])
