"""web: pages for browsers about the lines of this box."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from edge.cli.options import share
from edge.core.config import Settings
from edge.core.errors import ConfigError, UsageError

_ROLES = ("view", "operator", "engineer")


def add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "action", nargs="?", choices=("serve", "token"), default="serve",
        help="serve the pages (default), or make a token for a role and print it, once",
    )  # fmt: skip
    parser.add_argument("role", nargs="?", choices=_ROLES, help="token: whose; a new one replaces the one before")
    share(parser, "--line", "--run-directory", "--record-dir")


def execute(options: argparse.Namespace, settings: Settings) -> int:
    """0 after a signal, which alone ends it."""

    def say(what: str) -> None:
        print(f"edge-inspect: {what}", file=sys.stderr, flush=True)

    if options.action == "token":
        return _token(options.role, settings)
    if options.role is not None:
        raise UsageError("`serve` takes no role", fix="leave it out")
    from edge.cli.teach.page_samples import PageSamples
    from edge.web.serve import serve

    serve(settings, lambda what: say(f"{what}; Ctrl-C ends it"), PageSamples)
    return 0


def _token(role: str | None, settings: Settings) -> int:
    from edge.web.security.tokens import Role, new_token

    if role is None:
        raise UsageError("no role is named", fix=f"`edge-inspect web token ROLE`; ROLE is {', '.join(_ROLES)}")
    if settings.web.tokens_file is None:
        raise ConfigError("web.tokens_file is null: there is no place for tokens", fix="name a file in the settings")
    file = Path(settings.web.tokens_file)
    print(new_token(file, Role[role.upper()]))
    print(f"edge-inspect: the token of {role}, shown this once; {file} holds what it hashes to", file=sys.stderr)
    return 0
