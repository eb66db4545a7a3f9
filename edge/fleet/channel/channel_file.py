"""channel.json: which bundle boxes shall run, how many of them, and who says so.

{"channel": TEXT, "algorithm", "public_key", "signature"}: TEXT is the JSON of a `Channel`, and the signature is of its
hash. The text is signed as it stands, so no two programs need to write JSON alike. Every file that it leads to is named
by its hash: a server can hold a channel back, and change nothing of it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from edge.bundles.bundle import sha256_of
from edge.bundles.format import MAXIMUM_MANIFEST_BYTES
from edge.bundles.signature import MAXIMUM_SIGNATURE_BYTES, key_that_signed, signed_hash
from edge.core.errors import ChannelError
from edge.core.manifest import Sha256

CHANNEL = "channel.json"
FILES = "files"
REPORTS = "reports"
MAXIMUM_BYTES = 65536
# shares of all boxes that a bundle reaches one after the other; a ring holds those before it
RINGS = (0.01, 0.1, 1.0)
_CONTEXT = b"edge-inspect channel "
_FIX = "publish it anew with `edge-inspect channel publish`; the live bundle stays"


class ChannelFile(BaseModel):
    """A file of the folder `files`, which is named by its hash."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    sha256: Sha256
    bytes: Annotated[int, Field(ge=1, le=MAXIMUM_MANIFEST_BYTES)]


class Channel(BaseModel):
    """What is signed. version: of the bundle, up by one with each that is published. revision: up by one whenever the
    same version is written again, for another ring or to halt it. manifest: of the bundle; its hash is the bundle's.
    ring: which of RINGS may take it, from 1. halted: why no box may; empty: it is not.
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    format: Literal[1] = 1
    version: Annotated[int, Field(ge=1)]
    revision: Annotated[int, Field(ge=0)]
    product: str
    method: str
    manifest: ChannelFile
    signature: ChannelFile
    ring: Annotated[int, Field(ge=1, le=len(RINGS))]
    halted: Annotated[str, Field(max_length=2000)] = ""
    published_utc: str

    @property
    def number(self) -> tuple[int, int]:
        """By which a newer file is told from an older one."""
        return self.version, self.revision


@dataclass(frozen=True)
class SignedChannel:
    """A channel whose signature was checked. sha256: of what was signed."""

    channel: Channel
    sha256: str


def channel_bytes(channel: Channel, private: Path) -> bytes:
    """The signed file. Raises UsageError for a key that cannot be used."""
    text = channel.model_dump_json()
    return json.dumps({"channel": text, **signed_hash(sha256_of(text.encode()), private, _CONTEXT)}, indent=1).encode()


def channel_from_bytes(data: bytes, trusted: str, where: str) -> SignedChannel:
    """Check the signature first, then read what was signed. trusted: the name of the key, as `key_id` gives it.

    Raises ChannelError.
    """
    try:
        values = json.loads(data)
        text = values["channel"].encode()
        key = key_that_signed(values, sha256_of(text), _CONTEXT)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ChannelError(f"{where}: not a channel file, or not a whole one ({error})", fix=_FIX) from error
    if key is None:
        raise ChannelError(f"{where}: the signature does not fit: the file was changed after it was signed", fix=_FIX)
    if key != trusted:
        raise ChannelError(
            f"{where}: signed by key {key}, and this box trusts {trusted}",
            fix="follow the channel of the key that is trusted, or give the right public key as channel.signed_by",
        )
    try:
        channel = Channel.model_validate_json(text)
    except ValidationError as error:
        problem = error.errors()[0]
        raise ChannelError(
            f"{where}: {'.'.join(map(str, problem['loc'])) or 'channel'}: {problem['msg']}",
            fix="update edge-inspect on this machine; a newer one may have published this",
        ) from error
    if channel.signature.bytes > MAXIMUM_SIGNATURE_BYTES:
        raise ChannelError(f"{where}: a signature of {channel.signature.bytes} bytes is none", fix=_FIX)
    return SignedChannel(channel, sha256_of(text))


def ring_of(box: str, version: int, configured: int | None) -> int:
    """The first ring that a box is in, from 1: as configured, else drawn by its name, anew for each version.

    Drawn anew so that it is not always the same boxes that try what is new.
    """
    if configured is not None:
        return configured
    drawn = int.from_bytes(hashlib.sha256(f"{box} {version}".encode()).digest()[:8], "big") / 2**64
    return next(number for number, share in enumerate(RINGS, 1) if drawn < share)


def ring_text(ring: int) -> str:
    """1 → ring 1 (1 % of boxes)."""
    share = RINGS[ring - 1]
    return f"ring {ring} ({'all' if share == 1 else f'{share:.0%} of'} boxes)".replace("%", " %")
