"""Tokens of the three roles: a file that holds only what they were hashed to."""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

from edge.core.errors import ConfigError
from edge.core.files.atomic_file import sync_directory, write_atomic
from edge.core.files.hashed_password import Hashed, hashed
from edge.core.files.private_files import make_folder
from edge.core.files.safe_file import read_safe

VERSION = 1
_KEY_BYTES, _TOKEN_BYTES, _LARGEST_BYTES = 32, 20, 65536
_MODE = 0o600


class Role(IntEnum):
    """Each may do what those before it may."""

    VIEW = 1
    OPERATOR = 2
    ENGINEER = 3

    @property
    def word(self) -> str:
        return self.name.lower()


def role_of(word: str) -> Role | None:
    """The role of this name."""
    return next((role for role in Role if role.word == word), None)


@dataclass(frozen=True)
class Tokens:
    """key: signs the cookies of sessions, so that they outlast a restart."""

    key: bytes
    roles: dict[Role, Hashed]

    def role_of(self, token: str) -> Role | None:
        """Whose token this is; a token begins with the name of its role, so that one hash is enough."""
        role = role_of(token.partition("-")[0])
        kept = None if role is None else self.roles.get(role)
        return role if kept is not None and kept.is_of(token) else None


def new_token(file: Path, role: Role) -> str:
    """Make a token for the role, in place of an earlier one, and keep what it hashes to. Raises ConfigError.

    Whoever is logged in with the earlier one is logged in no more.
    """
    before = read_tokens(file) if file.exists() else Tokens(secrets.token_bytes(_KEY_BYTES), {})
    token = f"{role.word}-{base64.b32encode(secrets.token_bytes(_TOKEN_BYTES)).decode().lower()}"
    roles = {**before.roles, role: hashed(token)}
    values = {
        "version": VERSION,
        "key": before.key.hex(),
        "tokens": {each.word: kept.as_json() for each, kept in roles.items()},
    }
    try:
        make_folder(file.parent)
        write_atomic(file, json.dumps(values, indent=1).encode() + b"\n", _MODE)
        sync_directory(file.parent)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", fix="name a file in a writable folder") from error
    return token


def read_tokens(file: Path) -> Tokens:
    """What `new_token` wrote. Raises ConfigError for a file that is missing, damaged, or open to others."""
    fix = "`edge-inspect web token ROLE` writes web.tokens_file; ROLE is view, operator or engineer"
    try:
        mode = file.stat().st_mode
        values = json.loads(read_safe(file.parent, file.name, _LARGEST_BYTES))
        tokens = _tokens(values)
    except OSError as error:
        raise ConfigError(f"{file}: {error.strerror}", fix=fix) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ConfigError(f"{file}: no file of tokens ({error})", fix=f"move it away; {fix}") from error
    if mode & 0o077:
        raise ConfigError(f"{file}: others can read it (mode {mode & 0o777:04o})", fix=f"chmod 600 {file}")
    return tokens


def _tokens(values: Any) -> Tokens:
    if values["version"] != VERSION:
        raise ValueError(f"version {values['version']!r}")
    roles = {Role[word.upper()]: Hashed.from_json(kept) for word, kept in values["tokens"].items()}
    return Tokens(bytes.fromhex(values["key"]), roles)
