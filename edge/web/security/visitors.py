"""Who asks: the session of a browser, in a signed cookie, and the token of its forms."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edge.core.files.safe_file import Stamp, stamp
from edge.web.security.tokens import Role, Tokens, read_tokens, role_of

COOKIE = "edge_inspect"
# a screen on a wall shows the line for months; whoever changes something proves it each shift
LASTS_S: dict[Role | None, int] = {Role.VIEW: 366 * 86400, Role.OPERATOR: 12 * 3600, Role.ENGINEER: 12 * 3600}
# how long the page for a login can be used
_LOGIN_S = 3600


@dataclass(frozen=True)
class Visitor:
    """role: None before a login. csrf: which every form of this visitor must bring along. cookie: its session."""

    role: Role | None
    csrf: str
    cookie: str

    @property
    def name(self) -> str:
        """For the audit: all who have a role's token are one."""
        return "nobody" if self.role is None else self.role.word


class Visitors:
    """file: of tokens; None: everybody is an engineer, which is only for this machine's own users.

    A new token counts at once: the file is looked at with every request. Raises ConfigError for a useless file.
    """

    def __init__(self, file: Path | None, now_s: Callable[[], float] = time.time) -> None:
        self._file, self._now_s = file, now_s
        self._tokens = Tokens(secrets.token_bytes(32), {})
        self._seen: Stamp = None
        self._follow()

    @property
    def open_to_all(self) -> bool:
        """Nobody has to log in."""
        return self._file is None

    def of(self, cookie: str | None) -> Visitor:
        """Of a request with this cookie; a cookie that is forged, too old or of a replaced token is none."""
        tokens, by_default = self._follow(), Role.ENGINEER if self.open_to_all else None
        if cookie is None or not self._valid(tokens, cookie):
            cookie = self._new(tokens, by_default)
        return Visitor(role_of(cookie.partition(".")[0]), self._sign(tokens, "form", cookie), cookie)

    def log_in(self, token: str) -> Visitor | None:
        """The visitor that this token makes; None for a wrong one. Takes some tens of milliseconds."""
        tokens = self._follow()
        role = tokens.role_of(token.strip())
        return None if role is None else self.of(self._new(tokens, role))

    def _follow(self) -> Tokens:
        if self._file is not None:
            seen = stamp(self._file)
            if seen is None or seen != self._seen:
                self._tokens, self._seen = read_tokens(self._file), seen
        return self._tokens

    def _new(self, tokens: Tokens, role: Role | None) -> str:
        word = "none" if role is None else role.word
        text = f"{word}.{int(self._now_s())}.{secrets.token_urlsafe(12)}"
        return f"{text}.{self._signature(tokens, text, role)}"

    def _valid(self, tokens: Tokens, cookie: str) -> bool:
        text, _, signature = cookie.rpartition(".")
        word, _, rest = text.partition(".")
        began, role = rest.partition(".")[0], role_of(word)
        if not began.isdecimal():
            return False
        if not hmac.compare_digest(signature.encode(), self._signature(tokens, text, role).encode()):
            return False
        return 0 <= self._now_s() - int(began) < LASTS_S.get(role, _LOGIN_S)

    def _signature(self, tokens: Tokens, text: str, role: Role | None) -> str:
        # with what the role's token hashes to, so that another token ends the sessions of the one before
        hashed = None if role is None else tokens.roles.get(role)
        return self._sign(tokens, "session", text + ("" if hashed is None else hashed.digest.hex()))

    def _sign(self, tokens: Tokens, of: str, text: str) -> str:
        made = hmac.new(tokens.key, f"{of}:{text}".encode(), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(made).decode().rstrip("=")
