"""service: make a line, or the pages of all lines, a service of systemd."""

from __future__ import annotations

import argparse
import re
import sys
from pathlib import Path

from edge.cli.options import share
from edge.core.config import Settings

_CPUS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action",
        choices=("install",),
        help="write unit, user and settings (--config) below /etc, or print them where that is not allowed",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    share(what, "--line", help="name of the line; several on one box need different names")
    what.add_argument("--web", action="store_true", help="the pages of all lines instead, which --config names")
    parser.add_argument("--cpus", type=_cpus, help="cores for this line alone, such as 0-1 or 2,3 (default: all)")
    parser.add_argument("--root", type=Path, default=Path("/"), help="write below this folder (default: /)")


def _cpus(text: str) -> str:
    if not _CPUS.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no list of cores such as 0-1 or 2,3")
    return text


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """0 where the files are in place, 1 where they were printed."""
    from edge.system.service.install import install, service_plan, web_plan
    from edge.system.service.units import next_commands, next_web_commands, service_files

    def say(text: str) -> None:
        print(f"edge-inspect: {text}", file=sys.stderr)

    if options.web:
        files, commands = web_plan(settings, options.config), next_web_commands()
    else:
        plan = service_plan(settings, options.config, options.cpus)
        files, commands = service_files(plan), next_commands(plan)
    written = install(files, options.root, say)
    if not written:
        for file in files:
            print(f"# {file.path}\n{file.text}")
    if not options.web and options.config is None:
        say(f"put the settings of the line into /etc/edge-inspect/{plan.line}.yaml, or give --config")
    say("then, as root:" if written else "as root, the same command again, and then:")
    for command in commands:
        print(f"  {command}", file=sys.stderr)
    return 0 if written else 1
