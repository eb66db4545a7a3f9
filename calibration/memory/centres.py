"""Few centres that stand for many good places: each is the place farthest from all before it (greedy k-centre)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from edge.core.datatypes import F32

# candidates looked at, at most: of one memory, and of one cell
_CANDIDATES, _CANDIDATES_OF_A_CELL = 20_000, 768


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


def farthest_first_of_cells(
    places: NDArray[np.floating], count: int, random: np.random.Generator, more: F32 | None = None
) -> F32:
    """(rows, columns, count, axes) of places (n, rows, columns, axes): of each cell and its eight neighbours.

    more: further candidates of each cell, (rows, columns, m, axes).
    """
    pictures, rows, columns, axes = places.shape
    found = np.empty((rows, columns, count, axes), np.float32)
    across = np.clip(np.arange(columns)[:, None] + np.arange(-1, 2), 0, columns - 1)  # (columns, 3)
    for row in range(rows):
        nearby = places[:, max(0, row - 1) : row + 2]
        picture, line, step = np.meshgrid(
            np.arange(pictures), np.arange(nearby.shape[1]), np.arange(3), indexing="ij"
        )  # fmt: skip
        table = np.stack([picture.ravel(), line.ravel(), step.ravel()], 1)
        if len(table) > _CANDIDATES_OF_A_CELL:
            table = table[random.choice(len(table), _CANDIDATES_OF_A_CELL, replace=False)]
        # (columns, candidates, axes)
        candidates = nearby[table[None, :, 0], table[None, :, 1], across[:, table[:, 2]]].astype(np.float32)
        if more is not None:
            candidates = np.concatenate([candidates, more[row]], 1)
        found[row] = _farthest_first_of_each(candidates, count)
    return found


def _farthest_first_of_each(candidates: F32, count: int) -> F32:
    """(cells, count, axes) of candidates (cells, p, axes); with too few, some centres stand twice."""
    cells, _, axes = candidates.shape
    squares = np.square(candidates).sum(2)
    last = np.square(candidates - candidates.mean(1, keepdims=True)).sum(2).argmin(1)
    each = np.arange(cells)
    found = np.empty((cells, count, axes), np.float32)
    nearest = np.full(squares.shape, np.inf, np.float32)
    for number in range(count):
        found[:, number] = centre = candidates[each, last]
        products = np.matmul(candidates, centre[:, :, None])[:, :, 0]
        products *= -2
        products += squares
        products += squares[each, last][:, None]
        np.minimum(nearest, products, out=nearest)
        last = nearest.argmax(1)
    return found
