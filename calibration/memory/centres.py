"""Few centres that stand for many good places: each is the place farthest from all before it (greedy k-centre)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32

# candidates looked at, at most: of one memory, and of one block
_CANDIDATES, _CANDIDATES_OF_A_BLOCK = 20_000, 3000


def farthest_first(places: NDArray[np.floating], count: int, random: np.random.Generator) -> F32:
    """(count, axes) of places (p, axes), what is rare on good parts among them; fewer where there are fewer places."""
    if len(places) > _CANDIDATES:
        places = places[random.choice(len(places), _CANDIDATES, replace=False)]
    places = places.astype(np.float32)
    squares = np.square(places).sum(1)
    # from the most ordinary place on, so that the choice does not hang on a draw
    chosen = [int(np.square(places - places.mean(0)).sum(1).argmin())]
    nearest = _distances(places, squares, chosen[0])
    while len(chosen) < min(count, len(places)):
        chosen.append(int(nearest.argmax()))
        np.minimum(nearest, _distances(places, squares, chosen[-1]), out=nearest)
    return places[chosen]


def _distances(places: F32, squares: F32, index: int) -> F32:
    """Squared, of every place to one of them."""
    products: F32 = places @ places[index]
    products *= -2
    products += squares
    products += squares[index]
    return products


def farthest_first_of_blocks(
    places: NDArray[np.floating], block: int, count: int, random: np.random.Generator, more: F32 | None = None
) -> F32:
    """(down, across, count, axes) of places (n, rows, columns, axes): of each block and half a block around it.

    more: further candidates of each block, (down, across, m, axes). With too few places some centres stand twice.
    """
    _, rows, columns, axes = places.shape
    down, across, margin = rows // block, columns // block, max(1, block // 2)
    found = np.empty((down, across, count, axes), np.float32)
    for y, x in np.ndindex(down, across):
        near_y, near_x = (slice(max(0, at * block - margin), (at + 1) * block + margin) for at in (y, x))
        near = places[:, near_y, near_x].reshape(-1, axes)
        if len(near) > _CANDIDATES_OF_A_BLOCK:
            near = near[random.choice(len(near), _CANDIDATES_OF_A_BLOCK, replace=False)]
        if more is not None:
            near = np.concatenate([near, more[y, x].astype(near.dtype)])
        centres = farthest_first(near, count, random)
        found[y, x] = centres[np.arange(count) % len(centres)]
    return found
