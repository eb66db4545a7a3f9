"""Passwords that are checked here: what is kept of one does not give it away."""

from __future__ import annotations

import hashlib
import hmac
import secrets
from dataclasses import dataclass

# 16 MB and some tens of milliseconds for each attempt
_COST = {"n": 2**14, "r": 8, "p": 1}


@dataclass(frozen=True)
class Hashed:
    """What a password was hashed to by scrypt."""

    salt: bytes
    digest: bytes

    def is_of(self, password: str) -> bool:
        """Takes the time and memory of _COST."""
        return hmac.compare_digest(_scrypt(password, self.salt), self.digest)

    def as_json(self) -> dict[str, str]:
        return {"salt": self.salt.hex(), "scrypt": self.digest.hex()}

    @staticmethod
    def from_json(kept: dict[str, str]) -> Hashed:
        """Raises KeyError, TypeError or ValueError for anything that `as_json` did not give."""
        return Hashed(bytes.fromhex(kept["salt"]), bytes.fromhex(kept["scrypt"]))


def hashed(password: str) -> Hashed:
    """To be kept in the password's place; another salt each time."""
    salt = secrets.token_bytes(16)
    return Hashed(salt, _scrypt(password, salt))


def _scrypt(password: str, salt: bytes) -> bytes:
    return hashlib.scrypt(password.encode(), salt=salt, dklen=32, maxmem=2**26, **_COST)
