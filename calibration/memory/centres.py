"""Few centres that stand for many good places: each is the place farthest from all before it (greedy k-centre)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32

Floats = NDArray[np.floating]
# candidates looked at, at most: of one memory, and of one block
_CANDIDATES, _CANDIDATES_OF_A_BLOCK = 20_000, 3000


def farthest_first(places: Floats, count: int, random: np.random.Generator, taken: Floats | None = None) -> F32:
    """(count, axes) of places (p, axes), what is rare on good parts among them; fewer where there are fewer places.

    taken: the same places in other features, in which the chosen ones are returned; None: as they are.
    """
    taken = places if taken is None else taken
    if len(places) > _CANDIDATES:
        some = random.choice(len(places), _CANDIDATES, replace=False)
        places, taken = places[some], taken[some]
    compared = places.astype(np.float32)
    squares = np.square(compared).sum(1)
    # from the most ordinary place on, so that the choice does not hang on a draw
    chosen = [int(np.square(compared - compared.mean(0)).sum(1).argmin())]
    nearest = _distances(compared, squares, chosen[0])
    while len(chosen) < min(count, len(compared)):
        chosen.append(int(nearest.argmax()))
        np.minimum(nearest, _distances(compared, squares, chosen[-1]), out=nearest)
    return taken[chosen].astype(np.float32)


def _distances(places: F32, squares: F32, index: int) -> F32:
    """Squared, of every place to one of them."""
    products: F32 = places @ places[index]
    products *= -2
    products += squares
    products += squares[index]
    return products


def farthest_first_of_blocks(
    places: Floats, block: int, count: int, random: np.random.Generator, more: F32 | None = None,
    taken: Floats | None = None, more_taken: F32 | None = None,
) -> F32:  # fmt: skip
    """(down, across, count, axes) of places (n, rows, columns, axes): of each block and half a block around it.

    more: further candidates of each block, (down, across, m, axes). taken, more_taken: both in other features, as for
    `farthest_first`. With too few places some centres stand twice.
    """
    _, rows, columns, axes = places.shape
    down, across, margin = rows // block, columns // block, max(1, block // 2)
    found = np.empty((down, across, count, axes), np.float32)
    taken, more_taken = (places, more) if taken is None else (taken, more_taken)
    for y, x in np.ndindex(down, across):
        near_y, near_x = (slice(max(0, at * block - margin), (at + 1) * block + margin) for at in (y, x))
        near, own = (each[:, near_y, near_x].reshape(-1, axes) for each in (places, taken))
        if len(near) > _CANDIDATES_OF_A_BLOCK:
            some = random.choice(len(near), _CANDIDATES_OF_A_BLOCK, replace=False)
            near, own = near[some], own[some]
        if more is not None and more_taken is not None:
            near, own = np.concatenate([near, more[y, x]]), np.concatenate([own, more_taken[y, x]])
        centres = farthest_first(near, count, random, own)
        found[y, x] = centres[np.arange(count) % len(centres)]
    return found
