"""What goes wrong, drawn from a seed: to single pictures, and to the stream for a while. Standard library alone."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

# what transports, drivers and senders do
TRANSPORT_DAMAGES = ("cut", "cut_with_end", "zeroed", "empty", "other_size")
# bytes in the compressed data that are others, or gone without anyone saying so: a code that stays valid tells nobody
BYTE_DAMAGES = ("garbled", "shortened")


@dataclass(frozen=True)
class Episode:
    """kind: usual, stall (nothing is sent), flood (many pictures a second) or hang_up (the connection is cut)."""

    kind: str
    seconds: float


def episodes(random_: random.Random) -> Iterator[Episode]:
    """Usual stretches with something else in between, for ever."""
    while True:
        yield Episode("usual", random_.uniform(2, 8))
        kind = random_.choice(("stall", "stall", "flood", "hang_up"))
        seconds = {"stall": random_.choice((0.3, 0.8, 1.5, 3.0)), "flood": 2.0, "hang_up": 0.0}[kind]
        yield Episode(kind, seconds)


def damaged(random_: random.Random, encoded: bytes, kind: str) -> bytes:
    """A compressed picture after damage of this kind; `other_size` is not for bytes."""
    size = len(encoded)
    kept = round(size * random_.uniform(0.1, 0.6))
    place = random_.randrange(size // 4, max(size // 4 + 1, size - 400))
    return {
        "cut": encoded[:kept],
        "cut_with_end": encoded[:kept] + b"\xff\xd9",
        "zeroed": encoded[:place] + bytes(200) + encoded[place + 200 :],
        "garbled": encoded[:place] + random_.randbytes(200) + encoded[place + 200 :],
        "shortened": encoded[:place] + encoded[place + 150 :],
        "empty": b"",
    }[kind]
