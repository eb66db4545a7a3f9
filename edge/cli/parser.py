"""The command line: which command, with which options."""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Iterable
from pathlib import Path
from typing import NoReturn

from edge import __version__
from edge.cli.command_table import COMMANDS, refuse_replaced
from edge.cli.exit_codes import EXIT_CODES
from edge.core.errors import UsageError
from edge.core.sections import at_home


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message, fix=f"see `{self.prog} --help`")


def parse(arguments: list[str]) -> argparse.Namespace:
    """Parse a command line; without a command it is `run`. Raises UsageError.

    `command` of the result is the name of the command, its other fields are that command's options.
    """
    name, *rest = arguments or ["run"]
    if name in ("-h", "--help", "--version"):
        _program_parser().parse_args(arguments)
    if name.startswith("-"):
        name, rest = "run", arguments
    if name not in COMMANDS:
        raise UsageError(f"unknown command {name!r}", fix=_nearest(name, COMMANDS, "edge-inspect --help"))
    options, unknown = _command_parser(name).parse_known_args(rest)
    if unknown:
        word = unknown[0].partition("=")[0]
        refuse_replaced(name, word)
        known = [f"--{option.replace('_', '-')}" for option in vars(options)]
        fix = _nearest(unknown[0], known, f"edge-inspect {name} --help")
        raise UsageError(f"`{name}` knows no {unknown[0]!r}", fix=fix)
    for option, value in vars(options).items():
        if isinstance(value, Path):
            setattr(options, option, _at_home(value))
    options.command = name
    return options


def _at_home(path: Path) -> Path:
    """A service file, or a quoted word, brings its ~ along."""
    try:
        return Path(at_home(str(path)))
    except ValueError as error:
        raise UsageError(str(error), fix="give the whole path") from error


def _nearest(word: str, known: Iterable[str], manual: str) -> str:
    found = difflib.get_close_matches(word, list(known), n=1, cutoff=0.5)
    return f"did you mean `{found[0]}`?" if found else f"see `{manual}`"


def _program_parser() -> argparse.ArgumentParser:
    """Lists the commands, and imports none of them."""
    parser = _Parser(
        prog="edge-inspect",
        description="Visual inspection at the edge: a camera in, a verdict per frame out, every verdict on record.",
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"edge-inspect {__version__}")
    commands = parser.add_subparsers(metavar="COMMAND", parser_class=_Parser)
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.help)
    return parser


def _command_parser(name: str) -> argparse.ArgumentParser:
    command = COMMANDS[name]
    parser = _Parser(
        prog=f"edge-inspect {name}",
        description=command.help,
        epilog=EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        # a shortened option in somebody's service file would change its meaning with the next option we add
        allow_abbrev=False,
    )
    parser.add_argument("--config", type=Path, help="settings file (default: ./config.yaml if there is one)")
    parser.add_argument("--only", metavar="CAMERA", help="of a group of cameras in the settings: this one alone")
    command.add_options(parser)
    return parser
